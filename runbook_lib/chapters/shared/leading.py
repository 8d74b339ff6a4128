"""Objects that lead to Services from outside of the cluster: one table, read in one way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runbook_lib.base import KindNotInstalled
from runbook_lib.cluster import NETWORKING, Object, annotations_of, name_of, namespace_of, reference
from runbook_lib.lifecycle import Context


@dataclass(frozen=True)
class Lead:
    """A reference to a Service.

    Attributes:
        item: The object that leads there.
        path: Where the reference stands in it.
        namespace: The Service's namespace.
        service: The Service, by name.
        port: Its port by number or name; None where the reference names none.
    """

    item: Object
    path: str
    namespace: str
    service: str
    port: int | str | None

    @property
    def text(self) -> str:
        """The field, and what it names."""
        port = "" if self.port is None else f":{self.port}"
        return reference(self.item, f"{self.path}: {self.namespace}/{self.service}{port}")

    def means(self, port: Object) -> bool:
        """Whether the reference is to this entry of the Service's ports."""
        return self.port in (None, port["port"], port.get("name") or "")


@dataclass(frozen=True)
class _Kind:
    """A kind whose objects lead to Services.

    Attributes:
        versions: Its API versions: the first that is served shows all of its objects.
        kind: Its name.
        paths: Where references stand; what lies on the way may be lists.
        everywhere: Whether references may name another namespace than the object's own.
        service: The key of a Service's name in a reference.
        port: The key of its port.
    """

    versions: tuple[str, ...]
    kind: str
    paths: tuple[str, ...]
    everywhere: bool = False
    service: str = "name"
    port: str = "port"


_GATEWAY = "gateway.networking.k8s.io"
_ROUTES, _RULES = ("spec.routes.services",), ("spec.rules.backendRefs",)
_SHARES = ("spec.weighted.services", "spec.mirroring", "spec.mirroring.mirrors")

_INGRESS = _Kind(
    (NETWORKING,),
    "Ingress",
    ("spec.defaultBackend.service", "spec.rules.http.paths.backend.service"),
)
_KINDS = (
    _INGRESS,
    # What the AWS Load Balancer Controller makes, also of annotations, or its users by hand; the
    # second group is that of EKS Auto Mode.
    _Kind(("elbv2.k8s.aws/v1beta1",), "TargetGroupBinding", ("spec.serviceRef",)),
    _Kind(("eks.amazonaws.com/v1",), "TargetGroupBinding", ("spec.serviceRef",)),
    # https://gateway-api.sigs.k8s.io/reference/spec/
    _Kind((f"{_GATEWAY}/v1", f"{_GATEWAY}/v1beta1"), "HTTPRoute", _RULES, everywhere=True),
    _Kind((f"{_GATEWAY}/v1", f"{_GATEWAY}/v1alpha2"), "GRPCRoute", _RULES, everywhere=True),
    _Kind((f"{_GATEWAY}/v1", f"{_GATEWAY}/v1alpha2"), "TCPRoute", _RULES, everywhere=True),
    _Kind(
        (f"{_GATEWAY}/v1", f"{_GATEWAY}/v1alpha3", f"{_GATEWAY}/v1alpha2"),
        "TLSRoute",
        _RULES,
        everywhere=True,
    ),
    # https://doc.traefik.io/traefik/reference/routing-configuration/kubernetes/crd/
    *(
        _Kind((f"{group}/v1alpha1",), kind, paths, everywhere=True)
        for group in ("traefik.io", "traefik.containo.us")  # of version 2: other objects
        for kind, paths in (
            ("IngressRoute", _ROUTES),
            ("IngressRouteTCP", _ROUTES),
            ("TraefikService", _SHARES),
        )
    ),
    # https://projectcontour.io/docs/main/config/api/
    _Kind(("projectcontour.io/v1",), "HTTPProxy", (*_ROUTES, "spec.tcpproxy.services")),
    # https://docs.nginx.com/nginx-ingress-controller/configuration/
    _Kind(("k8s.nginx.org/v1",), "TransportServer", ("spec.upstreams",), service="service"),
    _Kind(("k8s.nginx.org/v1",), "VirtualServer", ("spec.upstreams",), service="service"),
    # https://developer.konghq.com/kubernetes-ingress-controller/
    _Kind(
        ("configuration.konghq.com/v1beta1",),
        "TCPIngress",
        ("spec.rules.backend",),
        service="serviceName",
        port="servicePort",
    ),
)
"""What routes traffic from outside of the cluster, with how it names Services."""

