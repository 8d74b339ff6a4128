__all__ = [
    "Draft",
    "Place",
    "SeveralWorkloads",
    "contexts",
    "draft",
    "namespaces",
    "refuse_to_replace",
    "save",
]

from .drafting import Draft, draft
from .looking import Place, contexts, namespaces
from .saving import refuse_to_replace, save
from .web import SeveralWorkloads
