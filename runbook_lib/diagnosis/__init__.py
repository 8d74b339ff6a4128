"""Guided diagnosis: look at everything once, judge it by rules, name causes and remedies.

Rules follow Istio's own guides, see https://istio.io/latest/docs/ops/common-problems/.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
