"""Pods with addresses of both families, IPv4 and IPv6, whose sidecars care for one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from runbook_lib.chapters.shared.preflight.wording import few
from runbook_lib.cluster import PROXY, Object, has_sidecar, name_of
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import has_ended

_SETTING = "ISTIO_DUAL_STACK"
_VALUES = (
    f'istio.istiod.values: {{pilot: {{env: {{{_SETTING}: "true"}}}}, meshConfig: {{defaultConfig: '
    f'{{proxyMetadata: {{{_SETTING}: "true"}}}}}}}}'
)
_LINK = "https://istio.io/latest/docs/setup/additional-setup/dual-stack/"


def two_families(context: Context, values: Mapping[str, Any]) -> Iterator[Finding]:
    """Find that a control plane would be installed that cares for one family alone.

    istio-init looks at a pod's first address and captures nothing of the other family, see
    `getLocalIP` in Istio's tools/common/config/config.go.

    Args:
        context: Where.
        values: Those of istiod's chart.
    """
    proxies = (values.get("meshConfig") or {}).get("defaultConfig") or {}
    given = (
        (values.get("pilot") or {}).get("env") or {},
        proxies.get("proxyMetadata") or {},
    )
    if not all(str(each.get(_SETTING)).lower() == "true" for each in given):
        yield from _found(_dual(context), f"istiod would be installed without {_SETTING}", "")


def past_sidecars(context: Context) -> Iterator[Finding]:
    """Find pods with sidecars that care for one family alone, so policies hold for that alone."""
    blind = [pod for pod in _dual(context) if has_sidecar(pod) and not _knows_both(pod)]
    yield from _found(
        blind,
        f"their sidecars run without {_SETTING}",
        "run notebook 01_install_istio with it, then restart these pods",
    )


def _found(pods: Iterable[Object], why: str, remedy: str) -> Iterator[Finding]:
    pods = list(pods)
    if pods:
        addresses = ", ".join(each["ip"] for each in pods[0]["status"]["podIPs"])
        yield Finding(
            f"pods {few([name_of(pod) for pod in pods])}",
            f"they have addresses of IPv4 and of IPv6, and {why}",
            "their sidecars would care for the family of the first address alone: connections of "
            "the other go past them, where no policy holds, or get no answer",
            remedy or "have Istio care for both, or give pods addresses of one family",
            (f"pod {name_of(pods[0])} .status.podIPs: {addresses}",),
            parameter=_VALUES,
            link=_LINK,
        )


def _dual(context: Context) -> Iterator[Object]:
    for pod in context.cluster.list("v1", "Pod", context.parameters.application.namespace):
        found = (pod.get("status") or {}).get("podIPs") or []
        if len({ip_address(each["ip"]).version for each in found}) > 1 and not has_ended(pod):
            yield pod


def _knows_both(pod: Object) -> bool:
    every = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
    return any(
        each["name"] == _SETTING and str(each.get("value")).lower() == "true"
        for container in every
        if container["name"] == PROXY
        for each in container.get("env") or []
    )
