"""Under which address users reach the web part: what its way in says, as far as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runbook_lib.cluster import Object, annotations_of, in_url, name_of, reference
from runbook_lib.init.web import Way
from runbook_lib.lifecycle import Context
from runbook_lib.mesh.policy import spec_of

_ALB = "alb.ingress.kubernetes.io/"
_NLB_CERTIFICATE = "service.beta.kubernetes.io/aws-load-balancer-ssl-cert"
_HOST_RULE = re.compile(r"Host\(`([^`]+)`\)")
"""How a rule of Traefik names a host."""


@dataclass(frozen=True)
class Address:
    """Where users may reach the web part, to be asked.

    Attributes:
        url: Scheme, host and port.
        reason: The field that says so.
    """

    url: str
    reason: str


def of(context: Context, way: Way | None) -> list[Address]:
    """Return the addresses that a way in from outside has, the likeliest first."""
    if way is None:
        return []
    if way.lead is not None:
        return list(_of_lead(way.lead.item))
    return list(_of_service(context, way))


def _of_lead(item: Object) -> Iterator[Address]:
    hosts = [host for host in dict.fromkeys(_hosts(item)) if "*" not in host]
    where = f"the host of {reference(item)}"
    if not hosts:
        hosts = list(_balancer(item))
        where = f"the load balancer of {reference(item)}, which names no host"
    for host in hosts:
        tls = _ends_tls(item)
        for scheme in ("https", "http") if tls else ("http", "https"):
            said = "with a certificate" if tls else "without a certificate there"
            yield Address(f"{scheme}://{in_url(host)}", f"{where}, {said}")


def _hosts(item: Object) -> Iterator[str]:
    spec = spec_of(item)
    for rule in spec.get("rules") or []:
        if rule.get("host"):
            yield rule["host"]
    yield from spec.get("hostnames") or []  # of the Gateway API's routes
    if fqdn := (spec.get("virtualhost") or {}).get("fqdn"):  # of Contour's HTTPProxy
        yield fqdn
    if isinstance(spec.get("host"), str):  # of NGINX's VirtualServer
        yield spec["host"]
    for route in spec.get("routes") or []:
        yield from _HOST_RULE.findall(str(route.get("match") or ""))


def _ends_tls(item: Object) -> bool:
    annotations = annotations_of(item)
    return (
        item["kind"] == "HTTPRoute"  # its Gateway says, which others may own: asked first
        or bool(spec_of(item).get("tls"))
        or bool((spec_of(item).get("virtualhost") or {}).get("tls"))
        or f"{_ALB}certificate-arn" in annotations
        or "HTTPS" in annotations.get(f"{_ALB}listen-ports", "")
    )


def _balancer(item: Object) -> Iterator[str]:
    entries: list[dict[str, Any]] = ((item.get("status") or {}).get("loadBalancer") or {}).get(
        "ingress"
    ) or []
    for entry in entries:
        if found := entry.get("hostname") or entry.get("ip"):
            yield str(found)


def _of_service(context: Context, way: Way) -> Iterator[Address]:
    service, port = way.service, way.entry["port"]
    if spec_of(service).get("type") == "LoadBalancer":
        secure = port == 443 or _NLB_CERTIFICATE in annotations_of(service)
        scheme, usual = ("https", 443) if secure else ("http", 80)
        for host in _balancer(service):
            yield Address(
                f"{scheme}://{in_url(host)}" + ("" if port == usual else f":{port}"),
                f"the load balancer of {reference(service)}",
            )
        return
    for node in sorted(context.cluster.list("v1", "Node"), key=name_of):
        for each in (node.get("status") or {}).get("addresses") or []:
            if each["type"] == "ExternalIP" and way.entry.get("nodePort"):
                yield Address(
                    f"http://{in_url(each['address'])}:{way.entry['nodePort']}",
                    f"the node port of {reference(service)} at node {name_of(node)}",
                )
