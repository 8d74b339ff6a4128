__all__ = [
    "Autoscaler",
    "Part",
    "Row",
    "ScaleOut",
    "Scaling",
    "State",
    "usage_text",
    "words",
]

from .cases import Autoscaler, Part, Row, ScaleOut, usage_text
from .scale_out import Scaling, State, words
