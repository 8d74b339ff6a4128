__all__ = [
    "diagnosis_html",
    "plan_html",
    "transcript_html",
]

from .diagnosis import diagnosis_html, transcript_html
from .plan import plan_html
