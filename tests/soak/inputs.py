"""What harms a site on its way into the mesh, each to be put in by itself or with others."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runbook_lib.base.wait import until
from runbook_lib.cluster import merged
from tests import harms
from tests.labs import Lab


def _nothing(_lab: Lab) -> None:
    """Only the parameters are wrong."""


@dataclass(frozen=True)
class Input:
    """One of them.

    Attributes:
        name: Identifies it in what a round prints.
        put_in: Puts it into a lab.
        parameters: What the parameters say in addition.
        installed: Whether Istio has to be there before.
    """

    name: str
    put_in: Callable[[Lab], None] = _nothing
    parameters: dict[str, Any] = field(default_factory=dict)
    installed: bool = False


def _adds(*items: dict[str, Any]) -> Callable[[Lab], None]:
    return lambda lab: harms.add(lab, *items)


def _changes(operation: dict[str, Any]) -> Callable[[Lab], None]:
    """Change the web workload's template, and wait until its pods have it."""

    def put_in(lab: Lab) -> None:
        harms.patch(lab, operation)
        rolled_out = ("rollout", "status", "statefulset/xnat-xnat-web", "--timeout=90s")
        lab.run("kubectl", "-n", "xnat", *rolled_out)

    return put_in


def _stuck(lab: Lab) -> None:
    harms.patch(lab, {"op": "replace", "path": harms.PROBED, "value": 9})
    until("a web pod that is never ready", lambda: harms.web_pod_is_late(lab), timeout=60)
    harms.patch(lab, {"op": "replace", "path": harms.PROBED, "value": "http"})


def _secured(lab: Lab) -> None:
    lab.run("kubectl", "label", "namespace", "xnat", harms.SECURED)


def _unreachable(lab: Lab) -> None:
    lab.set_webhook_port(15999)


LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "limits", "namespace": "xnat"},
    "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "1"}}]},
}

DENIED = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "of-others", "namespace": "xnat"},
    "spec": {
        "selector": {"matchLabels": harms.WEB},
        "action": "DENY",
        "rules": [{"to": [{"operation": {"methods": ["HEAD"]}}]}],
    },
}
"""A policy of others that keeps a step of 04 from being verified."""

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "pipeline-now", "namespace": "xnat"},
    "spec": {"template": harms.ENDING},
}

WRONG, WIDE = (
    {"application": {"web": {"labels": labels}}}
    for labels in ({"app": "elsewhere"}, {"app.kubernetes.io/instance": "xnat"})
)

CLASSIC = {"pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "false"}}}

INPUTS = (
    Input("labels that select nothing", parameters=WRONG),
    Input("labels that select too much", parameters=WIDE),
    Input("Pod Security", _secured),
    Input("a limit that sidecars exceed", _adds(LIMITS), installed=True),
    Input("a webhook out of reach", _unreachable, installed=True),
    Input("selectors that overlap", _adds(harms.UPLOAD)),
    Input("pods that get no sidecar", _changes(harms.OUTSIDE)),
    Input("Jobs", _adds(JOB, harms.CRON_JOB)),
    Input("classic sidecars", parameters={"istio": {"istiod": {"values": CLASSIC}}}),
    Input("methods that users need", parameters={"authorization": {"methods": ["GET", "HEAD"]}}),
    Input("a policy of others", _adds(DENIED), installed=True),
    Input("a StatefulSet that is stuck", _stuck),
    Input("a host port", _changes(harms.HOST_PORT)),
    Input("doors", _adds(harms.SIDE_DOOR, *harms.INNER_DOOR)),
    Input("an exporter", _adds(harms.EXPORTER)),
)


def drawn(generator: random.Random) -> list[Input]:
    """Draw up to three, those before the installation first."""
    found = generator.sample(INPUTS, generator.randint(1, 3))
    return sorted(found, key=lambda each: each.installed)


def parameters(chosen: list[Input], base: dict[str, Any]) -> dict[str, Any]:
    """What the parameters of a run with these are."""
    found = base
    for each in chosen:
        found = merged(found, each.parameters)
    return found
