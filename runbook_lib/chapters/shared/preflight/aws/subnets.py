"""Subnets: zones, free addresses, and the tags by which new load balancers find theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.chapters.shared.preflight.wording import few
from runbook_lib.lifecycle import Finding, Severity
from runbook_lib.tools.aws import Command, Item, LoadBalancer

FREE = 8
"""Addresses that a load balancer needs free in each of its subnets, see
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html."""

_ZONES = 2

INTERNAL = "kubernetes.io/role/internal-elb"

_DISCOVERY = (
    "https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/subnet_discovery/"
)


def judge(
    command: Command,
    subnets: Sequence[Item],
    balancers: Sequence[LoadBalancer],
    *,
    exposes: str = "",
) -> Iterator[Finding]:
    """Find subnets that run short, and load balancers of one zone.

    Args:
        command: Writes a command of the AWS CLI.
        subnets: Those of the cluster, of its nodes and of its load balancers.
        balancers: The application's load balancers.
        exposes: What will get an internal load balancer of its own, as a parameter with its
            value; empty if nothing will.
    """
    for subnet in subnets:
        free = subnet["AvailableIpAddressCount"]
        if free < FREE:
            yield Finding(
                f"subnet {subnet['SubnetId']}",
                f"it has {free} addresses left",
                "pods that are tried before others are replaced get none, and so stay Pending; a "
                f"load balancer needs {FREE} to grow",
                "add a range and a subnet in it, for nodes to go to: "
                + command(
                    *("ec2", "associate-vpc-cidr-block", "--vpc-id", subnet["VpcId"]),
                    *("--cidr-block", "100.64.0.0/16"),
                ),
                (f"AvailableIpAddressCount: {free}, CidrBlock: {subnet['CidrBlock']}",),
                severity=Severity.NOTE,
                link="https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html",
                name="subnet-addresses",
            )
    for balancer in balancers:
        zones = sorted({each["ZoneName"] for each in balancer.item["AvailabilityZones"]})
        if len(zones) < _ZONES:
            others = [s for s in subnets if s["AvailabilityZone"] not in zones]
            listed = [each["SubnetId"] for each in balancer.item["AvailabilityZones"]]
            more = [others[0]["SubnetId"]] if others else ["SUBNET-OF-ANOTHER-ZONE"]
            yield Finding(
                f"load balancer {balancer.item['LoadBalancerName']}",
                f"it is in one zone, {', '.join(zones)}",
                "users get no answer while that zone has a fault, and pods of other zones may get "
                "no requests",
                command(
                    *("elbv2", "set-subnets"),
                    *("--load-balancer-arn", balancer.item["LoadBalancerArn"]),
                    *("--subnets", *listed, *more),
                ),
                (f"AvailabilityZones: {', '.join(zones)}",),
                severity=Severity.NOTE,
                link="https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/"
                "how-elastic-load-balancing-works.html#availability-zones",
                name="single-zone",
            )
    if exposes:
        yield from _untagged(command, subnets, exposes)


def _untagged(command: Command, subnets: Sequence[Item], exposes: str) -> Iterator[Finding]:
    tagged = {subnet["AvailabilityZone"] for subnet in subnets if _tag(subnet) in ("", "1")}
    if len(tagged) >= _ZONES:
        return
    private: dict[str, str] = {}
    for subnet in subnets:
        if not subnet.get("MapPublicIpOnLaunch"):
            private.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
    chosen = sorted(private.values()) or ["SUBNET", "SUBNET-OF-ANOTHER-ZONE"]
    yield Finding(
        f"subnets {few([each['SubnetId'] for each in subnets])}",
        f"those of {len(tagged) or 'no'} zone{'s' if not tagged else ''} carry the tag {INTERNAL}",
        f"older load balancer controllers find no subnets for {exposes}: Kiali gets no address",
        command(
            *("ec2", "create-tags", "--resources", *chosen),
            *("--tags", f"Key={INTERNAL},Value=1"),
        ),
        tuple(f"{each['SubnetId']} Tags[{INTERNAL}]: {_tag(each) or 'none'}" for each in subnets),
        severity=Severity.NOTE,
        link=_DISCOVERY,
        name="subnet-tags",
    )


def _tag(subnet: Item) -> str | None:
    """Return the value of the tag; None if there is none. An empty value counts as 1."""
    found = (tag["Value"] for tag in subnet.get("Tags") or [] if tag["Key"] == INTERNAL)
    return next(found, None)
