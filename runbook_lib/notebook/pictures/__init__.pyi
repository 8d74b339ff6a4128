__all__ = [
    "mesh_html",
    "scale_out_html",
    "timeline_html",
]

from .mesh import mesh_html
from .scale_out import scale_out_html
from .timeline import timeline_html
