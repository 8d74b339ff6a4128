"""Doors: by which ways callers come to which container ports of pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.chapters.shared import leading
from runbook_lib.chapters.shared.leading import Lead
from runbook_lib.cluster import Object, annotations_of, name_of, reference
from runbook_lib.lifecycle import Context
from runbook_lib.mesh.policy import serves, service_targets, spec_of, target
from runbook_lib.mesh.templates import Template

_OUTSIDE_TYPES = ("LoadBalancer", "NodePort")

_ALB, _NLB = "alb.ingress.kubernetes.io/", "service.beta.kubernetes.io/aws-load-balancer-"
_CHECKED = "healthcheck-port"

OF_SIDECARS = (15020, 15021, 15090)
"""Ports of the sidecar itself, which are not captured."""


@dataclass(frozen=True)
class Door:
    """A way to a container port of pods.

    Attributes:
        by: What leads there: a Service, or another object.
        outside: How callers outside of the cluster reach it; empty if they do not.
        port: The container's port.
        fields: The fields of live objects that lead there from outside.
    """

    by: str
    outside: str
    port: int
    fields: tuple[str, ...] = ()


def through_services(context: Context, pods: Sequence[Object]) -> Iterator[Door]:
    """Yield the ways through Services of the application's namespace to these pods of it."""
    leads = list(leading.leads(context))
    for service in context.cluster.list("v1", "Service", context.parameters.application.namespace):
        selected = [pod for pod in pods if serves(service, pod)]
        for port in spec_of(service).get("ports") or []:
            if port.get("protocol", "TCP") != "TCP":
                continue  # sidecars leave everything else alone
            alone = {**service, "spec": {**service["spec"], "ports": [port]}}
            targets = {target for pod in selected for _, target in service_targets(alone, pod)}
            ways = dict(_outside(service, port, leads))
            for number in sorted(targets):
                yield Door(reference(service), ", ".join(ways), number, tuple(ways.values()))


def host_ports(template: Template) -> Iterator[Door]:
    """Yield the ports of nodes that lead to a workload's pods."""
    for path, port in template.ports:
        if port.get("hostPort"):
            yield Door(
                template.where,
                f"hostPort {port['hostPort']}",
                port["containerPort"],
                (template.field(f"{path}.hostPort", port["hostPort"]),),
            )


def health_checks(context: Context, pods: Sequence[Object]) -> Iterator[Door]:
    """Yield the ports of pods to which AWS load balancers send health checks of their own.

    See https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/
    and `aws-load-balancer-healthcheck-port` in guide/service/annotations/.
    """
    namespace = context.parameters.application.namespace
    services = {name_of(each): each for each in context.cluster.list("v1", "Service", namespace)}
    checked: list[tuple[Object, Object, str, str]] = [
        (service, holder, _ALB, f"{_ALB}target-type")
        for lead in leading.of_ingresses(context)
        if (service := services.get(lead.service)) is not None
        for holder in (service, lead.item)
    ]
    checked += [
        (service, service, _NLB, f"{_NLB}nlb-target-type")
        for service in services.values()
        if spec_of(service).get("type") == "LoadBalancer"
    ]
    for service, holder, prefix, kind in checked:
        said = annotations_of(holder).get(prefix + _CHECKED)
        if said is None:
            continue
        targets = {annotations_of(each).get(kind) for each in (service, holder)}
        ports = {
            number
            for pod in pods
            if serves(service, pod)
            for number in _checked(service, pod, said, to_nodes="instance" in targets)
        }
        for number in sorted(ports - {*OF_SIDECARS}):
            field = leading.annotation(holder, prefix + _CHECKED)
            yield Door(reference(holder), "health checks", number, (field,))


def _checked(service: Object, pod: Object, said: str, *, to_nodes: bool) -> Iterator[int]:
    """Yield the container ports behind a port for health checks.

    Args:
        service: The Service of the targets.
        pod: One of its pods.
        said: A number, the name of one of the Service's ports, or `traffic-port`.
        to_nodes: Whether the targets are known to be nodes, and so the number is a node's port.
    """
    for port in spec_of(service)["ports"]:
        known = (port.get("name") or "", str(port.get("nodePort") or ""))
        if said in known and (number := target(port, pod)) is not None:
            yield number
            return
    if said.isdigit() and not to_nodes:
        yield int(said)


def _outside(service: Object, port: Object, leads: Sequence[Lead]) -> Iterator[tuple[str, str]]:
    """Yield how callers outside of the cluster reach a port of a Service, each with its field."""
    spec = service["spec"]
    if spec.get("type") in _OUTSIDE_TYPES:
        yield spec["type"], reference(service, f".spec.type: {spec['type']}")
    if spec.get("externalIPs"):
        found = ", ".join(spec["externalIPs"])
        yield "externalIPs", reference(service, f".spec.externalIPs: {found}")
    for lead in leads:
        if lead.service == name_of(service) and lead.means(port):
            yield reference(lead.item), lead.text
