"""Who keeps a pod from being created, read from what the API server says. No I/O here.

Whoever is called and does not answer keeps out every pod. Whoever answers, and says no, may do so
for the pod that was asked for alone: the dry run's belongs to no workload.
"""

from __future__ import annotations

import re

INJECTOR = "sidecar-injector.istio.io"
"""How the names of the webhooks end that inject sidecars."""

POD_SECURITY = "PodSecurity"

_UNANSWERED = re.compile(r'failed calling webhook "([^"]+)"')
_SERVICE = re.compile(r"https://([^./]+)\.([^./]+)\.svc[:/]")
_DENIALS = (
    (re.compile(r'admission webhook "([^"]+)" denied the request'), "the admission webhook"),
    (
        re.compile(r"olicy ['\"]([^'\"]+)['\"](?: with binding '[^']+')? denied request"),
        "the policy",
    ),
    (re.compile(r'violates PodSecurity "([^"]+)"'), POD_SECURITY),
    (re.compile(r"(?:exceeded|failed) quota: ([^,:\s]+)"), "the ResourceQuota"),
)


def unanswered(text: str) -> str:
    """Return the name of the webhook that could not be called; empty if there is none."""
    found = _UNANSWERED.search(text)
    return found[1] if found else ""


def service(text: str) -> tuple[str, str] | None:
    """Return namespace and name of the Service behind a webhook that could not be called."""
    found = _SERVICE.search(text)
    return (found[2], found[1]) if found else None


def denier(text: str) -> str:
    """Return who answered and said no, such as `the ResourceQuota small`; empty if no one did."""
    for pattern, kind in _DENIALS:
        found = pattern.search(text)
        if found:
            return f"{kind} {found[1]}"
    return ""


def holds_for_real_pods(text: str) -> bool:
    """Whether what keeps out a dry run's pod is sure to keep out a workload's as well.

    Pod security looks at nothing but the pod's spec and the namespace, and istiod treats pods with
    the same labels and annotations alike.
    """
    who = denier(text)
    return bool(unanswered(text)) or who.startswith(POD_SECURITY) or who.endswith(INJECTOR)
