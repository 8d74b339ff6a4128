__all__ = ["PHASES", "Bar", "Picture", "bars", "render", "verdict", "write"]

from .durations import PHASES, Bar, bars
from .page import render, verdict, write
from .pictures import Picture
