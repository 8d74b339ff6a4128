"""Load balancers, with everything behind their names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runbook_lib.tools.aws.calls import Call, Item
from runbook_lib.tools.aws.session import Session

_OWNERS = ("elbv2.k8s.aws/cluster", "eks:eks-cluster-name")
"""Tags of the AWS Load Balancer Controller on what it makes, see its docs/guide/ingress, and of
EKS Auto Mode, without which it may not change a load balancer."""

_ENCRYPTED = ("HTTPS", "TLS")
_MOST_TAGGED = 20
"""ARNs that DescribeTags takes at once."""


@dataclass(frozen=True)
class Listener:
    """A port of a load balancer.

    Attributes:
        item: As `DescribeListeners` has it.
        certificates: Its certificates; of those that are not in ACM, the ARN alone.
        protocols: The TLS versions that its policy offers, such as `TLSv1.2`; empty without TLS.
    """

    item: Item
    certificates: tuple[Item, ...] = ()
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetGroup:
    """Where a load balancer sends requests.

    Attributes:
        item: As `DescribeTargetGroups` has it.
        attributes: Its attributes, such as `stickiness.enabled`.
        targets: As `DescribeTargetHealth` has them.
    """

    item: Item
    attributes: Mapping[str, str]
    targets: tuple[Item, ...] = ()


@dataclass(frozen=True)
class LoadBalancer:
    """A load balancer.

    Attributes:
        item: As `DescribeLoadBalancers` has it.
        attributes: Its attributes, such as `idle_timeout.timeout_seconds`.
        listeners: Its ports.
        target_groups: Where it sends requests.
        managed: Whether the AWS Load Balancer Controller, or EKS Auto Mode, keeps it as annotations
            say.
    """

    item: Item
    attributes: Mapping[str, str]
    listeners: tuple[Listener, ...] = ()
    target_groups: tuple[TargetGroup, ...] = ()
    managed: bool = False


def find(session: Session, hosts: Collection[str]) -> Iterator[LoadBalancer]:
    """Yield the load balancers of these DNS names that are in the account and region."""
    # AWS finds them by ARN or by name, and the cluster knows the DNS name alone.
    found = [
        item
        for item in session.items(Call.LOAD_BALANCERS)
        if str(item.get("DNSName", "")).lower() in hosts
    ]
    owned = set(_owned(session, [item["LoadBalancerArn"] for item in found]))
    for item in found:
        arn = item["LoadBalancerArn"]
        yield LoadBalancer(
            item,
            _attributes(session.items(Call.ATTRIBUTES, LoadBalancerArn=arn)),
            tuple(
                _listener(session, each)
                for each in session.items(Call.LISTENERS, LoadBalancerArn=arn)
            ),
            tuple(
                _target_group(session, each)
                for each in session.items(Call.TARGET_GROUPS, LoadBalancerArn=arn)
            ),
            managed=arn in owned,
        )


def _owned(session: Session, arns: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(arns), _MOST_TAGGED):
        some = arns[start : start + _MOST_TAGGED]
        for each in session.items(Call.TAGS, ResourceArns=some):
            if any(tag["Key"] in _OWNERS for tag in each["Tags"]):
                yield each["ResourceArn"]


def _listener(session: Session, item: Item) -> Listener:
    if item.get("Protocol") not in _ENCRYPTED:
        return Listener(item)
    # The first list names the default one only, the second all but some stand-ins' default.
    listed = [
        *(item.get("Certificates") or []),
        *session.items(Call.LISTENER_CERTIFICATES, ListenerArn=item["ListenerArn"]),
    ]
    arns = dict.fromkeys(each["CertificateArn"] for each in listed)
    policies = session.items(Call.TLS_POLICIES, Names=[item["SslPolicy"]])
    return Listener(
        item,
        tuple(
            session.item(Call.CERTIFICATE, CertificateArn=arn)
            if ":acm:" in arn
            else {"CertificateArn": arn}
            for arn in arns
        ),
        tuple(version for policy in policies for version in policy["SslProtocols"]),
    )


def _target_group(session: Session, item: Item) -> TargetGroup:
    arn = item["TargetGroupArn"]
    return TargetGroup(
        item,
        _attributes(session.items(Call.TARGET_GROUP_ATTRIBUTES, TargetGroupArn=arn)),
        tuple(session.items(Call.TARGET_HEALTH, TargetGroupArn=arn)),
    )


def _attributes(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {each["Key"]: str(each.get("Value", "")) for each in found}
