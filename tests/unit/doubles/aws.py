"""An AWS account shaped like one with EKS, in moto: a stand-in, asked by boto3's real client.

No test asks AWS itself: credentials are made up, and the endpoint is moto's server on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import boto3
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.server import ThreadedMotoServer

from runbook_lib.base.journal import Journal
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.target import Target
from runbook_lib.parameters.capabilities import CAPABILITIES
from tests.unit.doubles.given_cluster import WEB, GivenCluster, pod, web_workload
from tests.unit.samples import CLUSTER, LAB_PROBES, from_mapping

REGION = "eu-central-1"
HOST = "xnat.example.com"
ISTIO = "1.31.1"
MODERN = "ELBSecurityPolicy-TLS13-1-2-2021-06"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}
"""Credentials that no one has: what a test forgets to point at moto fails."""


@contextmanager
def server() -> Iterator[str]:
    """The URL of moto's server."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        moto.stop()


@cache
def _client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@dataclass
class EksAccount:
    """An account in which nothing is amiss: tests change one thing."""

    url: str
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        httpx.post(f"{self.url}/moto-api/reset")
        self._networks()
        self._cluster()
        self._load_balancer()

    def ask(self, service: str) -> Any:
        """A client of boto3's for moto."""
        return _client(service, self.url)

    @property
    def endpoint(self) -> str:
        """The API server's URL."""
        return str(self.ask("eks").describe_cluster(name="prod")["cluster"]["endpoint"])

    def target_group(self, **given: Any) -> None:
        """Change the target group."""
        arn = self.ids["target-group"]
        self.ask("elbv2").modify_target_group(TargetGroupArn=arn, **given)

    def certified(self, *names: str, days: int = 300) -> str:
        """Import a certificate, and return its ARN."""
        key, certificate = _self_signed(*names, days=days)
        made = self.ask("acm").import_certificate(Certificate=certificate, PrivateKey=key)
        return str(made["CertificateArn"])

    def listener(self, **given: Any) -> None:
        """Change the listener."""
        self.ask("elbv2").modify_listener(ListenerArn=self.ids["listener"], **given)

    def context(self, folder: Path, *more: Object, **given: Any) -> Context:
        """A cluster on this account, and parameters that ask for it."""
        target = {"kind": "cluster", "context": "prod", "aws": {}, **given.pop("target", {})}
        application = {
            **CLUSTER["application"],
            "probes": [*CLUSTER["application"]["probes"][1:], {**LAB_PROBES[0], "status": 302}],
            **given.pop("application", {}),
        }
        data = {"istio": {"version": ISTIO}, **given, "target": target, "application": application}
        parameters = from_mapping(data)
        on = Target(
            name="prod",
            kubeconfig=Path("/nowhere/kubeconfig"),
            context="prod",
            server=self.endpoint,
            uid="uid-1",
            url=f"https://{HOST}",
            production=True,
            allows=CAPABILITIES["cluster"],
        )
        cluster = cast(Cluster, GivenCluster(*self.objects(), *more))
        return Context(parameters, on, cluster, Journal(folder / "evidence.jsonl", run="r"))

    def objects(self) -> list[Object]:
        """What the cluster has of it: nodes, the web pod, its Ingress and its Service."""
        web = web_workload()
        web["spec"]["replicas"] = 1
        one = pod()
        one["status"]["podIPs"] = [{"ip": "10.0.0.20"}]
        named = {"name": "xnat-xnat-web", "namespace": "xnat"}
        host = self.ids["host"]
        balanced = {"loadBalancer": {"ingress": [{"hostname": host}]}}
        ports = [{"port": 80, "targetPort": 8080, "nodePort": 30080}]
        return [
            *(node(name, self.ids[name]) for name in ("node-a", "node-b")),
            web,
            one,
            {"kind": "Service", "metadata": named, "spec": {"selector": WEB, "ports": ports}},
            {"kind": "Ingress", "metadata": named, "spec": {}, "status": balanced},
        ]

    def _networks(self) -> None:
        ec2 = self.ask("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.ids["vpc"] = vpc
        for number, zone in enumerate("ab"):
            made = ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )
            self.ids[f"subnet-{zone}"] = made["Subnet"]["SubnetId"]
        for name in ("control-plane", "nodes", "load-balancer"):
            made = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)
            self.ids[name] = made["GroupId"]
        self.let_in("nodes", "control-plane", 15017)
        self.let_in("nodes", "nodes", 0, 65535)

    def let_in(self, group: str, source: str, first: int, last: int | None = None) -> None:
        """Add a rule to a security group."""
        self.ask("ec2").authorize_security_group_ingress(
            GroupId=self.ids[group], IpPermissions=[self.rule(source, first, last)]
        )

    def shut_out(self, group: str, source: str, first: int, last: int | None = None) -> None:
        """Take a rule of a security group away."""
        self.ask("ec2").revoke_security_group_ingress(
            GroupId=self.ids[group], IpPermissions=[self.rule(source, first, last)]
        )

    def rule(self, source: str, first: int, last: int | None = None) -> dict[str, Any]:
        """A rule for TCP ports from one security group."""
        return {
            "IpProtocol": "tcp",
            "FromPort": first,
            "ToPort": first if last is None else last,
            "UserIdGroupPairs": [{"GroupId": self.ids[source]}],
        }

    @property
    def subnets(self) -> list[str]:
        """The two subnets."""
        return [self.ids["subnet-a"], self.ids["subnet-b"]]

    def _cluster(self) -> None:
        role = "arn:aws:iam::123456789012:role/prod"
        self.ask("eks").create_cluster(
            name="prod",
            version="1.34",
            roleArn=role,
            resourcesVpcConfig={
                "subnetIds": self.subnets,
                "securityGroupIds": [self.ids["control-plane"]],
            },
        )
        self.node_group("main")
        for zone in "ab":
            self.node(f"node-{zone}", zone, "nodes")

    def node(self, name: str, zone: str, group: str) -> str:
        """Start an instance with a security group, and return its id."""
        made = self.ask("ec2").run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            SubnetId=self.ids[f"subnet-{zone}"],
            SecurityGroupIds=[self.ids[group]],
        )
        self.ids[name] = made["Instances"][0]["InstanceId"]
        return self.ids[name]

    def node_group(self, name: str, **given: Any) -> None:
        """Add a managed node group."""
        usual = {"version": "1.34", "amiType": "AL2023_x86_64_STANDARD"}
        self.ask("eks").create_nodegroup(
            clusterName="prod",
            nodegroupName=name,
            subnets=self.subnets,
            nodeRole="arn:aws:iam::123456789012:role/nodes",
            **{**usual, **given},
        )

    def _load_balancer(self) -> None:
        elb = self.ask("elbv2")
        made = elb.create_load_balancer(
            Name="k8s-xnat",
            Subnets=self.subnets,
            SecurityGroups=[self.ids["load-balancer"]],
            Tags=[{"Key": "elbv2.k8s.aws/cluster", "Value": "prod"}],
        )["LoadBalancers"][0]
        self.ids |= {"load-balancer-arn": made["LoadBalancerArn"], "host": made["DNSName"]}
        self.idle(600)
        group = elb.create_target_group(
            Name="k8s-xnat-web",
            Protocol="HTTP",
            Port=8080,
            VpcId=self.ids["vpc"],
            TargetType="ip",
            HealthCheckPath="/",
            Matcher={"HttpCode": "302"},
        )["TargetGroups"][0]["TargetGroupArn"]
        self.ids["target-group"] = group
        elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.0.20", "Port": 8080}])
        self.ids["certificate"] = self.certified(HOST)
        self.ids["listener"] = elb.create_listener(
            LoadBalancerArn=self.ids["load-balancer-arn"],
            Protocol="HTTPS",
            Port=443,
            Certificates=[{"CertificateArn": self.ids["certificate"]}],
            SslPolicy=MODERN,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )["Listeners"][0]["ListenerArn"]

    def idle(self, seconds: int) -> None:
        """Set the load balancer's idle time-out."""
        self.ask("elbv2").modify_load_balancer_attributes(
            LoadBalancerArn=self.ids["load-balancer-arn"],
            Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": str(seconds)}],
        )


def node(name: str, instance: str) -> Object:
    """A node on an instance."""
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"providerID": f"aws:///{REGION}a/{instance}"},
        "status": {"nodeInfo": {"kubeletVersion": "v1.34.2-eks-1234"}},
    }


@cache
def _self_signed(*names: str, days: int) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(pem)
