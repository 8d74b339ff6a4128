"""Which pods get sidecars, of which kind, and whether the API server would take them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
