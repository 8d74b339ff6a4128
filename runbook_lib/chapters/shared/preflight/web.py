"""The labels by which policies are to select the web pods."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import selection_mistakes


def web_labels(context: Context) -> Iterator[Finding]:
    """Find that they select other pods than those of the web workload."""
    return selection_mistakes(context.cluster, context.parameters)
