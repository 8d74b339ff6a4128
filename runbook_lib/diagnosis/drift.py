"""Drift: which steps no longer hold, what differs, and who changed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from runbook_lib import chapters
from runbook_lib.base import ExitCode, RunbookError
from runbook_lib.diagnosis import Cause, Diagnosis
from runbook_lib.diagnosis.diagnose import diagnose
from runbook_lib.lifecycle import Change, Context, Record, Severity, Step

_READS_SECRETS = "analyze"
"""The one rule that cannot be judged for accounts that only look; so it does not count."""


class Standing(StrEnum):
    """How a step stands in the cluster as it is now."""

    HOLDS = "holds"
    DRIFTED = "drifted"
    NOT_IN_PLACE = "not in place"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Proof:
    """The last time that a run proved a step.

    Attributes:
        run: The run's name.
        at: When.
    """

    run: str
    at: datetime


@dataclass(frozen=True)
class StepStanding:
    """How one step stands.

    Attributes:
        notebook: Its notebook.
        step: Its name.
        changes: What differs.
        unknown: Why it cannot be told; empty if it can.
        proof: When it was last proved; None if no run on record did.
    """

    notebook: str
    step: str
    changes: tuple[Change, ...] = ()
    unknown: str = ""
    proof: Proof | None = None

    @property
    def standing(self) -> Standing:
        """The verdict."""
        if self.unknown:
            return Standing.UNKNOWN
        if not self.changes:
            return Standing.HOLDS
        return Standing.DRIFTED if self.proof else Standing.NOT_IN_PLACE

    @property
    def document(self) -> dict[str, Any]:
        """The same as plain data, for programs."""
        return {
            "notebook": self.notebook,
            "step": self.step,
            "standing": str(self.standing),
            "unknown": self.unknown or None,
            "proved": {"run": self.proof.run, "at": self.proof.at.isoformat()}
            if self.proof
            else None,
            "changes": [
                {
                    "object": change.ref,
                    "action": change.action,
                    "diff": change.text,
                    "fields": [
                        {"path": a.path, "manager": a.manager or None, "at": a.at or None}
                        for a in change.authors
                    ],
                }
                for change in self.changes
            ],
        }

    def __str__(self) -> str:
        """A line, and below it what differs and who changed it."""
        lines = [f"{_SIGNS[self.standing]} {self.notebook} {self.step}: {self.standing}"]
        if self.proof:
            lines[0] += f", last verified by run {self.proof.run}"
        if self.unknown:
            lines.append(f"    {self.unknown}")
        for change in self.changes:
            lines.append(f"    {change.action} {change.ref}")
            lines += [f"      {author}" for author in change.authors]
            lines += [f"      {line}" for line in change.text.splitlines()]
        return "\n".join(lines)


_SIGNS = {
    Standing.HOLDS: "✓",
    Standing.DRIFTED: "✗",
    Standing.NOT_IN_PLACE: "○",
    Standing.UNKNOWN: "?",
}


@dataclass(frozen=True)
class Verdict:
    """Whether everything is as the runbook leaves it.

    Attributes:
        steps: How each step stands, in the order of the notebooks.
        diagnosis: What is wrong with the mesh, whoever made it so.
    """

    steps: tuple[StepStanding, ...]
    diagnosis: Diagnosis

    @property
    def exit_code(self) -> ExitCode:
        """The verdict for scripts; drift counts more than what cannot be told."""
        seen = {each.standing for each in self.steps}
        if seen & {Standing.DRIFTED, Standing.NOT_IN_PLACE}:
            return ExitCode.DRIFT
        if Standing.UNKNOWN in seen or self._faults or self._unjudged:
            return ExitCode.FAILED
        return ExitCode.DONE

    @property
    def _faults(self) -> tuple[Cause, ...]:
        return tuple(c for c in self.diagnosis.findings if c.severity is Severity.FAULT)

    @property
    def _unjudged(self) -> set[str]:
        return set(self.diagnosis.unjudged) - {_READS_SECRETS}

    @property
    def document(self) -> dict[str, Any]:
        """The same as plain data, for programs."""
        return {
            "verdict": self.exit_code.name.lower(),
            "steps": [each.document for each in self.steps],
            **{k: v for k, v in self.diagnosis.document.items() if k != "looked"},
        }

    def __str__(self) -> str:
        """Every step, what differs, and the diagnosis."""
        counts = dict.fromkeys(Standing, 0)
        for step in self.steps:
            counts[step.standing] += 1
        summary = ", ".join(f"{count} {each}" for each, count in counts.items() if count)
        lines = [f"Steps: {summary}", "", *map(str, self.steps), "", str(self.diagnosis)]
        return "\n".join(lines)


def verify(context: Context, records: Iterable[Record], notebooks: Sequence[str]) -> Verdict:
    """Look at what every step made, and at the mesh as a whole, without changing anything.

    Args:
        context: Where to look.
        records: Of earlier runs on this cluster, oldest first.
        notebooks: Whose steps.

    Raises:
        ClusterUnreachable: The API server does not answer.
    """
    return Verdict(standings(context, records, notebooks), diagnose(context))


def standings(
    context: Context, records: Iterable[Record], notebooks: Sequence[str]
) -> tuple[StepStanding, ...]:
    """Return how the steps stand, by their objects."""
    looking = replace(
        context,
        parameters=context.parameters.model_copy(update={"mode": "plan"}),
        comparing=True,
    )
    proofs = _proofs(records)
    return tuple(
        _standing(looking, notebook, step, proofs)
        for notebook in notebooks
        for step in chapters.of(notebook, context.parameters)
    )


def _standing(
    context: Context, notebook: str, step: Step, proofs: Mapping[tuple[str, str], Proof]
) -> StepStanding:
    found = StepStanding(notebook, step.name, proof=proofs.get((notebook, step.name)))
    try:
        return replace(found, changes=step.drift(context))
    except RunbookError as error:
        return replace(found, unknown=str(error))


def _proofs(records: Iterable[Record]) -> dict[tuple[str, str], Proof]:
    return {
        (attempt.notebook, attempt.step): Proof(run.run, attempt.verified_at)
        for run in records
        for attempt in run.attempts
        if attempt.verified_at is not None
    }
