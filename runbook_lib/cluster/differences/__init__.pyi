__all__ = [
    "Author",
    "ObjectDiff",
    "canonical_yaml",
    "normalise",
    "object_diff",
    "restored",
]

from .authorship import Author, restored
from .diff import ObjectDiff, canonical_yaml, normalise, object_diff
