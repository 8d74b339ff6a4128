__all__ = ["Runbook", "Section"]

from .notebook import Runbook, Section
