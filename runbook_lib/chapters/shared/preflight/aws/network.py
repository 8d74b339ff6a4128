"""Security groups: what the mesh needs, and the account's rules do not let through."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network

from runbook_lib.chapters.shared.preflight.wording import few
from runbook_lib.lifecycle import Finding, Severity
from runbook_lib.tools.aws import Command, Item

_DOCS = "https://istio.io/latest/docs/ops/deployment/application-requirements/"

_METRICS = 15020


_ENDS = {
    "UserIdGroupPairs": "GroupId",
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "PrefixListIds": "PrefixListId",
}
"""Where a rule names the other end, and by which key."""


class _Verdict(Enum):
    """Whether rules let a connection through; a prefix list's addresses are not read."""

    OPEN = "open"
    UNKNOWN = "unknown"
    CLOSED = "closed"


@dataclass(frozen=True)
class Side:
    """One end of connections.

    Attributes:
        name: What it is.
        groups: The security groups of each network interface here: alike, these count together.
        best: The one of these that a new rule is best about.
        networks: Where its addresses are.
        members: The ids of the instances here.
    """

    name: str
    groups: frozenset[str]
    best: str
    networks: tuple[IPv4Network, ...]
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Port:
    """A port that istiod or sidecars serve on nodes.

    Attributes:
        number: The TCP port.
        what: What it is for.
        effect: What comes of it if it is closed.
        from_nodes: Whether nodes ask there, and not the API server.
        refuses: Whether the mesh does not work at all without it.
    """

    number: int
    what: str
    effect: str
    from_nodes: bool = True
    refuses: bool = True


PORTS = (
    _Port(
        15017,
        "istiod's injection webhook",
        "the API server does not reach it, and so creates no pod in a labelled namespace",
        from_nodes=False,
    ),
    _Port(
        15012,
        "istiod's certificates and configuration",
        "sidecars on other nodes than istiod's get neither, and their pods do not become ready",
    ),
    _Port(
        _METRICS,
        "the sidecars' metrics, merged with their application's",
        "a Prometheus on another node reads nothing, and Kiali's graph stays empty",
        refuses=False,
    ),
)
"""See https://istio.io/latest/docs/ops/deployment/application-requirements/."""


def control_plane(cluster: Item, subnets: Iterable[Item]) -> Side:
    """Return the network interfaces of an EKS cluster's API server.

    Args:
        cluster: The EKS cluster.
        subnets: Those in which it has its interfaces.
    """
    config = cluster["resourcesVpcConfig"]
    own = config.get("clusterSecurityGroupId")
    groups = [*([own] if own else []), *(config.get("securityGroupIds") or [])]
    networks = tuple(IPv4Network(each["CidrBlock"]) for each in subnets)
    # Without any, the cluster's own is not known, and nothing is judged by it.
    best = groups[0] if groups else "GROUP"
    return Side("the EKS control plane", frozenset(groups), best, networks)


def nodes(instances: Iterable[Item]) -> list[Side]:
    """Return the nodes' network interfaces, those with the same security groups as one."""
    found: dict[frozenset[str], dict[str, list[str]]] = {}
    for instance in instances:
        for interface in instance.get("NetworkInterfaces") or []:
            groups = frozenset(group["GroupId"] for group in interface.get("Groups") or [])
            addresses = [
                str(each["PrivateIpAddress"]) for each in interface.get("PrivateIpAddresses") or []
            ]
            members = found.setdefault(groups, {})
            members.setdefault(instance["InstanceId"], []).extend(addresses)
    return [
        Side(
            f"nodes {few(sorted(members))}",
            groups,
            min(groups, default="GROUP"),
            tuple(IPv4Network(address) for each in members.values() for address in each),
            tuple(members),
        )
        for groups, members in found.items()
    ]


def judge(
    command: Command,
    api_server: Side,
    everywhere: Collection[Side],
    istiod: Collection[Side],
    known: Mapping[str, Item],
) -> Iterator[Finding]:
    """Find connections that security groups close.

    It refuses if the rules close all ways to a port; of some nodes, or where a prefix list
    decides, it is a note.

    Args:
        command: Writes a command of the AWS CLI.
        api_server: The control plane.
        everywhere: The nodes.
        istiod: The nodes that istiod runs on, or may run on.
        known: The security groups by id.
    """
    for port in PORTS:
        callers = everywhere if port.from_nodes else [api_server]
        called = istiod if port.number != _METRICS else everywhere
        ways = [
            (caller, here, _judge(caller, here, port.number, known))
            for caller in callers
            for here in called
            # What stays on a node is not judged by security groups.
            if caller is not here or len(here.members) > 1
        ]
        shut = [way for way in ways if way[2] is not _Verdict.OPEN]
        refuses = port.refuses and all(verdict is _Verdict.CLOSED for _, _, verdict in ways)
        for caller, here, verdict in shut:
            yield _finding(command, port, caller, here, verdict, known, refuses=refuses)


