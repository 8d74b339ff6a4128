"""Read the account next to the cluster, a part at a time: what cannot be read is not judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from runbook_lib.base import KindNotInstalled, RunbookError
from runbook_lib.chapters.shared.preflight.aws import (
    encryption,
    network,
    serving,
    subnets,
    versions,
)
from runbook_lib.chapters.shared.preflight.aws.serving import Holder, Site
from runbook_lib.cluster import APPS, NETWORKING, Object, name_of, reference
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import has_ended, web_pods
from runbook_lib.mesh.policy import serves, spec_of, target
from runbook_lib.tools.aws import Account

_ALB, _NLB = "alb.ingress.kubernetes.io/", "service.beta.kubernetes.io/aws-load-balancer-"
_PER_NODE = "aws://"
_UNREAD = "aws-unread"
_SHOWN = 3
"""Nodes that are shown as evidence."""


def closed_ports(context: Context, account: Account) -> Iterator[Finding]:
    """Find ports of the mesh that security groups close."""
    cluster = account.cluster()
    nodes = context.cluster.list("v1", "Node")
    machines = account.instances(_instances(nodes))
    if not machines:
        yield Finding(
            "nodes",
            "none is an EC2 instance of this account",
            "whether security groups let istiod and sidecars be reached is not known",
            account.command("ec2", "describe-instances"),
            tuple(
                reference(node, f".spec.providerID: {spec_of(node).get('providerID') or 'none'}")
                for node in nodes[:_SHOWN]
            ),
            severity=Severity.NOTE,
            link="https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html",
            name="nodes-unknown",
        )
        return
    api_server = network.control_plane(
        cluster, account.subnets(cluster["resourcesVpcConfig"]["subnetIds"])
    )
    everywhere = network.nodes(machines)
    names = _nodes_of_istiod(context)
    istiod = {*_instances(node for node in nodes if name_of(node) in names)}
    there = [each for each in everywhere if istiod & {*each.members}] or everywhere
    groups = account.security_groups(
        {group for side in (api_server, *everywhere) for group in side.groups}
    )
    yield from network.judge(account.command, api_server, everywhere, there, groups)


def load_balancers(context: Context, account: Account) -> Iterator[Finding]:
    """Find what is wrong with the application's load balancers, or with how they ask the pods."""
    holders = dict(_holders(context))
    if not holders:
        yield _no_load_balancer(context, account)
    found = account.load_balancers(holders)
    site = _site(context)
    host = urlsplit(context.target.url)
    name = (host.hostname or "") if host.scheme == "https" else ""
    for balancer in found:
        holder = holders[balancer.item["DNSName"].lower()]
        yield from serving.judge(account.command, balancer, holder, site)
        if any(site.serves(group) for group in balancer.target_groups):
            yield from encryption.judge(account.command, balancer, name, datetime.now(UTC))
    there = {balancer.item["DNSName"].lower() for balancer in found}
    for missing in holders.keys() - there:
        yield Finding(
            holders[missing].where,
            "its load balancer is not in this account and region",
            "whether it is set up for the mesh is not known",
            "name its region and profile in target.aws: "
            + account.command("elbv2", "describe-load-balancers"),
            (f"{holders[missing].where} .status.loadBalancer.ingress[].hostname: {missing}",),
            severity=Severity.NOTE,
            link="https://docs.aws.amazon.com/eks/latest/userguide/alb-ingress.html",
            name="load-balancer-elsewhere",
        )


def _no_load_balancer(context: Context, account: Account) -> Finding:
    namespace = context.parameters.application.namespace
    return Finding(
        f"Ingresses and Services in {namespace}",
        "none has a load balancer of AWS",
        "whether the one in front of the application is set up for the mesh is not known",
        "look yourself at what leads here, such as a TargetGroupBinding or an Ingress of another "
        f"namespace: {account.command('elbv2', 'describe-load-balancers')}",
        ("no .status.loadBalancer.ingress[].hostname",),
        severity=Severity.NOTE,
        link="https://docs.aws.amazon.com/eks/latest/userguide/alb-ingress.html",
        name="load-balancer-unknown",
    )


def networks(context: Context, account: Account) -> Iterator[Finding]:
    """Find subnets that run short, or that new load balancers do not find."""
    cluster = account.cluster()
    machines = account.instances(_instances(context.cluster.list("v1", "Node")))
    balancers = account.load_balancers(dict(_holders(context)))
    ids = {
        *cluster["resourcesVpcConfig"]["subnetIds"],
        *(each["SubnetId"] for each in machines if "SubnetId" in each),
        *(zone["SubnetId"] for each in balancers for zone in each.item["AvailabilityZones"]),
    }
    kiali = context.parameters.kiali
    exposes = f"kiali.exposure: {kiali.exposure}"
    yield from subnets.judge(
        account.command,
        account.subnets(ids),
        balancers,
        exposes=exposes if kiali.exposure in ("nlb-tls", "alb-ingress") else "",
    )


def compatible(context: Context, account: Account) -> Iterator[Finding]:
    """Find versions that do not go together."""
    cluster = account.cluster()
    yield from versions.judge(
        account.command,
        cluster,
        context.parameters.istio.version,
        account.node_groups(cluster),
        context.cluster.list("v1", "Node"),
    )
    deployments = context.cluster.list(APPS, "Deployment")
    yield from versions.controller(account.command, cluster, deployments)


