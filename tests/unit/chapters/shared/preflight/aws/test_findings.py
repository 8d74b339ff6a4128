"""What is amiss in an account with EKS is found, and nothing else; moto stands in for AWS.

What moto does not have is at the end; each says what is judged without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runbook_lib import chapters
from runbook_lib.base.errors import ParameterError
from runbook_lib.chapters.shared.preflight import everything
from runbook_lib.chapters.shared.preflight.aws.looking import (
    AREAS,
    before_authorization,
    before_label,
    before_mutual_tls,
    looks,
    unread,
)
from runbook_lib.cluster.objects import Object
from runbook_lib.diagnosis import looking
from runbook_lib.diagnosis.judging import unjudged
from runbook_lib.diagnosis.looking import Looker
from runbook_lib.diagnosis.observation import Observation
from runbook_lib.diagnosis.registry import registered
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.finding import Finding, Severity
from runbook_lib.tools.aws.account import Account
from tests.unit.doubles.aws import ENVIRONMENT, HOST, MODERN, REGION, EksAccount, node, server


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def account(patched: pytest.MonkeyPatch) -> Iterator[EksAccount]:
    with server() as url:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            patched.setenv(name, value)
        yield EksAccount(url)


@pytest.fixture(scope="module")
def reader(account: EksAccount) -> Account:
    """One for all tests: making boto3's clients takes longer than what they are asked."""
    return Account(account.endpoint, None, None, None)


Look = Callable[..., Context]


@pytest.fixture
def on_account(account: EksAccount, reader: Account, tmp_path: Path) -> Look:
    def context(*objects: Object, **given: Any) -> Context:
        made = account.context(tmp_path, *objects, **given)
        vars(made)["aws"] = reader
        return made

    return context


def look_at(context: Context) -> tuple[Observation, list[Any], list[Any]]:
    """What the diagnosis sees of AWS, and what it says of that."""
    seen = Observation(context.parameters)
    return looking._all(map, seen, list(Looker(context)._aws()))


def found(context: Context, *areas: str) -> list[Finding]:
    """What is found in some areas, or in all if none is named."""
    each = (look for area, look in looks(context) if not areas or area.name in areas)
    return [finding for look in each for finding in look()]


Change = Callable[[EksAccount], Iterator[None]]


@dataclass(frozen=True)
class Case:
    """Something amiss.

    Attributes:
        area: Where it is looked for.
        name: The finding.
        change: Changes the account, and after the test changes it back.
        command: Words of the command that mends it.
        evidence: Words of what shows it.
        objects: What there is in the cluster besides.
        given: Parameters.
        severity: What it means.
    """

    area: str
    name: str
    change: Change
    command: str
    evidence: str
    objects: tuple[Object, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)
    severity: Severity = Severity.NOTE


def nothing(_account: EksAccount) -> Iterator[None]:
    yield


def no_rule_for_the_webhook(account: EksAccount) -> Iterator[None]:
    account.shut_out("nodes", "control-plane", 15017)
    account.let_in("nodes", "control-plane", 443)
    yield
    account.shut_out("nodes", "control-plane", 443)
    account.let_in("nodes", "control-plane", 15017)


def nodes_apart(account: EksAccount) -> Iterator[None]:
    account.shut_out("nodes", "nodes", 0, 65535)
    yield
    account.let_in("nodes", "nodes", 0, 65535)


def control_plane_may_not_call(account: EksAccount) -> Iterator[None]:
    everything_out = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    group = {"GroupId": account.ids["control-plane"], "IpPermissions": everything_out}
    account.ask("ec2").revoke_security_group_egress(**group)
    yield
    account.ask("ec2").authorize_security_group_egress(**group)


def by_prefix_list(account: EksAccount) -> Iterator[None]:
    ec2 = account.ask("ec2")
    made = ec2.create_managed_prefix_list(
        PrefixListName="control-plane", MaxEntries=1, AddressFamily="IPv4"
    )["PrefixList"]["PrefixListId"]
    rule = {"IpProtocol": "tcp", "FromPort": 15017, "ToPort": 15017}
    given = {
        "GroupId": account.ids["nodes"],
        "IpPermissions": [{**rule, "PrefixListIds": [{"PrefixListId": made}]}],
    }
    account.shut_out("nodes", "control-plane", 15017)
    ec2.authorize_security_group_ingress(**given)
    yield
    ec2.revoke_security_group_ingress(**given)
    account.let_in("nodes", "control-plane", 15017)