_TCP_SERVICE = re.compile(r"(?P<namespace>[^/:\s]+)/(?P<service>[^/:\s]+):(?P<port>[^:\s]+)(:.*)?")


def leads(context: Context) -> Iterator[Lead]:
    """Yield what leads to Services of the application's namespace."""
    namespace = context.parameters.application.namespace
    for kind in _KINDS:
        for lead in _of_kind(context, kind):
            if lead.namespace == namespace:
                yield lead
    yield from _tcp_services(context, namespace)


def of_ingresses(context: Context) -> Iterator[Lead]:
    """Yield what Ingresses of the application's namespace lead to."""
    yield from _of_kind(context, _INGRESS)


def _of_kind(context: Context, kind: _Kind) -> Iterator[Lead]:
    namespace = None if kind.everywhere else context.parameters.application.namespace
    for item in _objects(context, kind, namespace):
        if _in_mesh_only(item):
            continue
        for keys in kind.paths:
            for path, found in _at(item, keys.split(".")):
                if kind.service in found and found.get("kind", "Service") == "Service":
                    yield Lead(
                        item,
                        path,
                        found.get("namespace") or namespace_of(item),
                        found[kind.service],
                        _port(found.get(kind.port)),
                    )


def _objects(context: Context, kind: _Kind, namespace: str | None) -> list[Object]:
    for version in kind.versions:
        try:
            return context.cluster.list(version, kind.kind, namespace)
        except KindNotInstalled:
            continue
    return []


def _in_mesh_only(item: Object) -> bool:
    """Whether a route of the Gateway API is about calls inside of the mesh: Services are above."""
    parents = item["spec"].get("parentRefs") or []
    return bool(parents) and all(each.get("kind") == "Service" for each in parents)


def _at(found: Any, keys: list[str], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the mappings at the end of `keys`, through every list on the way."""
    if isinstance(found, list):
        for number, each in enumerate(found):
            yield from _at(each, keys, f"{path}[{number}]")
    elif isinstance(found, dict):
        if not keys:
            yield path, found
        elif keys[0] in found:
            yield from _at(found[keys[0]], keys[1:], f"{path}.{keys[0]}")


def _port(found: Any) -> int | str | None:
    """Return a port as references write it: a number, a name, either as text, or an Ingress's."""
    if isinstance(found, dict):
        found = found.get("number") or found.get("name")
    return int(found) if isinstance(found, str) and found.isdigit() else found


def _tcp_services(context: Context, namespace: str) -> Iterator[Lead]:
    """Yield what ingress-nginx passes on as TCP.

    The ConfigMap is the one that an option of the controller names, and charts name it differently,
    so it is known by its shape:
    https://kubernetes.github.io/ingress-nginx/user-guide/exposing-tcp-udp-services/
    """
    for item in context.cluster.list("v1", "ConfigMap"):
        if "udp" in name_of(item):
            continue
        for key, value in (item.get("data") or {}).items():
            found = _TCP_SERVICE.fullmatch(value.strip()) if key.isdigit() else None
            if found and found["namespace"] == namespace:
                yield Lead(item, f".data.{key}", namespace, found["service"], _port(found["port"]))


def annotation(item: Object, name: str) -> str:
    """Name an annotation of an object, with what it says."""
    return reference(item, f".metadata.annotations.{name}: {annotations_of(item)[name]}")
