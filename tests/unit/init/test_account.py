"""What a kubeconfig says of the AWS account is written, with where it says so."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import KubeContext
from runbook_lib.init import account

SERVER = "https://0A1B2C.gr7.eu-central-1.eks.amazonaws.com"
ARN = "arn:aws:eks:eu-central-1:111122223333:cluster/research"


def context(
    server: str = "https://10.0.0.1", cluster: str = "research", **user: Any
) -> KubeContext:
    return KubeContext("prod", cluster, server, {}, user)


def plugin(command: str, *args: str, **env: str) -> dict[str, Any]:
    variables = [{"name": name, "value": value} for name, value in env.items()]
    return {"exec": {"command": command, "args": list(args), "env": variables}}


@pytest.mark.parametrize(
    ("given", "value", "said"),
    [
        (context(SERVER), {"region": "eu-central-1"}, "region: the API server's address"),
        (
            context(SERVER, ARN),
            {"region": "eu-central-1", "cluster": "research"},
            "of account 111122223333",
        ),
        (
            context(
                SERVER,
                **plugin(
                    "aws",
                    *("--region", "eu-central-1", "eks", "get-token", "--cluster-name", "research"),
                    AWS_PROFILE="science",
                ),
            ),
            {"region": "eu-central-1", "profile": "science", "cluster": "research"},
            "profile: the kubeconfig's credential plugin",
        ),
        (
            context(**plugin("/opt/bin/aws", "eks", "get-token", "--cluster-name=research")),
            {"cluster": "research"},
            "what is left out is the environment's",
        ),
        (
            context(**plugin("aws-iam-authenticator", "token", "-i", "research")),
            {"cluster": "research"},
            "credential plugin",
        ),
    ],
)
def test_only_what_is_known_is_written_with_its_reason(
    given: KubeContext, value: dict[str, str], said: str
) -> None:
    (line,) = account.lines(given)
    assert line.keys == ("target", "aws")
    assert line.value == value
    assert said in line.reason


@pytest.mark.parametrize(
    "given",
    [context(), context("https://eks.amazonaws.com.example.org"), context(**plugin("gke-auth"))],
)
def test_of_other_clusters_nothing_is_written(given: KubeContext) -> None:
    assert list(account.lines(given)) == []
