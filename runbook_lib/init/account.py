"""Which AWS account a cluster is in: what its kubeconfig says of that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from runbook_lib.cluster import KubeContext
from runbook_lib.init.lines import Line
from runbook_lib.tools.aws import region_of

_ARN = re.compile(
    r"arn:aws[a-z-]*:eks:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):cluster/(?P<name>.+)"
)
"""What `aws eks update-kubeconfig` calls a cluster."""

_OPTIONS = {
    "--cluster-name": "cluster",
    "--cluster-id": "cluster",
    "-i": "cluster",
    "--region": "region",
    "--profile": "profile",
}
"""Of `aws eks get-token`, and of aws-iam-authenticator."""

_VARIABLES = {"AWS_PROFILE": "profile", "AWS_REGION": "region", "AWS_DEFAULT_REGION": "region"}


def lines(context: KubeContext) -> Iterator[Line]:
    """Yield what is known of the account; nothing where nothing speaks of EKS.

    Args:
        context: The context of the kubeconfig, with its cluster and user.
    """
    known: dict[str, tuple[str, str]] = {}
    if (region := region_of(context.server)) is not None:
        known["region"] = (region, "the API server's address")
    account = ""
    if arn := _ARN.fullmatch(context.cluster):
        said = "the ARN by which the kubeconfig names the cluster"
        known = {"region": (arn["region"], said), "cluster": (arn["name"], said), **known}
        account = f" of account {arn['account']}"
    plugin = context.user.get("exec") or {}
    if re.fullmatch(r"(.*/)?(aws|aws-iam-authenticator)", str(plugin.get("command") or "")):
        for key, value in _of_plugin(plugin):
            known.setdefault(key, (value, "the kubeconfig's credential plugin"))
    if not known:
        return
    reasons = "; ".join(f"{key}: {why}" for key, (_, why) in sorted(known.items()))
    yield Line(
        ("target", "aws"),
        {key: known[key][0] for key in ("region", "profile", "cluster") if key in known},
        f"a read-only look at AWS{account}, by what is known ({reasons}); what is left out is the "
        "environment's. It takes pip install 'istio-runbook[aws]' and the rights in docs/aws.md; "
        "null leaves AWS alone",
    )


def _of_plugin(plugin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    words = [str(word) for each in plugin.get("args") or [] for word in str(each).split("=", 1)]
    for option, value in pairwise(words):
        if option in _OPTIONS:
            yield _OPTIONS[option], value
    for each in plugin.get("env") or []:
        if each.get("name") in _VARIABLES and each.get("value"):
            yield _VARIABLES[each["name"]], str(each["value"])