def group_changed(**given: Any) -> Change:
    def change(account: EksAccount) -> Iterator[None]:
        account.target_group(**given)
        yield
        usual = {"HealthCheckPort": "traffic-port", "HealthCheckPath": "/"}
        account.target_group(**usual, Matcher={"HttpCode": "302"})

    return change


def impatient(account: EksAccount) -> Iterator[None]:
    account.idle(60)
    yield
    account.idle(600)


def old_tls(account: EksAccount) -> Iterator[None]:
    account.listener(SslPolicy="ELBSecurityPolicy-2016-08")
    yield
    account.listener(SslPolicy=MODERN)


def certificate(*names: str, days: int = 300) -> Change:
    def change(account: EksAccount) -> Iterator[None]:
        yield from _certificate(account, account.certified(*names, days=days))

    return change


def not_issued(account: EksAccount) -> Iterator[None]:
    made = account.ask("acm").request_certificate(DomainName=HOST)["CertificateArn"]
    yield from _certificate(account, made)


def _certificate(account: EksAccount, arn: str) -> Iterator[None]:
    account.listener(Certificates=[{"CertificateArn": arn}])
    yield
    account.listener(Certificates=[{"CertificateArn": account.ids["certificate"]}])


def nodes_as_targets(account: EksAccount) -> Iterator[None]:
    elb = account.ask("elbv2")
    made = elb.create_target_group(
        Name="by-node",
        Protocol="HTTP",
        Port=30080,
        VpcId=account.ids["vpc"],
        TargetType="instance",
        HealthCheckPath="/",
        Matcher={"HttpCode": "302"},
    )["TargetGroups"][0]["TargetGroupArn"]
    rule = elb.create_rule(
        ListenerArn=account.ids["listener"],
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/by-node"]}],
        Actions=[{"Type": "forward", "TargetGroupArn": made}],
    )["Rules"][0]["RuleArn"]
    yield
    elb.delete_rule(RuleArn=rule)
    elb.delete_target_group(TargetGroupArn=made)


def small_subnet(account: EksAccount) -> Iterator[None]:
    ec2 = account.ask("ec2")
    made = ec2.create_subnet(
        VpcId=account.ids["vpc"], CidrBlock="10.0.9.0/28", AvailabilityZone=f"{REGION}a"
    )["Subnet"]["SubnetId"]
    interfaces = [
        ec2.create_network_interface(SubnetId=made)["NetworkInterface"]["NetworkInterfaceId"]
        for _ in range(5)
    ]
    elb, arn = account.ask("elbv2"), account.ids["load-balancer-arn"]
    elb.set_subnets(LoadBalancerArn=arn, Subnets=[made, account.ids["subnet-b"]])
    yield
    elb.set_subnets(LoadBalancerArn=arn, Subnets=account.subnets)
    for each in interfaces:
        ec2.delete_network_interface(NetworkInterfaceId=each)
    ec2.delete_subnet(SubnetId=made)


def network_load_balancer(account: EksAccount) -> Iterator[None]:
    elb = account.ask("elbv2")
    made = elb.create_load_balancer(
        Name="k8s-dicom", Type="network", Subnets=[account.ids["subnet-a"]]
    )["LoadBalancers"][0]
    arn = made["LoadBalancerArn"]
    group = elb.create_target_group(
        Name="k8s-dicom", Protocol="TCP", Port=8104, VpcId=account.ids["vpc"], TargetType="ip"
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.0.20", "Port": 8104}])
    to_group = [{"Type": "forward", "TargetGroupArn": group}]
    elb.create_listener(LoadBalancerArn=arn, Protocol="TCP", Port=104, DefaultActions=to_group)
    account.ids["dicom"] = made["DNSName"]
    yield
    elb.delete_load_balancer(LoadBalancerArn=arn)
    elb.delete_target_group(TargetGroupArn=group)


def node_group(**given: Any) -> Change:
    def change(account: EksAccount) -> Iterator[None]:
        account.node_group("old", **given)
        yield
        account.ask("eks").delete_nodegroup(clusterName="prod", nodegroupName="old")

    return change


def balanced(host: str) -> Object:
    return {
        "kind": "Service",
        "metadata": {"name": "dicom", "namespace": "xnat"},
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"hostname": host}]}},
    }


