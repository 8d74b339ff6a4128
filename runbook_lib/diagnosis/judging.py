"""Judge what was seen by all rules: causes, what follows from them, and what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runbook_lib.diagnosis import Area, Cause, Diagnosis, Observation, Rule
from runbook_lib.diagnosis.registry import registered
from runbook_lib.diagnosis.rules import leftovers  # importing any of them registers all
from runbook_lib.lifecycle import Check, Table, of_checks


def unjudged(seen: Observation) -> tuple[Rule, ...]:
    """Return the rules that lack something which could not be seen, be it for one pod alone."""
    return tuple(rule for rule in registered() if {*rule.needs, *rule.uses} & seen.unseen.keys())


def health(diagnosis: Diagnosis) -> Table:
    """Return a line for each area: whether a cause was found there.

    An area is not well, and not ill, if a rule of it could not be judged.
    """
    area_of = {rule.name: rule.area for rule in registered()}
    found: dict[Area, list[str]] = {area: [] for area in Area}
    for finding in diagnosis.findings:
        found[area_of.get(finding.name, Area.OUTSIDE)].append(finding.name)
    blind = {area_of[name] for name in diagnosis.unjudged}
    checks = []
    for area, names in found.items():
        if names:
            checks.append(Check(area, ", ".join(names), ok=False))
        elif area in blind:
            checks.append(Check(area, "could not be judged", ok=None))
        else:
            checks.append(Check(area, "no cause found", ok=True))
    return of_checks("Health", checks)


def judge(seen: Observation) -> tuple[Cause, ...]:
    """Return causes, the likeliest first; what follows from a cause hangs on it.

    A cause that explains answers from outside comes before one that does not: it is what people
    ask about. What could not be seen is not judged.
    """
    rules = registered()
    found = [
        replace(finding, name=rule.name, chapter=rule.chapter)
        for rule in rules
        if not set(rule.needs) & seen.unseen.keys()
        for finding in rule.find(seen)
    ]
    explained_by = {rule.name: rule.explained_by for rule in rules}
    hanging: dict[int, list[Cause]] = {}
    roots: list[int] = []
    for number, finding in enumerate(found):
        cause = _cause(finding, found, explained_by)
        if cause is None:
            roots.append(number)
        else:
            hanging.setdefault(cause, []).append(finding)
    causes = [replace(found[n], consequences=tuple(hanging.get(n, ()))) for n in roots]
    if not any(cause.reaches_outside for cause in causes):
        left = leftovers.unexplained(seen)
        causes += [left] if left else []
    return tuple(sorted(causes, key=lambda cause: not cause.reaches_outside))


def _cause(
    finding: Cause, found: Sequence[Cause], explained_by: dict[str, tuple[str, ...]]
) -> int | None:
    """Return the number of the deepest cause that explains a finding; None if nothing does."""
    for number, other in enumerate(found):
        if other.name in explained_by[finding.name] and other.may_explain(finding):
            # Follow it down: an explanation may itself follow from something.
            deeper = _cause(other, found, explained_by)
            return number if deeper is None else deeper
    return None
