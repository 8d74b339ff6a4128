"""Policies that others changed: the runbook takes no fields from them."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import KindNotInstalled
from runbook_lib.chapters.shared.preflight.wording import kubectl
from runbook_lib.cluster import FIELD_MANAGER, ownership, reference
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import own_policies


def changed_by_others(context: Context) -> Iterator[Finding]:
    """Find objects that have the runbook's names, and fields that somebody else set."""
    parameters = context.parameters
    for own in own_policies(parameters):
        try:
            found = context.cluster.get(own.api_version, own.kind, own.name, own.namespace)
        except KindNotInstalled:
            continue
        owners = ownership.changed_by(found) if found is not None else {}
        if found is None or not owners:
            continue
        yield Finding(
            reference(found),
            "; ".join(f"{name} manages {', '.join(at)}" for name, at in owners.items()),
            "the runbook takes no fields from others; what is the same, both may set",
            "ask its owner; or hand it over: "
            + kubectl(
                *("apply", "--server-side", "--force-conflicts"),
                *("--field-manager", FIELD_MANAGER, "--filename", "FILE"),
            ),
            parameter=own.parameter,
            severity=Severity.NOTE,
        )
