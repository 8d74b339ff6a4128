"""Versions of EKS, of node images and of the load balancer controller, against Istio's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from runbook_lib.chapters.shared.preflight.upgrades import SUPPORTED
from runbook_lib.cluster import Object, labels_of, pods, reference
from runbook_lib.lifecycle import Finding, Severity
from runbook_lib.tools.aws import Command, Item

_SUPPORTED = "https://istio.io/latest/docs/releases/supported-releases/"
_SKEW = "https://kubernetes.io/releases/version-skew-policy/#kubelet"

KUBELET_SKEW = 3
"""Minor versions that a kubelet may be behind its API server."""

_RETIRED = "AL2_"
"""AMI types of Amazon Linux 2: EKS has published none since 26 November 2025."""

NEEDED = (2, 6)
"""From 2.6 on the controller gives network load balancers security groups, which alone can keep out
who is not in the source ranges."""

_CONTROLLER = {"app.kubernetes.io/name": "aws-load-balancer-controller"}
_IMAGE = re.compile(r".*/aws-load-balancer-controller:v(\d+)\.(\d+)\.\d+.*")


def judge(
    command: Command,
    cluster: Item,
    istio: str | None,
    node_groups: Sequence[Item],
    nodes: Sequence[Object],
) -> Iterator[Finding]:
    """Find versions that do not go together.

    Args:
        command: Writes a command of the AWS CLI.
        cluster: The EKS cluster.
        istio: Istio's version; None if it is not known.
        node_groups: The managed node groups.
        nodes: The cluster's nodes.
    """
    minor = _minor(cluster["version"])
    yield from _kubernetes(command, cluster, minor, istio)
    for group in node_groups:
        yield from _node_group(command, cluster, minor, group)
    old = [
        node for node in nodes if minor - _minor(_kubelet(node)) > KUBELET_SKEW and _kubelet(node)
    ]
    if old:
        yield Finding(
            f"EKS cluster {cluster['name']}",
            f"{len(old)} nodes have kubelets more than {KUBELET_SKEW} minor versions older",
            "Kubernetes supports no such nodes; sidecars on them may not start",
            command(*_update_nodes(cluster, "GROUP")),
            tuple(reference(n, f".status.nodeInfo.kubeletVersion: {_kubelet(n)}") for n in old[:3]),
            severity=Severity.NOTE,
            link=_SKEW,
            name="kubelet-version",
        )


def _kubernetes(
    command: Command, cluster: Item, minor: int, istio: str | None
) -> Iterator[Finding]:
    release = pods.minor_of(istio or "")
    if release not in SUPPORTED:
        return  # not judged: nothing is known about that Istio
    oldest, newest = SUPPORTED[release]
    if oldest <= minor <= newest:
        return
    upgrade = command(
        *("eks", "update-cluster-version", "--name", cluster["name"]),
        *("--kubernetes-version", f"1.{minor + 1}"),
    )
    yield Finding(
        f"EKS cluster {cluster['name']}",
        f"Kubernetes {cluster['version']}, and Istio {istio} is supported on 1.{oldest} to "
        f"1.{newest}",
        "no one has tried the two together: istiod may lack a kind or a field that it needs",
        f"one minor at a time: {upgrade}" if minor < oldest else "choose a newer Istio",
        (f"cluster.version: {cluster['version']}",),
        parameter="istio.version",
        severity=Severity.NOTE,
        link=_SUPPORTED,
        name="kubernetes-version",
    )


def _node_group(command: Command, cluster: Item, minor: int, group: Item) -> Iterator[Finding]:
    where = f"node group {group['nodegroupName']}"
    # One with a launch template of its own may have no version: its nodes tell theirs.
    version = group.get("version")
    if version and _minor(version) < minor:
        yield Finding(
            where,
            f"it is of Kubernetes {version}, and the cluster of {cluster['version']}",
            "new nodes come up with the older kubelet, and below 1.33 without native sidecars",
            command(*_update_nodes(cluster, group["nodegroupName"])),
            (f"nodegroup.version: {version}, releaseVersion: {group.get('releaseVersion')}",),
            severity=Severity.NOTE,
            link="https://docs.aws.amazon.com/eks/latest/userguide/update-managed-node-group.html",
            name="node-group-version",
        )
    if str(group.get("amiType", "")).startswith(_RETIRED):
        yield Finding(
            where,
            "its nodes run Amazon Linux 2",
            "EKS publishes no images of it any more: no newer Kubernetes, and no mended kernel",
            "make one of Amazon Linux 2023 and move there: "
            + command(
                *("eks", "create-nodegroup", "--cluster-name", cluster["name"]),
                *("--nodegroup-name", f"{group['nodegroupName']}-al2023"),
                *("--ami-type", "AL2023_x86_64_STANDARD", "--node-role", group["nodeRole"]),
                *("--subnets", *group["subnets"]),
            ),
            (f"nodegroup.amiType: {group['amiType']}",),
            severity=Severity.NOTE,
            link="https://docs.aws.amazon.com/eks/latest/userguide/eks-ami-deprecation-faqs.html",
            name="node-image",
        )
    for issue in (group.get("health") or {}).get("issues") or []:
        yield Finding(
            where,
            f"EKS reports: {issue.get('message')}",
            "nodes are not replaced, and none is added when sidecars need room",
            command(
                *("eks", "describe-nodegroup", "--cluster-name", cluster["name"]),
                *("--nodegroup-name", group["nodegroupName"]),
            ),
            (f"nodegroup.health.issues: {issue.get('code')}",),
            severity=Severity.NOTE,
            link="https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html",
            name="node-group-health",
        )


def controller(command: Command, cluster: Item, deployments: Sequence[Object]) -> Iterator[Finding]:
    """Find a load balancer controller that is older than the runbook's load balancers need.

    Args:
        command: Writes a command of the AWS CLI.
        cluster: The EKS cluster.
        deployments: Deployments of all namespaces.
    """
    for item in deployments:
        if not _CONTROLLER.items() <= labels_of(item).items():
            continue
        for number, container in enumerate(item["spec"]["template"]["spec"]["containers"]):
            found = _IMAGE.fullmatch(container["image"])
            if found is None or (int(found[1]), int(found[2])) >= NEEDED:
                continue
            yield Finding(
                reference(item),
                f"version {found[1]}.{found[2]} of the load balancer controller",
                "it makes network load balancers without security groups, so source ranges have "
                "to be kept by every node",
                "upgrade it, with the IAM policy of the new version: helm upgrade "
                "aws-load-balancer-controller aws-load-balancer-controller --namespace "
                f"{item['metadata']['namespace']} --repo https://aws.github.io/eks-charts "
                "--reuse-values; what EKS runs itself instead: "
                + command("eks", "describe-cluster", "--name", cluster["name"]),
                (f".spec.template.spec.containers[{number}].image: {container['image']}",),
                severity=Severity.NOTE,
                link="https://github.com/kubernetes-sigs/aws-load-balancer-controller/releases",
                name="controller-version",
            )


def _update_nodes(cluster: Item, group: str) -> tuple[str, ...]:
    of = ("--cluster-name", cluster["name"], "--nodegroup-name", group)
    return ("eks", "update-nodegroup-version", *of, "--kubernetes-version", cluster["version"])


def _kubelet(node: Object) -> str:
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", ""))


def _minor(version: str) -> int:
    """Return the minor of a version such as `1.34` or `v1.33.4-eks-1234`; 0 if it is none."""
    return (pods.minor_of(version) or (0, 0))[1]
