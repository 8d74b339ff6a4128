"""What commands say with `--output json`; docs/commands.md explains each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbook_lib.base import Document, ExitCode, Seal

if TYPE_CHECKING:
    from runbook_lib.headless.keeping import Kept
    from runbook_lib.headless.run import Result
    from runbook_lib.lifecycle import StepRecord


@dataclass(frozen=True)
class PlannedChange:
    """A change of a plan: the object, what becomes of it, and the difference for people."""

    object: str
    action: str
    diff: str


@dataclass(frozen=True)
class StepResult:
    """What came of a step; the names are those of `summary.json`."""

    notebook: str
    step: str
    outcome: str
    pending: bool
    changed: tuple[str, ...]
    seconds: float
    planned: tuple[PlannedChange, ...]


@dataclass(frozen=True, kw_only=True)
class RunDocument(Document):
    """What plan, run and rollback say.

    Attributes:
        run: The run's name.
        folder: Its folder.
        mode: `apply` or `plan`.
        exit_code: The exit code of the command.
        verdict: The same as a word, such as `done` or `not_approved`.
        complete: Whether every step was verified, or planned where no more was asked for.
        ended_by: The name of the signal that ended it.
        cluster: Its name; None if no notebook got that far.
        steps: Every step that it should have taken.
        failure: Why it did not reach its end: notebook, cell, error, message and executed notebook.
        report: The page for people.
        evidence: The seal of its evidence.
        copied_to: The URL that it was copied to.
        carry_out: In plan mode, the command that carries out exactly these plans.
    """

    run: str
    folder: Path
    mode: str
    exit_code: int
    verdict: str
    complete: bool
    ended_by: str | None
    cluster: str | None
    steps: tuple[StepResult, ...]
    failure: Mapping[str, Any] | None
    report: Path
    evidence: Seal
    copied_to: str | None
    carry_out: str | None


@dataclass(frozen=True)
class KeptRun:
    """The folder of a run; `steps` counts its steps by outcome."""

    run: str
    folder: Path
    began: datetime
    cluster: str | None
    steps: Mapping[str, int]
    state: str


@dataclass(frozen=True, kw_only=True)
class RunsDocument(Document):
    """What `runs list` says: the folders of runs, the latest first."""

    runs: tuple[KeptRun, ...]


@dataclass(frozen=True, kw_only=True)
class ReportDocument(Document):
    """What `report` says: what it has written, by the evidence with this seal."""

    folder: Path
    report: Path
    junit: Path
    evidence: Seal


@dataclass(frozen=True, kw_only=True)
class CheckDocument(Document):
    """What `report --check` says: what is wrong with the evidence, and how many seals it met."""

    folder: Path
    whole: bool
    faults: tuple[str, ...]
    evidence: Seal
    seals: int


@dataclass(frozen=True, kw_only=True)
class DiagnosisDocument(Document):
    """What `diagnose` says; `causes`, `unseen` and `unjudged` are those of `verify`."""

    cluster: str
    server: str
    url: str
    parameters: str
    healthy: bool
    causes: Sequence[Mapping[str, Any]]
    looked: Sequence[Mapping[str, str]]
    unseen: Sequence[Mapping[str, str]]
    unjudged: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class VerdictDocument(Document):
    """What `verify` says."""

    parameters: str
    verdict: str
    steps: Sequence[Mapping[str, Any]]
    causes: Sequence[Mapping[str, Any]]
    unseen: Sequence[Mapping[str, str]]
    unjudged: Sequence[str]


def of_run(
    result: Result, code: ExitCode, *, report: Path, copied_to: str | None, carry_out: str | None
) -> RunDocument:
    """Return what a run came to."""
    from runbook_lib.lifecycle import runs

    started = runs.record_of(result.folder).started
    return RunDocument(
        run=result.folder.name,
        folder=result.folder,
        mode=result.mode,
        exit_code=code,
        verdict=code.name.lower(),
        complete=result.complete,
        ended_by=result.ended_by.name if result.ended_by else None,
        cluster=started.target if started else None,
        steps=tuple(_step(step) for step in result.steps),
        failure=asdict(result.failure) if result.failure else None,
        report=report,
        evidence=runs.seal_of(result.folder),
        copied_to=copied_to,
        carry_out=carry_out,
    )


def _step(step: StepRecord) -> StepResult:
    planned = step.planned.changes if step.planned else ()
    return StepResult(
        step.notebook,
        step.step,
        str(step.outcome),
        step.pending,
        step.changed,
        step.seconds,
        tuple(PlannedChange(each.ref, each.action, each.text) for each in planned),
    )


def of_runs(found: Sequence[Kept]) -> RunsDocument:
    """Return the folders of runs."""
    listed = (
        KeptRun(k.folder.name, k.folder, k.began, k.cluster or None, k.steps, k.state)
        for k in found
    )
    return RunsDocument(runs=tuple(listed))
