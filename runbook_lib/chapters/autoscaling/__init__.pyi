__all__ = [
    "Autoscaler",
    "Comparison",
    "Part",
    "ScaleOut",
    "Scaling",
    "Shift",
    "usage_text",
    "words",
]

from .cases import Autoscaler, Comparison, Part, ScaleOut, usage_text
from .scale_out import Scaling, Shift, words
