"""The EnvoyFilter that has the web pods' sidecars log what a dry run decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from runbook_lib.cluster import Manifests, Object
from runbook_lib.mesh.dry_run import paths
from runbook_lib.mesh.dry_run.model import Decided, Decision
from runbook_lib.parameters import Parameters
from runbook_lib.site import OWN_HEADER

LOG = "istio-runbook/dry-run"
"""Marks lines of this log, and names what writes them in an Envoy's configuration."""

_MANIFESTS = Manifests(__file__)


class Logged(NamedTuple):
    """A line of the log: a request, and whether it was the runbook's own."""

    decided: Decided
    own: bool


def access_log(parameters: Parameters, labels: Mapping[str, str]) -> Object:
    """Return the EnvoyFilter.

    Args:
        parameters: The run's parameters.
        labels: What selects the web pods, and no others.
    """
    application, authorization = parameters.application, parameters.authorization
    name = f"{authorization.policy}-dry-run"
    manifest = _MANIFESTS.named("dry-run-log", name, application.namespace)
    spec = manifest["spec"]
    spec["workloadSelector"]["labels"] = dict(labels)
    for patch in spec["configPatches"]:
        patch["match"]["listener"]["portNumber"] = application.web.port
    config = spec["configPatches"][0]["patch"]["value"]["typed_config"]
    path, own = config["request_rules"]
    known = [each.path for each in application.probes]
    known += [each.path for each in authorization.refuse]
    path["on_header_present"]["regex_value_rewrite"] = {
        "pattern": {"regex": paths.pattern(known)},
        "substitution": paths.SUBSTITUTION,
    }
    own["header"] = OWN_HEADER
    return manifest


def logged(line: str, parameters: Parameters) -> Logged | None:
    """Return what a line of a sidecar's log says; None if it is not one of this log.

    Whose policy allowed a request is looked at: another one in dry run would allow it in vain.
    """
    if LOG not in line:
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("log") != LOG:
        return None
    namespace, policy = parameters.application.namespace, parameters.authorization.policy
    by_own = str(found.get("rule")).startswith(f"ns[{namespace}]-policy[{policy}]-")
    verdict = {
        None: Decision.NONE,
        "allowed": Decision.ALLOWED if by_own else Decision.REFUSED,
    }.get(found.get("decision"), Decision.REFUSED)
    decided = Decided(str(found.get("method")), paths.in_stars(found.get("path")), verdict)
    return Logged(decided, own=found.get("own") is not None)