SCALED: Object = {
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web", "namespace": "xnat"},
    "spec": {
        "scaleTargetRef": {"kind": "StatefulSet", "name": "xnat-xnat-web"},
        "maxReplicas": 3,
    },
}

OLD_CONTROLLER: Object = {
    "kind": "Deployment",
    "metadata": {
        "name": "aws-load-balancer-controller",
        "namespace": "kube-system",
        "labels": {"app.kubernetes.io/name": "aws-load-balancer-controller"},
    },
    "spec": {
        "template": {
            "spec": {
                "containers": [{"image": "public.ecr.aws/eks/aws-load-balancer-controller:v2.4.1"}]
            }
        }
    },
}

OLD_NODE: Object = {
    "kind": "Node",
    "metadata": {"name": "forgotten"},
    "spec": {},
    "status": {"nodeInfo": {"kubeletVersion": "v1.30.0-eks-1"}},
}

KIALI = {"kiali": {"exposure": "alb-ingress", "host": "kiali.example.com"}}
KIALI["kiali"]["certificate_arn"] = f"arn:aws:acm:{REGION}:123456789012:certificate/0-1"

CASES = {
    "webhook's port is closed": Case(
        "aws_ports",
        "security-group-closes",
        no_rule_for_the_webhook,
        "aws ec2 authorize-security-group-ingress --group-id {nodes} --protocol tcp --port 15017 "
        "--source-group {control-plane} --region eu-central-1",
        "SecurityGroups[{nodes}].IpPermissions: 0-65535 with {nodes}, 443 with {control-plane}",
        severity=Severity.REFUSES,
    ),
    "control plane may not call out": Case(
        "aws_ports",
        "security-group-closes",
        control_plane_may_not_call,
        "authorize-security-group-egress --group-id {control-plane} --ip-permissions",
        "SecurityGroups[{control-plane}].IpPermissionsEgress: no rule",
        severity=Severity.REFUSES,
    ),
    "prefix list decides": Case(
        "aws_ports", "security-group-closes", by_prefix_list, "--port 15017", "15017 with pl-"
    ),
    "health checks at a closed port": Case(
        "aws_balancers",
        "health-check-port",
        group_changed(HealthCheckPort="8081"),
        "aws elbv2 modify-target-group --target-group-arn {target-group} --health-check-port "
        "traffic-port --region eu-central-1; its controller keeps it only with "
        "alb.ingress.kubernetes.io/healthcheck-port: traffic-port in Ingress xnat/xnat-xnat-web",
        "HealthCheckPort: 8081",
        severity=Severity.REFUSES,
    ),
    "codes without the application's answer": Case(
        "aws_balancers",
        "health-check-codes",
        group_changed(Matcher={"HttpCode": "200"}),
        "--matcher HttpCode=302",
        "Matcher.HttpCode: 200",
    ),
    "codes with a refusal": Case(
        "aws_balancers",
        "health-check-blind",
        group_changed(Matcher={"HttpCode": "200-499"}),
        "--matcher HttpCode=302",
        "Matcher.HttpCode: 200-499",
    ),
    "GET is refused": Case(
        "aws_balancers",
        "health-check-method",
        nothing,
        "let GET through",
        "HealthCheckPath: /",
        given={"authorization": {"methods": ["POST"], "read_methods": ["POST"]}},
        severity=Severity.REFUSES,
    ),
    "short idle time-out": Case(
        "aws_balancers",
        "idle-timeout",
        impatient,
        "modify-load-balancer-attributes --load-balancer-arn {load-balancer-arn} --attributes "
        "Key=idle_timeout.timeout_seconds,Value=3600",
        "Attributes[idle_timeout.timeout_seconds]: 60",
    ),
    "several pods without stickiness": Case(
        "aws_balancers",
        "stickiness",
        nothing,
        "modify-target-group-attributes --target-group-arn {target-group} --attributes "
        "Key=stickiness.enabled,Value=true",
        "Attributes[stickiness.enabled]: false",
        objects=(SCALED,),
    ),
    "nodes as targets": Case(
        "aws_balancers",
        "target-type",
        nodes_as_targets,
        "create-target-group --name by-node-ip --target-type ip",
        "TargetType: instance",
    ),
    "old TLS": Case(
        "aws_balancers",
        "tls-policy",
        old_tls,
        "modify-listener --listener-arn {listener} --ssl-policy "
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
        "SslPolicy: ELBSecurityPolicy-2016-08",
    ),
    "certificate of another name": Case(
        "aws_balancers",
        "certificate-host",
        certificate("example.com", "*.sub.xnat.example.com"),
        f"aws acm request-certificate --domain-name {HOST} --validation-method DNS",
        "SubjectAlternativeNames: example.com, *.sub.xnat.example.com",
    ),
    "certificate that is not issued": Case(
        "aws_balancers",
        "certificate-invalid",
        not_issued,
        f"aws acm request-certificate --domain-name {HOST}",
        "Status: PENDING_VALIDATION, NotAfter: ",
    ),
    "certificate that ends soon": Case(
        "aws_balancers",
        "certificate-ends",
        certificate("*.example.com", days=9),
        "aws acm import-certificate --certificate-arn arn:aws:acm:",
        "Type: IMPORTED",
    ),
    "full subnet": Case(
        "aws_networks",
        "subnet-addresses",
        small_subnet,
        "aws ec2 associate-vpc-cidr-block --vpc-id {vpc}",
        "AvailableIpAddressCount: ",
    ),
    "subnets without tags": Case(
        "aws_networks",
        "subnet-tags",
        nothing,
        "aws ec2 create-tags --resources",
        "Tags[kubernetes.io/role/internal-elb]: none",
        given=KIALI,
    ),
    "Kubernetes newer than Istio knows": Case(
        "aws_versions",
        "kubernetes-version",
        nothing,
        "choose a newer Istio",
        "cluster.version: 1.34",
        given={"istio": {"version": "1.27.3"}},
    ),
    "older node group": Case(
        "aws_versions",
        "node-group-version",
        node_group(version="1.32"),
        "aws eks update-nodegroup-version --cluster-name prod --nodegroup-name old "
        "--kubernetes-version 1.34",
        "nodegroup.version: 1.32",
    ),
    "retired node image": Case(
        "aws_versions",
        "node-image",
        node_group(amiType="AL2_x86_64"),
        "aws eks create-nodegroup --cluster-name prod --nodegroup-name old-al2023",
        "nodegroup.amiType: AL2_x86_64",
    ),
    "kubelet too old": Case(
        "aws_versions",
        "kubelet-version",
        nothing,
        "aws eks update-nodegroup-version --cluster-name prod",
        "Node forgotten .status.nodeInfo.kubeletVersion: v1.30.0-eks-1",
        objects=(OLD_NODE,),
    ),
    "old load balancer controller": Case(
        "aws_versions",
        "controller-version",
        nothing,
        "helm upgrade aws-load-balancer-controller",
        ".spec.template.spec.containers[0].image: public.ecr.aws/",
        objects=(OLD_CONTROLLER,),
    ),
    "load balancer of another account": Case(
        "aws_balancers",
        "load-balancer-elsewhere",
        nothing,
        "aws elbv2 describe-load-balancers --region eu-central-1",
        "Service xnat/dicom .status.loadBalancer.ingress[].hostname: elsewhere.elb",
        objects=(balanced("elsewhere.elb.amazonaws.com"),),
    ),
}


