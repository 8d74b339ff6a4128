"""Service accounts: tokens for them, and what they may do."""

from __future__ import annotations

from typing import Any, NamedTuple

from runbook_lib.base import register
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.connection import REQUEST_TIMEOUT, api_errors
from runbook_lib.cluster.names import AUTHENTICATION
from runbook_lib.cluster.objects import Object, ref

SHORTEST = 10
"""Minutes: the API server issues no token for less."""


def token(cluster: Cluster, namespace: str, account: str, minutes: int = SHORTEST) -> str:
    """Return a new token of a service account, as `kubectl create token` does.

    It is masked from now on in everything that this process shows or records.

    Args:
        cluster: Where.
        namespace: The account's namespace.
        account: Its name.
        minutes: How long the token lives; the API server may cut it short.

    Raises:
        ClusterRefused: There is no such account (status 404), or asking is forbidden (403).
    """
    answer = _create(
        cluster,
        f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
        {
            "apiVersion": AUTHENTICATION,
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": minutes * 60},
        },
        f"ask for a token of {ref('ServiceAccount', account, namespace)}",
    )
    issued = str(answer["status"]["token"])
    register(issued)
    return issued


class Access(NamedTuple):
    """One thing to do, as the API server decides about it.

    Attributes:
        verb: Such as `get`.
        resource: In the plural, with a subresource as in `pods/log`.
        group: Its API group; empty for the core.
        namespace: Where; empty for all namespaces, and for what is in none.
        name: The object; empty for all.
    """

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def kind(self) -> str:
        """The resource as kubectl takes it, such as `deployments.apps`."""
        resource, _, sub = self.resource.partition("/")
        return ".".join(filter(None, (resource, self.group))) + (f"/{sub}" if sub else "")

    @property
    def command(self) -> str:
        """How kubectl asks for it."""
        resource, _, sub = self.resource.partition("/")
        kind = ".".join(filter(None, (resource, self.group)))
        words = ["kubectl auth can-i", self.verb, "/".join(filter(None, (kind, self.name)))]
        words += [f"--subresource={sub}"] if sub else []
        words += [f"--namespace={self.namespace}"] if self.namespace else ["--all-namespaces"]
        return " ".join(words)


def may_i(cluster: Cluster, asked: Access) -> bool:
    """Whether this account may do something, as `kubectl auth can-i` answers.

    Raises:
        ClusterRefused: The API server does not say.
    """
    resource, _, sub = asked.resource.partition("/")
    attributes = {**asked._asdict(), "resource": resource, "subresource": sub}
    answer = _create(
        cluster,
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
        f"ask for the right to {asked.verb} {asked.kind}",
    )
    return bool(answer["status"].get("allowed"))


def who_am_i(cluster: Cluster) -> str:
    """Return who this account is to the API server, as `kubectl auth whoami` says.

    Raises:
        ClusterRefused: It does not say; it does since Kubernetes 1.28.
    """
    answer = _create(
        cluster,
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {"apiVersion": AUTHENTICATION, "kind": "SelfSubjectReview"},
        "ask who this account is",
    )
    return str(answer["status"]["userInfo"]["username"])


def may(
    cluster: Cluster,
    namespace: str,
    account: str,
    verb: str,
    resource: str,
    where: str,
    group: str = "",
) -> bool:
    """Whether a service account may do something, as `kubectl auth can-i --as` answers.

    Args:
        cluster: Where.
        namespace: The account's namespace.
        account: Its name.
        verb: Such as `get`.
        resource: Such as `pods`.
        where: The namespace in which it would be done.
        group: The resource's API group.
    """
    answer = _create(
        cluster,
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{account}",
                # The API server takes these from a token; here they have to be named.
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{namespace}",
                    "system:authenticated",
                ],
                "resourceAttributes": {
                    "verb": verb,
                    "resource": resource,
                    "group": group,
                    "namespace": where,
                },
            },
        },
        f"ask whether {account} may {verb} {resource}",
    )
    return bool(answer["status"].get("allowed"))


def review(cluster: Cluster, given: str) -> tuple[str, str]:
    """Ask the API server about a token, as Kiali does when somebody logs in with it.

    The token is masked from now on in everything that this process shows or records.

    Returns:
        Whose it is, and why it is not accepted; one of them is empty.
    """
    register(given)
    answer = _create(
        cluster,
        "/apis/authentication.k8s.io/v1/tokenreviews",
        {
            "apiVersion": AUTHENTICATION,
            "kind": "TokenReview",
            "spec": {"token": given},
        },
        "ask about a token",
    )
    status = answer.get("status") or {}
    if status.get("authenticated"):
        return str((status.get("user") or {}).get("username", "")), ""
    return "", str(status.get("error") or "the API server does not know it")


def _create(cluster: Cluster, path: str, body: Object, doing: str) -> Object:
    """Send what is answered and not stored."""
    with api_errors(cluster.kubeconfig, cluster.context, doing):
        answer: Any = cluster.dynamic.request(
            "post",
            path,
            body=body,
            serializer=lambda _client, data: data,
            _request_timeout=REQUEST_TIMEOUT,
        )
    return dict(answer)
