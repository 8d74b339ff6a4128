"""What Kiali's operator says about a Kiali resource. No I/O here.

The shape is that of Ansible operators: three conditions, `Running`, `Successful` and `Failure`, of
which none names the generation that it is about. See internal/ansible/controller/status in
https://github.com/operator-framework/ansible-operator-plugins.
"""

from __future__ import annotations

from typing import Any

from runbook_lib.base import State
from runbook_lib.cluster import Object

Conditions = list[dict[str, Any]]


def conditions(resource: Object | None) -> Conditions:
    """Return the conditions of a Kiali resource; none before the operator has seen it."""
    status = (resource or {}).get("status") or {}
    return list(status.get("conditions") or [])


def state(resource: Object | None, before: Conditions | None = None) -> State:
    """Say how far the operator is with a resource.

    Args:
        resource: The resource; None if there is none.
        before: The conditions as they were before it was changed. As long as they are still the
            same, they are about what was there before: an old failure does not end the wait, and
            an old success does not satisfy it.
    """
    if resource is None:
        return State(False, "the Kiali resource does not exist")
    found = conditions(resource)
    if not found:
        return State(False, "the operator has not taken it up yet")
    if before is not None and before == found:
        return State(False, f"the operator has not taken up the change yet; before: {_said(found)}")
    if at_work(resource):
        return State(False, _progress(resource) or "at work")
    failure = _true(found, "Failure")
    if failure is not None:
        return State(False, f"the operator failed: {_message(failure)}", failed=True)
    if _true(found, "Successful") is not None:
        return State(True, "done")
    return State(False, _said(found))


def has_failed(resource: Object | None) -> bool:
    """Whether the last run that has ended failed; the next one may be going on already."""
    return _true(conditions(resource), "Failure") is not None


def at_work(resource: Object | None) -> bool:
    """Whether a run is going on; between runs the same condition holds for another reason."""
    running = _true(conditions(resource), "Running")
    return running is not None and running.get("reason") == "Running"


def _true(found: Conditions, kind: str) -> dict[str, Any] | None:
    for condition in found:
        if condition.get("type") == kind and condition.get("status") == "True":
            return condition
    return None


def _message(condition: dict[str, Any]) -> str:
    text = str(condition.get("message") or condition.get("reason") or "it does not say why")
    return " ".join(text.split())


def _said(found: Conditions) -> str:
    for kind in ("Failure", "Successful", "Running"):
        condition = _true(found, kind)
        if condition is not None:
            return f"{kind}: {_message(condition)}"
    return "no condition holds"


def _progress(resource: Object) -> str:
    progress = (resource.get("status") or {}).get("progress") or {}
    return str(progress.get("message") or "")
