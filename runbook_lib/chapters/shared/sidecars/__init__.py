"""Sidecars for the application's pods: the label, one pod to try, the restart of those that lag."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
