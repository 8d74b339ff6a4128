"""A parameters file for an application as it runs: looked up in its cluster, with reasons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
