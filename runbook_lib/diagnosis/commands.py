"""The commands of the written procedure's troubleshooting section, run and shown as they are.

What a command says on a broken cluster is what one wants to read, so a failure is its output.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from runbook_lib.base import CommandError, RunbookError, command
from runbook_lib.base.redact import redact
from runbook_lib.cluster import PROXY, name_of
from runbook_lib.diagnosis.looking import LIMIT
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import web_pods

LOG_LINES = 20
"""How much of a log is shown."""


@dataclass(frozen=True)
class Transcript:
    """A command and what it said.

    Attributes:
        command: The command line, without kubeconfig and context.
        output: What it wrote, redacted.
    """

    command: str
    output: str

    def __str__(self) -> str:
        """As in a terminal."""
        return f"$ {self.command}\n{self.output}"


def proxy_status(context: Context) -> Transcript:
    """Which proxies istiod knows, and what each has acknowledged."""
    return _istioctl(context, "proxy-status")


def describe_pod(context: Context) -> Transcript:
    """The web pod, and the Istio configuration that applies to it."""
    return _istioctl(context, "x", "describe", "pod", web_pod(context))


def listeners(context: Context) -> Transcript:
    """The listeners of the web pod's proxy."""
    return _istioctl(context, "proxy-config", "listeners", web_pod(context))


def authz_check(context: Context) -> Transcript:
    """The AuthorizationPolicies in the web pod's proxy."""
    return _istioctl(context, "x", "authz", "check", web_pod(context))


def proxy_log(context: Context) -> Transcript:
    """The last lines of the web pod's proxy."""
    name, _, namespace = web_pod(context).partition(".")
    return _kubectl(
        context,
        *("logs", f"pod/{name}", "--container", PROXY, "--namespace", namespace),
        f"--tail={LOG_LINES}",
    )


def peer_authentications(context: Context) -> Transcript:
    """The PeerAuthentications of all namespaces."""
    return _kubectl(context, "get", "peerauthentication", "--all-namespaces")


def destination_rules(context: Context) -> Transcript:
    """The DestinationRules of all namespaces."""
    return _kubectl(context, "get", "destinationrule", "--all-namespaces")


def web_pod(context: Context) -> str:
    """Return the first web pod as istioctl names it, `pod.namespace`."""
    application = context.parameters.application
    names = sorted(map(name_of, web_pods(context.cluster, context.parameters)))
    # Without a pod the command says so itself.
    return f"{names[0] if names else f'{application.web.name}-0'}.{application.namespace}"


def _istioctl(context: Context, *arguments: str) -> Transcript:
    istioctl = context.istioctl.within(LIMIT)
    return _run("istioctl", arguments, partial(istioctl.cli, *arguments, check=False))


def _kubectl(context: Context, *arguments: str) -> Transcript:
    target = context.target
    program = target.kubeconfig.calling(context.tools.kubectl)
    argv = [*program, *arguments, "--context", target.context]
    return _run("kubectl", arguments, partial(command.run, argv, timeout=LIMIT, check=False))


def _run(
    program: str, arguments: Iterable[str], call: Callable[[], command.Completed]
) -> Transcript:
    line = f"{program} {shlex.join(arguments)}"
    try:
        done = call()
    except CommandError as error:
        return Transcript(line, error.cause)
    except RunbookError as error:
        return Transcript(line, str(error))
    text = "\n".join(part.rstrip() for part in (done.stdout, done.stderr) if part.strip())
    return Transcript(line, redact(text) or "(no output)")
