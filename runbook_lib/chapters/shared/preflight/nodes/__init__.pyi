__all__ = ["OS", "adds_nodes", "is_windows", "on_no_node", "takes"]

from .adding import adds_nodes
from .pending import on_no_node
from .taking import OS, is_windows, takes
