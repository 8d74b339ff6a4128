__all__ = [
    "are_native",
    "attempt",
    "check_new_pod",
    "check_webhook",
    "injector",
    "marks",
    "refuses_this_pod_only",
    "sidecar_image",
    "sidecar_image_for",
    "sidecar_resources",
    "try_injection",
    "wants_sidecar",
]

from .native import are_native
from .trial import (
    attempt,
    check_new_pod,
    check_webhook,
    injector,
    marks,
    refuses_this_pod_only,
    sidecar_image,
    sidecar_image_for,
    sidecar_resources,
    try_injection,
    wants_sidecar,
)
