"""Who would be refused: the decisions of a policy's dry run, read at every web pod's sidecar."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
