"""The report of a run or a session: its page, the pictures on it, and how long everything took."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
