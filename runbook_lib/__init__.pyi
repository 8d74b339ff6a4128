__all__ = ["Runbook"]

from .notebook import Runbook
