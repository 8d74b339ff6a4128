"""The status of a Kiali resource, in the shape in which Ansible operators write it. No I/O here.

There is no `ansibleResult` in these conditions: no Ansible ran. Everything else follows
ansible-operator-plugins, internal/ansible/controller/status.
"""

from __future__ import annotations

from typing import Any

Conditions = list[dict[str, Any]]

STEPS = (
    "Initializing",
    "Setting up configuration",
    "Deleting obsolete roles",
    "Processing namespace labels",
    "Creating core resources",
    "Finished all resource creation",
)
"""What `.status.progress.message` says, numbered from 1."""


def running(before: Conditions, now: str) -> Conditions:
    """The conditions while a reconciliation runs.

    Args:
        now: The time as Kubernetes writes it.
    """
    after = _no_longer(before, "Successful", now)
    return _set(after, _condition("Running", "True", "Running", "Running reconciliation", now))


def succeeded(before: Conditions, now: str) -> Conditions:
    """The conditions after a reconciliation without errors."""
    done = "Last reconciliation succeeded"
    after = _set(
        before, _condition("Running", "True", "Successful", "Awaiting next reconciliation", now)
    )
    after = _set(after, _condition("Successful", "True", "Successful", done, now))
    return _set(after, _condition("Failure", "False", "", "", now))


def failed(before: Conditions, message: str, now: str) -> Conditions:
    """The conditions after a reconciliation that ended with an error."""
    after = _no_longer(before, "Running", now)
    after = _set(after, _condition("Failure", "True", "Failed", message, now))
    return _set(after, _condition("Successful", "False", "", "", now))


def progress(step: int, seconds: float) -> dict[str, str]:
    """`.status.progress` in a step, counted from 1, so many seconds after the start."""
    whole = int(seconds)
    return {
        "message": f"{step}. {STEPS[step - 1]}",
        "duration": f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}",
    }


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
    }


def _find(conditions: Conditions, kind: str) -> dict[str, Any] | None:
    return next((each for each in conditions if each["type"] == kind), None)


def _set(before: Conditions, condition: dict[str, Any]) -> Conditions:
    """Put a condition in place of that of its type; its time changes with its status alone."""
    old = _find(before, condition["type"])
    same_status = old is not None and old["status"] == condition["status"]
    if old and same_status:
        if condition["type"] != "Failure" and old["reason"] == condition["reason"]:
            return before
        condition = condition | {"lastTransitionTime": old["lastTransitionTime"]}
    return [each for each in before if each["type"] != condition["type"]] + [condition]


def _no_longer(before: Conditions, kind: str, now: str) -> Conditions:
    old = _find(before, kind)
    if old is None or old["status"] == "False":
        return before
    return _set(before, old | {"status": "False", "lastTransitionTime": now})
