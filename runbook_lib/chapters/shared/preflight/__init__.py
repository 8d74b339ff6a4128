"""What others, or an interruption, left in the way: found, explained, with a safe offer.

Everything here only reads. The start page shows all of it (`table`); steps refuse with the same
words what would otherwise fail half-way. What a step mends by itself, through its plan, is shown
and not refused.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
