"""Load balancers and their target groups, next to what stands behind them in the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runbook_lib.lifecycle import Finding, Severity
from runbook_lib.tools.aws import Command, LoadBalancer, TargetGroup

_CHECKS = (
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks"
    ".html"
)
_ATTRIBUTES = (
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/"
    "edit-target-group-attributes.html"
)

_TRAFFIC = "traffic-port"
_HTTP = ("HTTP", "HTTPS")
_DENIED = 403
_SHORT = 60
"""Seconds without a byte after which an application load balancer gives up unless told otherwise:
XNAT takes longer to unpack an upload, or to pack a download, before it answers."""

_LONGER = "3600"

_OF_SIDECARS = (15020, 15021, 15090)
"""Ports of the sidecar itself, which are not captured."""


@dataclass(frozen=True)
class Holder:
    """What the cluster says about a load balancer.

    Attributes:
        where: The Ingress or Service that has it, as findings name it.
        prefix: How its annotations about load balancers begin.
    """

    where: str
    prefix: str


@dataclass(frozen=True)
class Site:
    """What stands behind the load balancers.

    Attributes:
        addresses: The web pods' IP addresses.
        node_ports: The container port of the web pods behind a port of every node.
        web_port: The web container's port.
        open_ports: Container ports that the exception from mutual TLS keeps open.
        answers: What the application itself answers to GET, by path.
        gets: Whether the authorization policy lets GET through from the first.
        replicas: How many web pods there may be.
    """

    addresses: frozenset[str]
    node_ports: Mapping[int, int]
    web_port: int
    open_ports: tuple[int, ...]
    answers: Mapping[str, int]
    gets: bool
    replicas: int

    def serves(self, group: TargetGroup) -> bool:
        """Whether web pods are behind a target group, or no one is yet."""
        if group.item.get("TargetType") == "instance":
            return group.item["Port"] in self.node_ports
        ids = {each["Target"]["Id"] for each in group.targets}
        return not ids or bool(ids & self.addresses)

    def checked(self, group: TargetGroup) -> tuple[int, ...]:
        """Return the container ports that health checks of a target group come to."""
        said = str(group.item.get("HealthCheckPort", _TRAFFIC))
        if said != _TRAFFIC:
            ports = {int(said)}
        else:
            # What the controller writes for a port by name is 1; the targets have the real one.
            ports = {each["Target"].get("Port", 0) for each in group.targets}
            ports = ports or {group.item["Port"]}
        if group.item.get("TargetType") == "instance":
            return tuple(self.node_ports[port] for port in sorted(ports) if port in self.node_ports)
        return tuple(sorted(ports - {0, 1}))


def judge(
    command: Command, balancer: LoadBalancer, holder: Holder, site: Site
) -> Iterator[Finding]:
    """Find what is wrong with a load balancer and with how it asks the web pods."""
    yield from _idle(command, balancer, holder)
    for group in balancer.target_groups:
        if site.serves(group):
            yield from _unhealthy(command, group, holder)
            yield from _checks(command, balancer, group, holder, site)
            yield from _sessions(command, balancer, group, holder, site)


def _idle(command: Command, balancer: LoadBalancer, holder: Holder) -> Iterator[Finding]:
    key = "idle_timeout.timeout_seconds"
    found = int(balancer.attributes.get(key, _SHORT))
    if balancer.item.get("Type") != "application" or found > _SHORT:
        return
    yield Finding(
        _name(balancer),
        f"it gives up a request after {found} s without a byte",
        "uploads that XNAT unpacks for longer, and downloads that it packs for longer, end in 504",
        command(
            *("elbv2", "modify-load-balancer-attributes"),
            *("--load-balancer-arn", balancer.item["LoadBalancerArn"]),
            *("--attributes", f"Key={key},Value={_LONGER}"),
        )
        + _kept(balancer, holder, "load-balancer-attributes", f"{key}={_LONGER}"),
        (f"Attributes[{key}]: {balancer.attributes.get(key, f'not set, so {_SHORT}')}",),
        severity=Severity.NOTE,
        link="https://docs.aws.amazon.com/elasticloadbalancing/latest/application/"
        "edit-load-balancer-attributes.html",
        name="idle-timeout",
    )


def _checks(
    command: Command, balancer: LoadBalancer, group: TargetGroup, holder: Holder, site: Site
) -> Iterator[Finding]:
    """Judge health checks by the policies: they come from outside of the mesh, without TLS."""
    item, arn = group.item, group.item["TargetGroupArn"]
    change = ("elbv2", "modify-target-group", "--target-group-arn", arn)
    ports = site.checked(group)
    closed = [p for p in ports if p not in (*site.open_ports, *_OF_SIDECARS)]
    if closed:
        yield Finding(
            _name_of_group(group),
            f"its health checks go to port {', '.join(map(str, closed))}, which is neither "
            "application.web.port nor among application.plaintext_ports",
            "04_mutual_tls closes the port to them: every target becomes unhealthy",
            command(*change, "--health-check-port", _TRAFFIC)
            + _kept(balancer, holder, "healthcheck-port", _TRAFFIC),
            (f"HealthCheckPort: {item.get('HealthCheckPort')}",),
            parameter=f"application.plaintext_ports: {sorted({*site.open_ports[1:], *closed})}",
            link=_CHECKS,
            name="health-check-port",
        )
    if item.get("HealthCheckProtocol") not in _HTTP:
        return
    path, codes = item.get("HealthCheckPath", "/"), (item.get("Matcher") or {}).get("HttpCode", "")
    said = (f"HealthCheckPath: {path}", f"Matcher.HttpCode: {codes}")
    own = site.answers.get(path)
    if own is not None and site.web_port in ports and not accepts(codes, own):
        yield Finding(
            _name_of_group(group),
            f"its health checks take {codes} for healthy, and the application answers {own}",
            "every target is unhealthy: the load balancer sends requests anywhere, or answers 503",
            command(*change, "--matcher", f"HttpCode={own}")
            + _kept(balancer, holder, "success-codes", str(own)),
            (*said, f"application.probes: GET {path} {own}"),
            severity=Severity.NOTE,
            link=_CHECKS,
            name="health-check-codes",
        )
    if site.web_port in ports and accepts(codes, _DENIED):
        good = str(own) if own is not None else "200,302"
        yield Finding(
            _name_of_group(group),
            f"its health checks take {_DENIED} for healthy",
            "a pod whose policy refuses everybody stays in service, and users get 403",
            command(*change, "--matcher", f"HttpCode={good}")
            + _kept(balancer, holder, "success-codes", good),
            said,
            severity=Severity.NOTE,
            link=_CHECKS,
            name="health-check-blind",
        )
    if site.web_port in ports and not site.gets:
        yield Finding(
            _name_of_group(group),
            "its health checks are GET requests, which the authorization policy refuses at first",
            "05_authorization makes every target unhealthy",
            command(*change, "--health-check-protocol", "TCP")
            if balancer.item.get("Type") == "network"
            else "let GET through",
            said,
            parameter="authorization.methods and read_methods, with GET",
            link=_CHECKS,
            name="health-check-method",
        )


def _sessions(
    command: Command, balancer: LoadBalancer, group: TargetGroup, holder: Holder, site: Site
) -> Iterator[Finding]:
    """Judge whether requests of one session come to one pod."""
    item, arn = group.item, group.item["TargetGroupArn"]
    if balancer.item.get("Type") != "application":
        return
    if item.get("TargetType") == "instance":
        new = [
            *("elbv2", "create-target-group", "--name", f"{item['TargetGroupName'][:29]}-ip"),
            *("--target-type", "ip", "--protocol", item["Protocol"]),
            *("--port", str(site.web_port), "--vpc-id", item["VpcId"]),
        ]
        yield Finding(
            _name_of_group(group),
            "its targets are nodes, which pass requests on to any pod",
            "sessions of XNAT live in one pod, so with more than one pod people are logged out",
            command(*new)
            + ", and have the listener forward there"
            + _kept(balancer, holder, "target-type", "ip"),
            ("TargetType: instance",),
            severity=Severity.NOTE,
            link="https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/"
            "ingress/annotations/#target-type",
            name="target-type",
        )
    key = "stickiness.enabled"
    if site.replicas > 1 and group.attributes.get(key) != "true":
        yield Finding(
            _name_of_group(group),
            f"it is not sticky, and there may be {site.replicas} web pods",
            "sessions of XNAT live in one pod, so people are logged out",
            command(
                *("elbv2", "modify-target-group-attributes", "--target-group-arn", arn),
                *("--attributes", f"Key={key},Value=true", "Key=stickiness.type,Value=lb_cookie"),
            )
            + _kept(
                balancer,
                holder,
                "target-group-attributes",
                f"{key}=true,stickiness.type=lb_cookie",
            ),
            (f"Attributes[{key}]: {group.attributes.get(key, 'not set')}",),
            severity=Severity.NOTE,
            link=_ATTRIBUTES,
            name="stickiness",
        )


def _unhealthy(command: Command, group: TargetGroup, holder: Holder) -> Iterator[Finding]:
    """Find that no target is healthy, with the load balancer's own reason."""
    states = [each["TargetHealth"] for each in group.targets]
    if any(state["State"] != "unhealthy" for state in states) or not states:
        return
    reasons = [
        f"TargetHealth of {each['Target']['Id']}:{each['Target'].get('Port')}: "
        f"{each['TargetHealth'].get('Reason', '?')}: {each['TargetHealth'].get('Description', '?')}"
        for each in group.targets
    ]
    yield Finding(
        _name_of_group(group),
        "none of its targets is healthy",
        "the load balancer sends requests to any of them, or answers 503",
        "mend what the reason names, and look again: "
        + command(
            *("elbv2", "describe-target-health"),
            *("--target-group-arn", group.item["TargetGroupArn"]),
        ),
        (*dict.fromkeys(reasons), f"behind {holder.where}"),
        severity=Severity.NOTE,
        link=_CHECKS,
        name="targets-unhealthy",
    )


def accepts(codes: str, status: int) -> bool:
    """Whether a target group's success codes, such as `200,300-399`, include a status."""
    for part in filter(None, codes.split(",")):
        first, _, last = part.strip().partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False


def _kept(balancer: LoadBalancer, holder: Holder, annotation: str, value: str) -> str:
    """Say where the controller takes it from, which else sets it back."""
    if not balancer.managed:
        return ""
    where = f"{holder.prefix}{annotation}: {value} in {holder.where}"
    return f"; its controller keeps it only with {where}"


def _name(balancer: LoadBalancer) -> str:
    return f"load balancer {balancer.item['LoadBalancerName']}"


def _name_of_group(group: TargetGroup) -> str:
    return f"target group {group.item['TargetGroupName']}"
