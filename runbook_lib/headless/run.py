"""Run notebooks headless, in order, through papermill; say what came of every step."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runbook_lib import chapters as steps
from runbook_lib.base import ParameterError, evidence, repository_root
from runbook_lib.lifecycle import APPROVE_VARIABLE, runs
from runbook_lib.parameters import Parameters

if TYPE_CHECKING:
    from papermill import PapermillExecutionError  # type: ignore[import-untyped]

    from runbook_lib.headless.kernels import Kernels

Outcome = Literal["verified", "planned", "failed", "not approved", "not run"]

_REFUSALS = ("NotApproved", "PlanChanged")
_BAD_INPUT = ("ParameterError", "LabNotRunning")
_MARGIN = 120
"""Seconds that a cell may take beyond what the runbook itself waits for."""


@dataclass(frozen=True)
class StepResult:
    """What came of one step.

    Attributes:
        notebook: Its notebook.
        step: Its name.
        outcome: How far it came.
        changed: What it changed.
        seconds: Time spent in applying and verifying it.
    """

    notebook: str
    step: str
    outcome: Outcome
    changed: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Why a notebook did not reach its end.

    Attributes:
        notebook: Its name.
        cell: The id of the cell that failed; empty if the kernel failed.
        error: The error's class.
        message: What it says.
        executed: The notebook as far as it was executed.
    """

    notebook: str
    cell: str
    error: str
    message: str
    executed: Path


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    folder: Path
    mode: Literal["apply", "plan"]
    steps: tuple[StepResult, ...]
    failure: Failure | None

    @property
    def complete(self) -> bool:
        """Whether every step was verified, or planned where no more was wanted."""
        wanted = "planned" if self.mode == "plan" else "verified"
        return self.failure is None and all(step.outcome == wanted for step in self.steps)

    @property
    def exit_code(self) -> int:
        """0 complete, 1 a step failed, 2 bad input, 3 not approved."""
        if self.complete:
            return 0
        error = self.failure.error if self.failure else ""
        return 3 if error in _REFUSALS else 2 if error in _BAD_INPUT else 1


def notebook_path(notebook: str) -> Path:
    """Return the file of a notebook."""
    return repository_root() / "notebooks" / f"{notebook}.ipynb"


def choose(names: Sequence[str]) -> list[str]:
    """Return the notebooks to run, in the runbook's order.

    If none is named, these are all but those that run only on request.

    Raises:
        ParameterError: A name is not one of the runbook's notebooks.
    """
    wanted = [Path(name).name.removesuffix(".ipynb") for name in names]
    unknown = [name for name in wanted if name not in steps.CHAPTERS]
    if unknown:
        raise ParameterError(
            f"there is no notebook {', '.join(unknown)}",
            f"choose from: {', '.join(steps.CHAPTERS)}",
        )
    if not wanted:
        return steps.regular()
    return [name for name in steps.CHAPTERS if name in wanted]


def execute(
    notebooks: Sequence[str], parameters: Parameters, folder: Path, *, approve: str | None = None
) -> Result:
    """Execute notebooks one after the other, up to the first that fails.

    Args:
        notebooks: Their names, in order.
        parameters: Given to each of them.
        folder: Where executed notebooks, evidence and summary go; it exists.
        approve: The cluster whose changes are approved, or `none`; None leaves the environment's.

    Raises:
        RunbookError: The folder cannot be written to.
    """
    failure = None
    with runs.written_to(folder):
        with _environment({runs.RUN_DIRECTORY_VARIABLE: str(folder), APPROVE_VARIABLE: approve}):
            failure = _execute_in_order(notebooks, parameters, folder)
        reached = results(notebooks, parameters, folder)
        result = Result(folder, parameters.mode, reached, failure)
        summary = {**asdict(result), "complete": result.complete}
        text = json.dumps(summary, indent=2, default=str)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    return result


def results(
    notebooks: Sequence[str], parameters: Parameters, folder: Path
) -> tuple[StepResult, ...]:
    """Return what the evidence says about every step that the notebooks should take."""
    recorded = evidence.read(folder / runs.EVIDENCE)
    return tuple(
        _result(notebook, step.name, [e for e in recorded if e.get("step") == step.name])
        for notebook in notebooks
        for step in steps.of(notebook, parameters)
    )


def _result(notebook: str, step: str, events: list[dict[str, object]]) -> StepResult:
    outcome: Outcome = "not run"
    changed: tuple[str, ...] = ()
    seconds = 0.0
    for event in events:
        kind = event["event"]
        if kind == "step-planned":
            outcome, changed = "planned", ()
        elif kind == "step-verified":
            outcome = "verified"
        elif kind == "step-failed":
            outcome = "not approved" if event["error"] in _REFUSALS else "failed"
        if kind == "step-applied":
            changed = tuple(event["changed"])  # type: ignore[arg-type] # a list in JSON
        seconds += float(event.get("seconds", 0.0))  # type: ignore[arg-type] # a number in JSON
    return StepResult(notebook, step, outcome, changed, round(seconds, 1))


def _execute_in_order(
    notebooks: Sequence[str], parameters: Parameters, folder: Path
) -> Failure | None:
    from runbook_lib.headless.kernels import Kernels

    with Kernels(len(notebooks)) as kernels:
        for notebook in notebooks:
            failure = _execute_one(notebook, parameters, folder, kernels)
            if failure:
                return failure
    return None


def _execute_one(
    notebook: str, parameters: Parameters, folder: Path, kernels: Kernels
) -> Failure | None:
    # First of all: it imports papermill. The first kernel boots meanwhile.
    import papermill
    from nbclient.exceptions import CellControlSignal

    from runbook_lib.headless import papermill_engine as engine

    executed = folder / f"{notebook}.ipynb"
    try:
        papermill.execute_notebook(
            notebook_path(notebook),
            executed,
            # What was not given defaults in the notebooks as it did here.
            parameters=parameters.model_dump(mode="json", exclude_unset=True),
            engine_name=engine.NAME,
            progress_bar=False,
            kernel=kernels.take(),
            execution_timeout=_cell_timeout(parameters),
        )
    except papermill.PapermillExecutionError as error:
        return _failure(notebook, executed, error)
    # A cell that never ends, or a kernel that died or did not start.
    except (CellControlSignal, RuntimeError) as error:
        message = f"{str(error).strip()}\n→ what was done so far stays; run again to go on"
        return Failure(notebook, "", type(error).__name__, message, executed)
    return None


def _failure(notebook: str, executed: Path, error: PapermillExecutionError) -> Failure:
    import nbformat

    # Papermill counts the cells before it adds a message to the executed notebook.
    failed = [
        cell["id"]
        for cell in nbformat.read(executed, as_version=4).cells  # type: ignore[no-untyped-call]
        if any(output["output_type"] == "error" for output in cell.get("outputs", []))
    ]
    return Failure(notebook, failed[0] if failed else "", error.ename, error.evalue, executed)


def _cell_timeout(parameters: Parameters) -> int:
    """Return the seconds after which a cell is stuck: more than it may wait for by itself."""
    limits = parameters.timeouts
    restarts = limits.rollout * len(parameters.application.restart_order)
    # The operator ends what it is at, then does what it shall, then its pods start.
    kiali = 3 * limits.kiali
    return max(limits.istiod, restarts, kiali, limits.autoscaler) + limits.policy + _MARGIN


@contextmanager
def _environment(variables: dict[str, str | None]) -> Iterator[None]:
    """Set environment variables for the kernels started meanwhile; None leaves one as it is."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: value for name, value in variables.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
