"""What Istio's policies mean, each rule once, with the field that decides: pure functions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
