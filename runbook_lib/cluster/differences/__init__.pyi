__all__ = [
    "Author",
    "ObjectDiff",
    "authors",
    "canonical_yaml",
    "normalise",
    "object_diff",
    "restored",
]

from .authorship import Author, authors, restored
from .diff import ObjectDiff, canonical_yaml, normalise, object_diff