@dataclass(frozen=True)
class Area:
    """A part of the account, which is looked at and judged by itself.

    Attributes:
        name: What it is called where it is looked up.
        title: What people call it.
        find: Looks at it, and judges it.
    """

    name: str
    title: str
    find: Callable[[Context, Account], Iterable[Finding]]


AREAS = (
    Area("aws_ports", "AWS security groups", closed_ports),
    Area("aws_balancers", "AWS load balancers", load_balancers),
    Area("aws_networks", "AWS subnets", networks),
    Area("aws_versions", "AWS versions", compatible),
)


def looks(context: Context) -> Iterator[tuple[Area, Callable[[], tuple[Finding, ...]]]]:
    """Yield each area with what looks at it; nothing where `target.aws` does not ask for it."""
    if (account := context.aws) is not None:
        for area in AREAS:
            yield area, partial(_found, area, context, account)


def _found(area: Area, context: Context, account: Account) -> tuple[Finding, ...]:
    return tuple(area.find(context, account))


def before_label(context: Context) -> Iterator[Finding]:
    """Find closed ports without which pods with sidecars are not created, or do not start."""
    yield from _refusing(context, closed_ports)


def before_mutual_tls(context: Context) -> Iterator[Finding]:
    """Find health checks that mutual TLS would cut off."""
    yield from _refusing(context, load_balancers, "health-check-port")


def before_authorization(context: Context) -> Iterator[Finding]:
    """Find health checks that the authorization policy would refuse."""
    yield from _refusing(context, load_balancers, "health-check-method")


def unread(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return what a plan cannot foresee because AWS was asked and could not be read.

    The reason is in the finding; here it would change the plan from one time to the next.
    """
    unforeseen = (
        "whether something in AWS is in the way: target.aws asks for a look, and it could not be "
        "read; the preflight of 00_start_here says why"
    )
    return (unforeseen,) if any(each.name == _UNREAD for each in findings) else ()


def _refusing(
    context: Context, look: Callable[[Context, Account], Iterable[Finding]], *names: str
) -> Iterator[Finding]:
    """Yield what refuses a step; that nothing could be read is a note, and no refusal."""
    account = context.aws
    if account is None:
        return
    try:
        found = list(look(context, account))
    except RunbookError as error:
        yield Finding(
            "AWS",
            f"it could not be read: {error.cause.splitlines()[0]}",
            "what is in the way there shows only when a step meets it",
            error.remedy or "look again",
            severity=Severity.NOTE,
            name=_UNREAD,
        )
        return
    yield from (each for each in found if each.refuses and (not names or each.name in names))


def _instances(nodes: Iterable[Object]) -> Iterator[str]:
    """Yield the ids of the EC2 instances that are nodes: Fargate and others are none."""
    for node in nodes:
        provider = str(spec_of(node).get("providerID") or "")
        name = provider.rpartition("/")[2]
        if provider.startswith(_PER_NODE) and name.startswith("i-"):
            yield name


def _nodes_of_istiod(context: Context) -> set[str]:
    namespace = context.parameters.istio.namespace
    pods = context.cluster.list("v1", "Pod", namespace, {"app": "istiod"})
    return {str(spec_of(pod).get("nodeName")) for pod in pods if not has_ended(pod)}


def _holders(context: Context) -> Iterator[tuple[str, Holder]]:
    """Yield the load balancers' DNS names in the application's namespace, each with its object."""
    namespace = context.parameters.application.namespace
    for version, kind, prefix in (("v1", "Service", _NLB), (NETWORKING, "Ingress", _ALB)):
        for item in context.cluster.list(version, kind, namespace):
            status = (item.get("status") or {}).get("loadBalancer") or {}
            for entry in status.get("ingress") or []:
                if host := str(entry.get("hostname") or "").lower():
                    where = Holder(reference({**item, "kind": kind}), prefix)
                    yield host.removeprefix("dualstack."), where


def _site(context: Context) -> Site:
    parameters = context.parameters
    application, web = parameters.application, parameters.application.web
    pods = web_pods(context.cluster, parameters)
    services = context.cluster.list("v1", "Service", application.namespace)
    ports: dict[int, int] = {}
    for service in services:
        for pod in (pod for pod in pods if serves(service, pod)):
            for port in spec_of(service).get("ports") or []:
                number = target(port, pod)
                if port.get("nodePort") and number is not None:
                    ports[port["nodePort"]] = number
    authorization = parameters.authorization
    # The documented story begins with the fewer methods.
    methods = authorization.methods if parameters.story == "safe" else authorization.read_methods
    return Site(
        addresses=frozenset(
            str(each["ip"]) for pod in pods for each in pod.get("status", {}).get("podIPs") or []
        ),
        node_ports=ports,
        web_port=web.port,
        open_ports=(web.port, *application.plaintext_ports),
        answers={p.path: p.status for p in application.probes if p.method == "GET"},
        gets="GET" in methods,
        replicas=_replicas(context),
    )


def _replicas(context: Context) -> int:
    """Return how many web pods there may be, by their workload and by what scales it."""
    application = context.parameters.application
    web = application.web
    workload = context.cluster.get(APPS, web.kind, web.name, application.namespace) or {}
    most = [int(spec_of(workload).get("replicas", 1))]
    with suppress(KindNotInstalled):
        for item in context.cluster.list(
            "autoscaling/v2", "HorizontalPodAutoscaler", application.namespace
        ):
            scaled = item["spec"]["scaleTargetRef"]
            if (scaled["kind"], scaled["name"]) == (web.kind, web.name):
                most.append(int(item["spec"]["maxReplicas"]))
    return max(most)
