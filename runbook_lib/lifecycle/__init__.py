"""A step from its plan to its proof: plan, gate, apply, verify, record."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
