"""What is asked of AWS, and nothing else: each call with the IAM action that allows it."""

from __future__ import annotations

from enum import Enum
from typing import Any

Item = dict[str, Any]
"""Something in an account, as the AWS API describes it."""

_PREFIXES = {"elbv2": "elasticloadbalancing"}
"""Services whose IAM actions have another prefix than the client's name."""


class Call(Enum):
    """A read-only call: the service, the operation, and the key of what is asked for."""

    CLUSTERS = ("eks", "ListClusters", "clusters")
    CLUSTER = ("eks", "DescribeCluster", "cluster")
    NODE_GROUPS = ("eks", "ListNodegroups", "nodegroups")
    NODE_GROUP = ("eks", "DescribeNodegroup", "nodegroup")
    INSTANCES = ("ec2", "DescribeInstances", "Reservations")
    SECURITY_GROUPS = ("ec2", "DescribeSecurityGroups", "SecurityGroups")
    SUBNETS = ("ec2", "DescribeSubnets", "Subnets")
    LOAD_BALANCERS = ("elbv2", "DescribeLoadBalancers", "LoadBalancers")
    ATTRIBUTES = ("elbv2", "DescribeLoadBalancerAttributes", "Attributes")
    LISTENERS = ("elbv2", "DescribeListeners", "Listeners")
    LISTENER_CERTIFICATES = ("elbv2", "DescribeListenerCertificates", "Certificates")
    TLS_POLICIES = ("elbv2", "DescribeSSLPolicies", "SslPolicies")
    TARGET_GROUPS = ("elbv2", "DescribeTargetGroups", "TargetGroups")
    TARGET_GROUP_ATTRIBUTES = ("elbv2", "DescribeTargetGroupAttributes", "Attributes")
    TARGET_HEALTH = ("elbv2", "DescribeTargetHealth", "TargetHealthDescriptions")
    TAGS = ("elbv2", "DescribeTags", "TagDescriptions")
    CERTIFICATE = ("acm", "DescribeCertificate", "Certificate")

    def __init__(self, service: str, operation: str, key: str) -> None:
        self.service = service
        self.operation = operation
        self.key = key

    @property
    def action(self) -> str:
        """The IAM action, such as `elasticloadbalancing:DescribeTags`."""
        return f"{_PREFIXES.get(self.service, self.service)}:{self.operation}"
