"""Look for everything that may be in the way, for the start page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from runbook_lib.base import CommandError, RunbookError
from runbook_lib.chapters.shared.preflight import aws
from runbook_lib.chapters.shared.preflight.admission import webhooks
from runbook_lib.chapters.shared.preflight.helm import kinds, releases
from runbook_lib.chapters.shared.preflight.istio import istios
from runbook_lib.chapters.shared.preflight.kiali import operator
from runbook_lib.chapters.shared.preflight.leaving import namespaces
from runbook_lib.chapters.shared.preflight.policies import changed_by_others
from runbook_lib.chapters.shared.preflight.upgrades import kubectl_skew
from runbook_lib.lifecycle import Context, Finding, Row, Table
from runbook_lib.mesh import selection_mistakes

CHECKS: dict[str, Callable[[Context], Iterable[Finding]]] = {
    "Version of kubectl": kubectl_skew,
    "Helm releases": releases,
    "Kiali operator": operator,
    "Namespaces": namespaces,
    "Policies of others": changed_by_others,
    "Labels of the web pods": selection_mistakes,
    "Other meshes": istios,
    "Webhooks without a Service": webhooks,
    "Istio's kinds": kinds,
}
"""What is looked for, in the order in which it is shown."""

_UNSEEN = "what is in the way here shows only when a step meets it"
_ASK = "ask for the permission to look at it, and look again"


def table(context: Context) -> Table:
    """Look for everything, and say so also where nothing is in the way.

    A row is not ok if a step would be refused for it; what steps deal with, and what could not be
    looked at, is only shown.
    """
    rows: list[Row] = []
    looks: dict[str, Callable[[], Iterable[Finding]]] = {
        **{title: partial(check, context) for title, check in CHECKS.items()},
        **{area.title: look for area, look in aws.looks(context)},
    }
    for title, look in looks.items():
        try:
            found = list(look())
        except RunbookError as error:
            cells = (title, f"cannot tell: {_gist(error)}", _UNSEEN, error.remedy or _ASK)
            rows.append(Row(cells))
            continue
        rows += [row(title, each) for each in found]
        if not found:
            rows.append(Row((title, "nothing in the way", "", ""), ok=True))
    columns = ("condition", "found", "why it matters", "what to do")
    return Table("Preflight", columns, tuple(rows))


def row(title: str, found: Finding) -> Row:
    """Return a finding as a row of the table, under the title of what it is about."""
    cells = (title, found.found, found.effect, found.way_out)
    return Row(cells, ok=False if found.refuses else None)


def _gist(error: RunbookError) -> str:
    """Return what an error says, on one line; of a command, what it said itself."""
    said = error.stderr if isinstance(error, CommandError) else ""
    return said.splitlines()[-1] if said else error.cause.splitlines()[0]
