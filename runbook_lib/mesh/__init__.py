"""What is true of the mesh: policies, sidecars, links, and how workloads roll out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
