"""Commands, names and ways out as findings put them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.parameters import Risk

_MANY = 3
"""Names shown of a longer list."""


def few(names: Sequence[str]) -> str:
    """Name the first of many, and how many more there are."""
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more


def kubectl(*words: str) -> str:
    """Return a kubectl command that can be pasted into a shell."""
    return shlex.join(["kubectl", *words])


def risk(context: Context, name: Risk, finding: Finding) -> Finding:
    """Return a finding as a risk: it refuses, and is a note once the parameters accept it.

    Args:
        context: With the parameters.
        name: By which it is accepted, in `application.accept`.
        finding: What was found.
    """
    accepted = context.parameters.application.accept
    if name in accepted:
        return replace(finding, name=name, severity=Severity.NOTE)
    listed = ", ".join(sorted({*accepted, name}))
    return replace(finding, name=name, parameter=f"application.accept: [{listed}]")
