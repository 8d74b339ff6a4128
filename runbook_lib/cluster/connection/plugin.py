"""Credential plugins: programs such as `aws eks get-token` that log a user in.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runbook_lib.base import ClusterUnreachable, CommandError, register, run
from runbook_lib.base.errors import tail
from runbook_lib.cluster.connection.kubeconfig import KubeContext

LIMIT = 60.0
"""Seconds for one call: kubectl sets none, and a plugin may wait for a browser that never comes."""

_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")

_MARGIN = timedelta(seconds=30)
"""A credential is renewed so long before it expires."""

_CLUSTER = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
"""What a plugin is told of the cluster besides its certificate authority, where it asks for it."""

_EXTENSION = "client.authentication.k8s.io/exec"


@dataclass(frozen=True)
class Credential:
    """What a plugin answered.

    Attributes:
        token: A bearer token; empty if there is none.
        certificate: A client certificate in PEM; empty if there is none.
        key: Its private key in PEM.
        expires: When it has to be asked for again; None means never.
    """

    token: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)
    expires: datetime | None

    @property
    def expired(self) -> bool:
        """Whether a new one has to be asked for."""
        return self.expires is not None and datetime.now(UTC) >= self.expires - _MARGIN


def ask(context: KubeContext) -> Credential:
    """Call the plugin of a context's user.

    Raises:
        ClusterUnreachable: It is not there, fails, takes too long, needs a terminal, or answers
            something else than a credential. Its own words are in the error.
    """
    plugin: Mapping[str, Any] = context.user["exec"]
    version = plugin.get("apiVersion")
    if version not in _VERSIONS or not plugin.get("command"):
        raise ClusterUnreachable(
            f"the user of context {context.name!r} logs in by a plugin without a command, or of "
            f"the apiVersion {version!r}; kubectl takes {' and '.join(_VERSIONS)}",
            "write the entry anew; for EKS: aws eks update-kubeconfig --name CLUSTER",
        )
    argv = [plugin["command"], *(plugin.get("args") or [])]
    line = shlex.join(argv)
    if plugin.get("interactiveMode") == "Always":
        raise ClusterUnreachable(
            f"context {context.name!r} logs in by `{line}`, which needs a terminal "
            "(interactiveMode: Always), and notebooks have none",
            "choose a context with another way to log in",
        )
    environment = {item["name"]: item["value"] for item in plugin.get("env") or []}
    request = _request(context, plugin)
    try:
        done = run(
            argv,
            timeout=LIMIT,
            env={**environment, "KUBERNETES_EXEC_INFO": json.dumps(request)},
            check=False,
        )
    except CommandError as error:
        words = f": {error.stderr}" if error.stderr else ""
        if error.returncode is None:
            why = f"did not answer within {LIMIT:g} s{words}"
            remedy = f"call it in a terminal, and answer what it asks for: {line}"
        else:
            why = str(error.cause)
            remedy = str(plugin.get("installHint") or f"install {argv[0]}").strip()
        raise _failed(context, line, why, remedy) from None
    if done.returncode:
        # Not its output: half a credential may be there.
        words = tail(done.stderr.strip()) or "it says nothing"
        why = f"ended with exit code {done.returncode}: {words}"
        raise _failed(context, line, why, _log_in(argv, environment, line))
    return _credential(context, line, str(version), done.stdout)


def _request(context: KubeContext, plugin: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        settings = context.settings
        cluster = {key: settings[key] for key in _CLUSTER if key in settings}
        data = settings.get("certificate-authority-data")
        if not data and settings.get("certificate-authority"):
            data = base64.b64encode(Path(settings["certificate-authority"]).read_bytes()).decode()
        if data:
            cluster["certificate-authority-data"] = data
        for extension in settings.get("extensions") or []:
            if extension["name"] == _EXTENSION:
                cluster["config"] = extension["extension"]
        spec["cluster"] = cluster
    return {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}


def _credential(context: KubeContext, line: str, version: str, answer: str) -> Credential:
    try:
        data = json.loads(answer)
        status = data["status"]
        expires = status.get("expirationTimestamp")
        credential = Credential(
            status.get("token") or "",
            status.get("clientCertificateData") or "",
            status.get("clientKeyData") or "",
            datetime.fromisoformat(expires) if expires else None,
        )
        complete = credential.token or (credential.certificate and credential.key)
        if data["apiVersion"] != version or not complete:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        why = f"answered something else than a credential of {version}"
        remedy = f"call it in a terminal, and look at what it writes: {line}"
        raise _failed(context, line, why, remedy) from None
    for secret in (credential.token, credential.key):
        if secret:
            register(secret)
    return credential


def _log_in(argv: list[str], environment: Mapping[str, str], line: str) -> str:
    if Path(argv[0]).name not in ("aws", "aws-iam-authenticator"):
        return f"call it in a terminal to see more: {line}"
    profile = environment.get("AWS_PROFILE") or os.environ.get("AWS_PROFILE")
    if "--profile" in argv[:-1]:
        profile = argv[argv.index("--profile") + 1]
    option = f" --profile {shlex.quote(profile)}" if profile else ""
    return f"log in again, and check it: aws sso login{option}; aws sts get-caller-identity{option}"


def _failed(context: KubeContext, line: str, why: str, remedy: str) -> ClusterUnreachable:
    cause = f"context {context.name!r} logs in by `{line}`, which {why}"
    return ClusterUnreachable(cause, remedy)
