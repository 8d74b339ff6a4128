"""What moto cannot show: answers of AWS as its API documents them, judged."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbook_lib.chapters.shared.preflight.aws import encryption, network, serving, versions
from runbook_lib.lifecycle.finding import Finding
from runbook_lib.tools.aws.load_balancers import Listener, LoadBalancer, TargetGroup

NOW = datetime(2026, 11, 27, tzinfo=UTC)
SITE = serving.Site(frozenset({"10.0.0.20"}), {30080: 8080}, 8080, (8080,), {"/": 302}, True, 1)
HOLDER = serving.Holder("Ingress xnat/web", "alb.ingress.kubernetes.io/")


def command(*words: str) -> str:
    return shlex.join(["aws", *words])


def group(*states: dict[str, str], **given: Any) -> TargetGroup:
    item = {
        "TargetGroupArn": "arn:tg",
        "TargetGroupName": "web",
        "TargetType": "ip",
        "Protocol": "HTTP",
        "Port": 8080,
        "VpcId": "vpc-1",
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": "traffic-port",
        "HealthCheckPath": "/",
        "Matcher": {"HttpCode": "302"},
        **given,
    }
    target = {"Id": "10.0.0.20", "Port": 8080}
    targets = tuple({"Target": target, "TargetHealth": state} for state in states)
    return TargetGroup(item, {"stickiness.enabled": "true"}, targets)


def balancer(*groups: TargetGroup, listeners: tuple[Listener, ...] = ()) -> LoadBalancer:
    item = {"LoadBalancerArn": "arn:lb", "LoadBalancerName": "web", "Type": "application"}
    return LoadBalancer(item, {"idle_timeout.timeout_seconds": "600"}, listeners, groups)


def serving_findings(*groups: TargetGroup) -> list[Finding]:
    return list(serving.judge(command, balancer(*groups), HOLDER, SITE))


UNHEALTHY = {
    "State": "unhealthy",
    "Reason": "Target.ResponseCodeMismatch",
    "Description": "Health checks failed with these codes: [403]",
}


def test_targets_of_which_none_is_healthy_are_named_with_the_reason_of_the_load_balancer() -> None:
    (finding,) = serving_findings(group(UNHEALTHY, UNHEALTHY))
    assert finding.name == "targets-unhealthy"
    assert "Health checks failed with these codes: [403]" in finding.evidence[0]
    assert "aws elbv2 describe-target-health --target-group-arn arn:tg" in finding.remedy


@pytest.mark.parametrize("state", ["healthy", "initial", "draining"])
def test_one_target_that_may_answer_is_enough(state: str) -> None:
    assert serving_findings(group(UNHEALTHY, {"State": state})) == []


def test_health_checks_of_sidecars_themselves_are_not_cut_off() -> None:
    """Port 15020 is not captured, see docs/ops/configuration/mesh/app-health-check of Istio."""
    checks = {"HealthCheckPort": "15020", "HealthCheckPath": "/app-health/web/readyz"}
    assert serving_findings(group({"State": "healthy"}, **checks)) == []


def test_health_checks_at_a_node_port_are_judged_by_the_container_port_behind_it() -> None:
    by_node = {"TargetType": "instance", "Port": 30080}
    through = group({"State": "healthy"}, HealthCheckPort="30080", **by_node)
    assert {each.name for each in serving_findings(through)} == {"target-type"}


def test_a_target_group_of_other_pods_is_not_judged() -> None:
    other = group(UNHEALTHY)
    elsewhere = {"Target": {"Id": "10.0.0.99", "Port": 9}, "TargetHealth": UNHEALTHY}
    assert serving_findings(TargetGroup(other.item, {}, (elsewhere,))) == []


@pytest.mark.parametrize(
    ("codes", "status", "accepted"),
    [
        ("302", 302, True),
        ("200,302", 302, True),
        ("200-399", 302, True),
        ("200", 302, False),
        ("", 200, False),
    ],
)
def test_success_codes_are_single_listed_or_a_range(
    codes: str, status: int, *, accepted: bool
) -> None:
    assert serving.accepts(codes, status) is accepted


def certificate(**given: Any) -> dict[str, Any]:
    return {
        "CertificateArn": "arn:aws:acm:eu-central-1:1:certificate/c-1",
        "DomainName": "xnat.example.com",
        "Status": "ISSUED",
        "Type": "AMAZON_ISSUED",
        "NotAfter": NOW + timedelta(days=200),
        **given,
    }


def encryption_findings(*certificates: dict[str, Any]) -> Iterator[Finding]:
    item = {"Port": 443, "ListenerArn": "arn:l", "SslPolicy": "p"}
    served = balancer(listeners=(Listener(item, certificates, ("TLSv1.3", "TLSv1.2")),))
    return encryption.judge(command, served, "xnat.example.com", NOW)


@pytest.mark.parametrize("status", ["EXPIRED", "REVOKED", "FAILED", "VALIDATION_TIMED_OUT"])
def test_a_certificate_that_acm_does_not_call_issued_is_not_valid(status: str) -> None:
    (finding,) = encryption_findings(certificate(Status=status))
    assert finding.name == "certificate-invalid"


def test_a_certificate_that_has_ended_is_not_valid() -> None:
    (finding,) = encryption_findings(certificate(NotAfter=NOW - timedelta(days=1)))
    assert (finding.name, "2026-11-26" in finding.evidence[0]) == ("certificate-invalid", True)


def test_one_valid_certificate_among_several_is_enough() -> None:
    ended = certificate(NotAfter=NOW - timedelta(days=1))
    assert list(encryption_findings(ended, certificate())) == []


def test_a_certificate_that_is_not_in_acm_is_not_judged() -> None:
    """Those of IAM cannot be read by ACM, and may be for any name."""
    of_iam = {"CertificateArn": "arn:aws:iam::1:server-certificate/old"}
    assert list(encryption_findings(of_iam, certificate(DomainName="other.org"))) == []


def test_the_security_group_that_eks_makes_is_the_one_that_rules_name() -> None:
    config = {"clusterSecurityGroupId": "sg-eks", "securityGroupIds": ["sg-a"]}
    side = network.control_plane({"resourcesVpcConfig": config}, [{"CidrBlock": "10.0.0.0/24"}])
    assert (side.best, side.groups) == ("sg-eks", {"sg-eks", "sg-a"})


def of_nodes(rules: list[dict[str, Any]]) -> list[Finding]:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    known = {
        "sg-eks": {"IpPermissions": [], "IpPermissionsEgress": everything},
        "sg-nodes": {"IpPermissions": rules, "IpPermissionsEgress": everything},
    }
    config = {"resourcesVpcConfig": {"clusterSecurityGroupId": "sg-eks"}}
    addresses = [{"PrivateIpAddress": "10.0.1.5"}]
    interface = {"Groups": [{"GroupId": "sg-nodes"}], "PrivateIpAddresses": addresses}
    nodes = network.nodes([{"InstanceId": "i-1", "NetworkInterfaces": [interface]}])
    api_server = network.control_plane(config, [{"CidrBlock": "10.0.0.0/24"}])
    return list(network.judge(command, api_server, nodes, nodes, known))


def ports(first: int, last: int, **ends: Any) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **ends}]


OPEN = {
    "the whole network": ports(0, 65535, IpRanges=[{"CidrIp": "10.0.0.0/16"}]),
    "exactly the subnet": ports(15017, 15017, IpRanges=[{"CidrIp": "10.0.0.0/24"}]),
    "every protocol": [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-eks"}]}],
}


@pytest.mark.parametrize("rules", OPEN.values(), ids=OPEN)
def test_rules_that_let_the_control_plane_in_are_understood(rules: list[dict[str, Any]]) -> None:
    """The one node needs no rule for itself: what stays on it is not judged by security groups."""
    assert of_nodes(rules) == []


SHUT = {
    "no rule": ([], True),
    "another port": (ports(443, 443, UserIdGroupPairs=[{"GroupId": "sg-eks"}]), True),
    "another group": (ports(15017, 15017, UserIdGroupPairs=[{"GroupId": "sg-other"}]), True),
    "UDP": ([{**ports(15017, 15017)[0], "IpProtocol": "udp"}], True),
    "another network": (ports(15017, 15017, IpRanges=[{"CidrIp": "10.9.0.0/16"}]), True),
    "a part of the subnet": (ports(15017, 15017, IpRanges=[{"CidrIp": "10.0.0.0/25"}]), False),
    "version 6": (ports(15017, 15017, Ipv6Ranges=[{"CidrIpv6": "::/0"}]), False),
}


@pytest.mark.parametrize(("rules", "refuses"), SHUT.values(), ids=SHUT)
def test_only_what_is_surely_closed_refuses(rules: list[dict[str, Any]], *, refuses: bool) -> None:
    (finding,) = of_nodes(rules)
    assert finding.refuses is refuses
    assert ("cannot be told" in finding.what) is not refuses


def test_what_eks_reports_of_a_node_group_is_said() -> None:
    issue = {"code": "AsgInstanceLaunchFailures", "message": "no capacity"}
    node_group = {"nodegroupName": "main", "version": "1.34", "health": {"issues": [issue]}}
    cluster = {"name": "prod", "version": "1.34"}
    (finding,) = versions.judge(command, cluster, None, [node_group], [])
    assert "no capacity" in finding.what
    assert finding.evidence == ("nodegroup.health.issues: AsgInstanceLaunchFailures",)


@pytest.mark.parametrize(
    ("istio", "kubernetes", "told"),
    [
        ("1.31.1", "1.32", 0),
        ("1.31.1", "1.36", 0),
        ("1.31.1", "1.31", 1),
        ("1.28.0", "1.35", 1),
        ("1.99.0", "1.20", 0),
        (None, "1.20", 0),
    ],
)
def test_an_istio_of_which_nothing_is_known_is_not_judged(
    istio: str | None, kubernetes: str, told: int
) -> None:
    cluster = {"name": "prod", "version": kubernetes}
    assert len(list(versions.judge(command, cluster, istio, [], []))) == told


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("public.ecr.aws/eks/aws-load-balancer-controller:v2.5.4", 1),
        ("public.ecr.aws/eks/aws-load-balancer-controller:v2.6.0", 0),
        (
            "602401143452.dkr.ecr.eu-central-1.amazonaws.com/x/aws-load-balancer-controller:v3.0.0",
            0,
        ),
        ("mirror.example.com/controller@sha256:0", 0),
    ],
)
def test_the_controllers_version_is_that_of_its_image(image: str, told: int) -> None:
    labels = {"app.kubernetes.io/name": "aws-load-balancer-controller"}
    item = {
        "kind": "Deployment",
        "metadata": {"name": "c", "namespace": "kube-system", "labels": labels},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    }
    found = versions.controller(command, {"name": "prod"}, [item])
    assert [each.name for each in found] == ["controller-version"] * told