def _finding(
    command: Command,
    port: _Port,
    caller: Side,
    called: Side,
    verdict: _Verdict,
    known: Mapping[str, Item],
    *,
    refuses: bool,
) -> Finding:
    if _inward(caller, called, port.number, known) is not _Verdict.OPEN:
        side, field = called, "IpPermissions"
        mended = command(
            *("ec2", "authorize-security-group-ingress", "--group-id", called.best),
            *("--protocol", "tcp", "--port", str(port.number), "--source-group", caller.best),
        )
    else:
        side, field = caller, "IpPermissionsEgress"
        rule = f"IpProtocol=tcp,FromPort={port.number},ToPort={port.number}"
        mended = command(
            *("ec2", "authorize-security-group-egress", "--group-id", caller.best),
            *("--ip-permissions", f"{rule},UserIdGroupPairs=[{{GroupId={called.best}}}]"),
        )
    told = (
        f"no rule lets TCP {port.number} through from {caller.name} to {called.name}"
        if verdict is _Verdict.CLOSED
        else f"whether TCP {port.number} passes from {caller.name} to {called.name} cannot be told "
        "from the rules: prefix lists and parts of networks are not looked into"
    )
    return Finding(
        f"security groups {', '.join(sorted(side.groups))}",
        f"{told}: {port.what}",
        port.effect,
        mended,
        tuple(
            f"SecurityGroups[{group}].{field}: {_rules(known.get(group, {}).get(field) or [])}"
            for group in sorted(side.groups)
        ),
        parameter="target.aws: null, where something else lets it through" if refuses else "",
        severity=Severity.REFUSES if refuses else Severity.NOTE,
        link=_DOCS,
        name="security-group-closes",
    )


def _judge(caller: Side, called: Side, port: int, known: Mapping[str, Item]) -> _Verdict:
    both = {_inward(caller, called, port, known), _outward(caller, called, port, known)}
    if _Verdict.CLOSED in both:
        return _Verdict.CLOSED
    return _Verdict.UNKNOWN if _Verdict.UNKNOWN in both else _Verdict.OPEN


def _inward(caller: Side, called: Side, port: int, known: Mapping[str, Item]) -> _Verdict:
    return _through(called.groups, "IpPermissions", caller, port, known)


def _outward(caller: Side, called: Side, port: int, known: Mapping[str, Item]) -> _Verdict:
    return _through(caller.groups, "IpPermissionsEgress", called, port, known)


def _through(
    groups: Iterable[str], field: str, other: Side, port: int, known: Mapping[str, Item]
) -> _Verdict:
    """Judge by the rules of one end: what any of its groups lets through passes."""
    best = _Verdict.CLOSED
    for group in groups:
        if group not in known:
            best = _Verdict.UNKNOWN
            continue
        for rule in known[group].get(field) or []:
            if not _covers(rule, port):
                continue
            verdict = _names(rule, other)
            if verdict is _Verdict.OPEN:
                return verdict
            if verdict is _Verdict.UNKNOWN:
                best = verdict
    return best


def _covers(rule: Item, port: int) -> bool:
    if rule.get("IpProtocol") == "-1":
        return True
    in_range = int(rule.get("FromPort", -1)) <= port <= int(rule.get("ToPort", -1))
    return rule.get("IpProtocol") in ("tcp", "6") and in_range


def _names(rule: Item, other: Side) -> _Verdict:
    """Judge whether a rule for the port is about the other end."""
    if any(each.get("GroupId") in other.groups for each in rule.get("UserIdGroupPairs") or []):
        return _Verdict.OPEN
    ranges = [IPv4Network(each["CidrIp"]) for each in rule.get("IpRanges") or []]
    within = [any(net.subnet_of(each) for each in ranges) for net in other.networks]
    if within and all(within):
        return _Verdict.OPEN
    partly = any(net.overlaps(each) for net in other.networks for each in ranges)
    # Addresses of version 6, and those behind a prefix list, are not read.
    if partly or rule.get("PrefixListIds") or rule.get("Ipv6Ranges"):
        return _Verdict.UNKNOWN
    return _Verdict.CLOSED


def _rules(rules: Iterable[Item]) -> str:
    """Write rules briefly, such as `443 from sg-1`; that there is none is said, too."""
    written = []
    for rule in rules:
        first, last = rule.get("FromPort"), rule.get("ToPort")
        ports = str(first) if first == last else f"{first}-{last}"
        ends = [
            str(each[key])
            for field, key in _ENDS.items()
            for each in rule.get(field) or []
            if key in each
        ]
        everything = rule.get("IpProtocol") == "-1"
        written.append(f"{'all' if everything else ports} with {' and '.join(ends) or 'no one'}")
    return few(written) or "no rule"