def test_nothing_is_found_in_an_account_in_which_nothing_is_amiss(on_account: Look) -> None:
    assert found(on_account()) == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_amiss_is_found_with_the_field_and_the_command(
    account: EksAccount, on_account: Look, case: Case
) -> None:
    with contextmanager(case.change)(account):
        findings = found(on_account(*case.objects, **case.given), case.area)
        (finding,) = [each for each in findings if each.name == case.name][:1]
        assert {each.name for each in findings} == {case.name}
        assert finding.severity is case.severity
        assert case.command.format(**account.ids) in finding.remedy
        assert case.evidence.format(**account.ids) in "; ".join(finding.evidence)


def test_a_load_balancer_in_one_zone_is_found(account: EksAccount, on_account: Look) -> None:
    with contextmanager(network_load_balancer)(account):
        dicom = balanced(account.ids["dicom"])
        given = {"application": {"plaintext_ports": [8104]}}
        (finding,) = found(on_account(dicom, **given), "aws_balancers", "aws_networks")
        closed = {each.name for each in before_mutual_tls(on_account(dicom))}
    assert closed == {"health-check-port"}
    assert finding.name == "single-zone"
    assert f"--subnets {account.ids['subnet-a']} {account.ids['subnet-b']}" in finding.remedy


def test_a_site_without_a_load_balancer_of_aws_is_said_and_not_taken_for_fine(
    on_account: Look,
) -> None:
    context = on_account()
    for item in context.cluster.list("networking.k8s.io/v1", "Ingress"):
        item["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    (finding,) = found(context, "aws_balancers")
    assert (finding.name, finding.severity) == ("load-balancer-unknown", Severity.NOTE)
    assert f"--region {REGION}" in finding.remedy


def test_nodes_that_do_not_reach_each_other_are_found_for_each_port(
    account: EksAccount, on_account: Look
) -> None:
    with contextmanager(nodes_apart)(account):
        findings = found(on_account(), "aws_ports")
    assert [(each.refuses, "15012" in each.what, "15020" in each.what) for each in findings] == [
        (True, True, False),
        (False, False, True),
    ]


REFUSALS = [
    (before_label, "webhook's port is closed"),
    (before_mutual_tls, "health checks at a closed port"),
    (before_authorization, "GET is refused"),
]


@pytest.mark.parametrize(("before", "name"), REFUSALS, ids=[name for _, name in REFUSALS])
def test_a_step_is_refused_by_what_harms_it_and_by_nothing_else(
    account: EksAccount,
    on_account: Look,
    before: Callable[[Context], Iterator[Finding]],
    name: str,
) -> None:
    case = CASES[name]
    with contextmanager(case.change)(account), contextmanager(impatient)(account):
        findings = list(before(on_account(**case.given)))
    assert {each.name for each in findings} == {case.name}
    assert list(before(on_account())) == []


def test_only_some_closed_nodes_are_a_note(account: EksAccount, on_account: Look) -> None:
    name = account.node("node-c", "a", "load-balancer")
    ways = [
        (group, source, port)
        for group, source in (("load-balancer", "nodes"), ("nodes", "load-balancer"))
        for port in (15012, 15020)
    ]
    for way in ways:
        account.let_in(*way)
    (finding,) = found(on_account(node("node-c", name)), "aws_ports")
    for way in ways:
        account.shut_out(*way)
    assert finding.severity is Severity.NOTE
    assert f"TCP 15017 through from the EKS control plane to nodes {name}" in finding.what


def test_preflight_shows_each_part_of_aws_and_what_could_not_be_read(
    on_account: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = on_account()
    monkeypatch.setattr(everything, "CHECKS", {})
    rows = everything.table(context).rows
    assert [row.cells[0] for row in rows] == [
        "AWS security groups",
        "AWS load balancers",
        "AWS subnets",
        "AWS versions",
    ]
    assert [row.ok for row in rows] == [True] * 4
    vars(context)["aws"] = Account("https://10.0.0.1", REGION, None, None)
    unread = everything.table(context).rows
    assert [row.ok for row in unread] == [None, True, None, None]
    assert "cannot tell: target.aws: the API server 10.0.0.1 is none" in unread[0].cells[1]


def test_what_could_not_be_read_is_said_where_it_might_refuse(on_account: Look) -> None:
    context = on_account()
    vars(context)["aws"] = Account("https://10.0.0.1", REGION, None, None)
    (finding,) = before_label(context)
    assert (finding.name, finding.severity) == ("aws-unread", Severity.NOTE)
    (unforeseen,) = unread([finding])
    assert "target.aws asks for a look, and it could not be read" in unforeseen
    assert unread(found(on_account())) == ()


def test_each_part_of_aws_is_a_field_that_the_diagnosis_judges() -> None:
    names = [area.name for area in AREAS]
    assert set(names) <= set(Observation.__dataclass_fields__)
    needed = {field for rule in registered() for field in rule.needs}
    assert set(names) <= needed


def test_the_diagnosis_looks_at_aws_and_judges_no_part_that_it_could_not_read(
    on_account: Look,
) -> None:
    context = on_account()
    _, told, _ = look_at(context)
    assert [each.found for each in told] == ["as it should be"] * 4
    vars(context)["aws"] = Account("https://10.0.0.1", REGION, None, None)
    seen, told, _ = look_at(context)
    assert [each.what for each in told] == ["AWS load balancers"]
    assert {"aws_ports", "aws_networks", "aws_versions"} == set(seen.unseen)
    assert {rule.name for rule in unjudged(seen)} >= {"security-group-closes", "versions-apart"}


def test_nothing_is_looked_at_unless_the_parameters_ask(
    account: EksAccount, tmp_path: Path
) -> None:
    context = account.context(tmp_path, target={"aws": None})
    assert list(looks(context)) == []
    for before in (before_label, before_mutual_tls, before_authorization):
        assert list(before(context)) == []


@pytest.mark.usefixtures("account")
def test_another_cluster_than_the_one_at_hand_is_refused() -> None:
    with pytest.raises(ParameterError, match="is none of the EKS clusters"):
        Account(f"https://other.gr7.{REGION}.eks.amazonaws.com", None, None, "prod").cluster()


@pytest.mark.usefixtures("account")
def test_a_cluster_behind_another_address_is_taken_by_its_name() -> None:
    assert Account("https://10.0.0.1", REGION, None, "prod").cluster()["name"] == "prod"


def test_moto_lacks_the_security_group_that_eks_makes(account: EksAccount) -> None:
    """`test_judging` has it; here the control plane has the given group alone."""
    config = account.ask("eks").describe_cluster(name="prod")["cluster"]["resourcesVpcConfig"]
    assert "clusterSecurityGroupId" not in config


def test_moto_lacks_unhealthy_targets(account: EksAccount) -> None:
    """No one asks them: all are healthy. `test_judging` has some that are not."""
    account.target_group(Matcher={"HttpCode": "200"})
    arn = account.ids["target-group"]
    states = account.ask("elbv2").describe_target_health(TargetGroupArn=arn)
    account.target_group(Matcher={"HttpCode": "302"})
    assert {each["TargetHealth"]["State"] for each in states["TargetHealthDescriptions"]} == {
        "healthy"
    }


def test_moto_lacks_the_health_of_node_groups(account: EksAccount) -> None:
    """`test_judging` has one whose instances could not be started."""
    eks = account.ask("eks")
    group = eks.describe_nodegroup(clusterName="prod", nodegroupName="main")["nodegroup"]
    assert group["health"] == {"issues": []}


def test_moto_lacks_the_attributes_that_a_load_balancer_has_from_the_first(
    account: EksAccount,
) -> None:
    """AWS lists an idle time-out of 60 s; where it is missing, it is read as that."""
    elb = account.ask("elbv2")
    made = elb.create_load_balancer(Name="new", Subnets=account.subnets)["LoadBalancers"][0]
    arn = made["LoadBalancerArn"]
    found = elb.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    elb.delete_load_balancer(LoadBalancerArn=arn)
    assert "idle_timeout.timeout_seconds" not in {each["Key"] for each in found}


STEPS = {
    "webhook's port is closed": ("02_label_namespace", "injection-label"),
    "health checks at a closed port": ("04_mutual_tls", "mutual-tls-strict"),
    "GET is refused": ("05_authorization", "authorization-methods"),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_step_that_is_harmed_is_the_one_that_is_refused(
    account: EksAccount, on_account: Look, name: str
) -> None:
    case, (chapter, step) = CASES[name], STEPS[name]
    with contextmanager(case.change)(account):
        context = on_account(**case.given)
        (harmed,) = [s for s in chapters.of(chapter, context.parameters) if s.name == step]
        refusing = [each.name for each in harmed.obstacles(context) if each.refuses]
    assert case.name in refusing
