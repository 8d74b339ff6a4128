__all__ = ["Draft", "Place", "SeveralWorkloads", "draft", "refuse_to_replace", "save"]

from .drafting import Draft, draft
from .looking import Place
from .saving import refuse_to_replace, save
from .web import SeveralWorkloads
