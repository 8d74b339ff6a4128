"""Who keeps a pod from being created, read from what the API server says. No I/O here.

Whoever is called and does not answer keeps out every pod. Whoever answers, and says no, may do so
for the pod that was asked for alone: the dry run's belongs to no workload.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.cluster import Object, labels_of, name_of, reference

INJECTOR = "sidecar-injector.istio.io"
"""How the names of the webhooks end that inject sidecars."""

POD_SECURITY, LIMIT_RANGE, QUOTA = "PodSecurity", "the LimitRange", "the ResourceQuota"
NUMBERS = (LIMIT_RANGE, QUOTA)
"""Who refuses by numbers."""

_UNANSWERED = re.compile(r'failed calling webhook "([^"]+)"')
_SERVICE = re.compile(r"https://([^./]+)\.([^./]+)\.svc[:/]")
_DENIALS = (
    (re.compile(r'admission webhook "([^"]+)" denied the request'), "the admission webhook"),
    (
        re.compile(r"olicy ['\"]([^'\"]+)['\"](?: with binding '[^']+')? denied request"),
        "the policy",
    ),
    (re.compile(r'violates PodSecurity "([^"]+)"'), POD_SECURITY),
    (re.compile(r"(?:exceeded|failed) quota: ([^,:\s]+)"), QUOTA),
)
_LIMIT = re.compile(
    r"(?P<bound>minimum|maximum) (?P<resource>\S+) usage per (?P<type>\w+) is (?P<value>[^,\s]+?)"
    r"[,.](?:\s|$)|(?P<ratio>\S+) max limit to request ratio per (?P<of>\w+) is (?P<most>[^,\s]+),"
)
"""As in plugin/pkg/admission/limitranger/admission.go of Kubernetes."""

_BOUNDS = {"minimum": "min", "maximum": "max"}
_LACKED = re.compile(r"limited: ([^=\s]+)=|must specify ([^\s,:]+)")
_ENFORCE = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True)
class Denial:
    """Who answered, and said no.

    Attributes:
        kind: What it is, such as `the LimitRange` or `the admission webhook`.
        name: Its name.
        fields: The fields by which it refuses, as far as they are known.
    """

    kind: str
    name: str
    fields: tuple[str, ...] = ()

    @property
    def who(self) -> str:
        """It in words, such as `the ResourceQuota small`."""
        return f"{self.kind} {self.name}"

    @property
    def resource(self) -> str:
        """It as kubectl takes it, such as `resourcequota small`."""
        return f"{self.kind.split()[-1].lower()} {self.name}"


def unanswered(text: str) -> str:
    """Return the name of the webhook that could not be called; empty if there is none."""
    found = _UNANSWERED.search(text)
    return found[1] if found else ""


def service(text: str) -> tuple[str, str] | None:
    """Return namespace and name of the Service behind a webhook that could not be called."""
    found = _SERVICE.search(text)
    return (found[2], found[1]) if found else None


def denial(text: str, namespace: Object | None, limits: Sequence[Object]) -> Denial | None:
    """Return who answered and said no, and by which field; None if no one did.

    Args:
        text: What the API server says.
        namespace: The pods' namespace; None if it is not known.
        limits: Its LimitRanges and ResourceQuotas.
    """
    if found := _LIMIT.search(text):
        return _by_limit_range(found, limits)
    for pattern, kind in _DENIALS:
        if found := pattern.search(text):
            fields: tuple[str, ...] = ()
            if kind == POD_SECURITY and _ENFORCE in labels_of(namespace or {}):
                level = labels_of(namespace or {})[_ENFORCE]
                fields = (reference(namespace or {}, f".metadata.labels.{_ENFORCE}: {level}"),)
            if kind == QUOTA:
                fields = _of_quota(found[1], text, limits)
            return Denial(kind, found[1], fields)
    return None


def _by_limit_range(found: re.Match[str], limits: Sequence[Object]) -> Denial:
    if found["ratio"]:
        bound, resource = "maxLimitRequestRatio", found["ratio"]
        kind, value = found["of"], found["most"]
    else:
        bound, resource = _BOUNDS[found["bound"]], found["resource"]
        kind, value = found["type"], found["value"]
    for item in (each for each in limits if each["kind"] == "LimitRange"):
        for at, each in enumerate(item["spec"].get("limits") or []):
            if each["type"] == kind and str((each.get(bound) or {}).get(resource)) == value:
                field = reference(item, f".spec.limits[{at}].{bound}.{resource}: {value}")
                return Denial(LIMIT_RANGE, name_of(item), (field,))
    return Denial(LIMIT_RANGE, f"with {bound} {resource} {value} per {kind}")


def _of_quota(name: str, text: str, limits: Sequence[Object]) -> tuple[str, ...]:
    quota = next((q for q in limits if q["kind"] == "ResourceQuota" and name_of(q) == name), None)
    lacked = _LACKED.search(text)
    if quota is None or lacked is None:
        return ()
    resource = lacked[1] or lacked[2]
    status = quota.get("status") or {}
    return tuple(
        reference(quota, f".{path}.{resource}: {of[resource]}")
        for path, of in (
            ("spec.hard", quota["spec"].get("hard") or {}),
            ("status.used", status.get("used") or {}),
        )
        if resource in of
    )


def holds_for_real_pods(text: str) -> bool:
    """Whether what keeps out a dry run's pod is sure to keep out a workload's as well.

    Pod security looks at nothing but the pod's spec and the namespace, and istiod treats pods with
    the same labels and annotations alike.
    """
    found = denial(text, None, ())
    sure = found is not None and (found.kind == POD_SECURITY or found.name.endswith(INJECTOR))
    return sure or bool(unanswered(text))
