"""istioctl, command for command; names and options are those of the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from runbook_lib.base import CommandError, Completed, run
from runbook_lib.cluster import Kubeconfig
from runbook_lib.tools import answers

_TIMEOUT = 60.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""Some tables are coloured whatever the terminal."""


@dataclass(frozen=True)
class Versions:
    """Who runs which Istio.

    Attributes:
        client: istioctl's own version.
        control_plane: istiod's version, or versions if replicas differ; None if there is none.
    """

    client: str
    control_plane: str | None


@dataclass(frozen=True)
class ConnectedProxy:
    """A sidecar or gateway that an istiod sends its configuration to.

    Attributes:
        pod: The proxy, `pod.namespace`.
        version: Its own version of Istio.
        istiod: The pod of its istiod.
    """

    pod: str
    version: str
    istiod: str


@dataclass(frozen=True)
class Message:
    """A finding of `analyze` or `precheck`.

    Attributes:
        code: Such as `IST0102`; see https://istio.io/latest/docs/reference/config/analysis/.
        level: `Info`, `Warning` or `Error`.
        origin: What it is about, such as `Namespace xnat`.
        text: The finding.
    """

    code: str
    level: str
    origin: str
    text: str


class Istioctl:
    """istioctl on one cluster. Every method raises `CommandError` when istioctl fails."""

    def __init__(
        self,
        istioctl: Path,
        *,
        kubeconfig: Kubeconfig,
        context: str,
        istio_namespace: str,
    ) -> None:
        """Nothing is run yet.

        Args:
            istioctl: The program.
            kubeconfig: Passed to every command, with `context`.
            context: The context in it.
            istio_namespace: Where istiod is.
        """
        self._program = kubeconfig.calling(istioctl)
        self._kubeconfig, self._context = kubeconfig, context
        self._timeout = _TIMEOUT
        self._options = (
            "--context",
            context,
            "--istioNamespace",
            istio_namespace,
        )

    def within(self, seconds: float) -> Istioctl:
        """Return the same with another limit for each command."""
        other = copy(self)
        other._timeout = seconds
        return other

    def cli(self, *arguments: str, check: bool = True) -> Completed:
        """Run any istioctl command against the cluster."""
        argv = [*self._program, *arguments, *self._options, *self._acting_as]
        with answers.explained(self._kubeconfig, self._context):
            done = run(argv, timeout=self._timeout, check=check)
        return replace(done, stdout=_COLOUR.sub("", done.stdout))

    @cached_property
    def _acting_as(self) -> tuple[str, ...]:
        """Options for whom the kubeconfig impersonates.

        kubectl and helm read that there; istioctl puts its own options in its place, also where
        they are not given (`newKubeClientWithRevision` in its `istioctl/pkg/cli/context.go`).
        """
        user = self._kubeconfig.context(self._context).user
        options = (("as", [user.get("as")]), ("as-uid", [user.get("as-uid")]))
        groups = ("as-group", user.get("as-groups") or [])
        return tuple(
            f"--{name}={value}" for name, values in (*options, groups) for value in values if value
        )

    def analyze(self, *, namespace: str | None = None) -> list[Message]:
        """Analyze the live configuration of a namespace, or of all."""
        scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        return self._messages("analyze", *scope)

    def precheck(self) -> list[Message]:
        """Check whether Istio can be installed or upgraded (`istioctl x precheck`)."""
        return self._messages("x", "precheck")

    def proxy_config_listeners_json(self, pod: str, *, namespace: str) -> list[dict[str, Any]]:
        """Return the listeners of a pod's proxy as Envoy has them now."""
        done = self.cli("proxy-config", "listeners", f"{pod}.{namespace}", "--output", "json")
        try:
            listeners: list[dict[str, Any]] = json.loads(done.stdout) or []
        except ValueError as error:
            raise CommandError(done.argv, done.returncode, done.stdout, done.stderr) from error
        return listeners

    def proxy_states(self, revision: str) -> dict[str, dict[str, str]]:
        """Return what each proxy that is connected to a revision's istiods has acknowledged.

        Returns:
            By proxy, `pod.namespace`: the last word of each configuration type, such as
            `Listener`, with `SYNCED`, `STALE`, `NOT_SENT` or `ERROR`. The proxies that istiod does
            not know are missing.
        """
        return _states(self._proxy_status(revision))

    def proxies(self, revision: str) -> list[ConnectedProxy]:
        """Return the proxies of all namespaces that are connected to a revision's istiods.

        Args:
            revision: istioctl asks the istiods of one, by themselves those of the default one.
        """
        return _connected(self._proxy_status(revision))

    def version(self, revision: str = "default") -> Versions:
        """Return the versions of istioctl and of a revision's istiods."""
        command = ("version", "--revision", revision, "--output", "json")
        return _versions(json.loads(self.cli(*command).stdout))

    def x_authz_check(self, pod: str, *, namespace: str) -> str:
        """Return the table of AuthorizationPolicies in force on a pod."""
        return self.cli("x", "authz", "check", f"{pod}.{namespace}").stdout

    def _proxy_status(self, revision: str) -> str:
        # By itself it logs to where it prints.
        how = ("--output", "json", "--log_target", "stderr")
        return self.cli("proxy-status", "--revision", revision, *how).stdout

    def _messages(self, *command: str) -> list[Message]:
        # Findings of level Error make the exit code 79: only output that is not JSON is a failure.
        done = self.cli(*command, "--output", "json", check=False)
        if done.returncode == 0 and not done.stdout.strip():
            return []  # precheck says that all is well on standard error
        try:
            return [_message(item) for item in json.loads(done.stdout) or []]
        except ValueError as error:
            raise CommandError(done.argv, done.returncode, done.stdout, done.stderr) from error


def _states(text: str) -> dict[str, dict[str, str]]:
    return {
        proxy["node"]["id"]: {
            kind["typeUrl"].rpartition(".")[2]: kind.get("configStatus", "UNKNOWN")
            for kind in proxy.get("genericXdsConfigs") or []
        }
        for document in _documents(text)
        for proxy in document.get("resources") or []
    }


def _connected(text: str) -> list[ConnectedProxy]:
    return [
        ConnectedProxy(
            proxy["node"]["id"],
            (proxy["node"].get("metadata") or {}).get("ISTIO_VERSION", ""),
            json.loads(document["controlPlane"]["identifier"])["ID"],
        )
        for document in _documents(text)
        for proxy in document.get("resources") or []
    ]


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """Read one JSON document for each istiod that answered, one after the other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        text = text[end:]
        yield document


def _versions(data: dict[str, Any]) -> Versions:
    mesh = data.get("meshVersion") or []
    return Versions(
        client=data["clientVersion"]["version"],
        control_plane=", ".join(sorted({item["Info"]["version"] for item in mesh})) or None,
    )


def _message(item: dict[str, Any]) -> Message:
    return Message(
        code=item.get("code", ""),
        level=item.get("level", ""),
        origin=item.get("origin", ""),
        text=item.get("message", ""),
    )
