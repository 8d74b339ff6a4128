"""Run notebooks headless, in order, through papermill; say what came of every step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from runbook_lib import chapters as steps
from runbook_lib.base import ExitCode, LabNotRunning, ParameterError, delivered
from runbook_lib.headless import interruption, lean, signals
from runbook_lib.lifecycle import (
    APPROVE_VARIABLE,
    Record,
    StepOutcome,
    StepRecord,
    lease,
    runs,
    summary,
)
from runbook_lib.lifecycle.review.gate import REVIEW_VARIABLE
from runbook_lib.parameters import LONGEST, Checked, Parameters, handover

if TYPE_CHECKING:
    from papermill import PapermillExecutionError  # type: ignore[import-untyped]

    from runbook_lib.headless.kernels import Kernels

_BAD_INPUT = (ParameterError.__name__, LabNotRunning.__name__)
"""Errors of a kernel reach its client by name."""

_MARGIN = 120
"""Seconds that a cell may take beyond what the runbook itself waits for."""


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
    """What came of a run.

    Attributes:
        folder: The run's folder.
        mode: Whether it was to apply.
        steps: Every step that its notebooks take, in order.
        failure: Why it did not reach its end; None if it did, or if a signal ended it.
        ended_by: That signal.
        went_back: What became of what a run left unfinished; empty if there was nothing.
    """

    folder: Path
    mode: Literal["apply", "plan"]
    steps: tuple[StepRecord, ...]
    failure: Failure | None = None
    ended_by: Signals | None = None
    went_back: str = ""

    @property
    def complete(self) -> bool:
        """Whether every step was verified, or planned where no more was asked for."""
        ended = self.failure is None and self.ended_by is None
        return ended and summary.enough(self.mode, self.steps)

    @property
    def broken_off(self) -> bool:
        """Whether it ended without a word about a step that it was at, or could have been."""
        died = self.failure is not None and any(step.outcome.unproved for step in self.steps)
        return self.ended_by is not None or died

    def exit_code(self, *, detailed: bool = False) -> ExitCode:
        """Return how the command ends.

        Args:
            detailed: Whether plans that would change something are told from those that would not.
        """
        if self.ended_by is not None:
            return ExitCode(128 + self.ended_by)
        if self.broken_off:
            return ExitCode.INTERRUPTED
        if self.complete:
            pending = any(step.pending for step in self.steps)
            return ExitCode.PENDING if detailed and pending else ExitCode.DONE
        outcomes = {step.outcome for step in self.steps}
        if StepOutcome.NOT_APPROVED in outcomes:
            return ExitCode.NOT_APPROVED
        if any(step.touched for step in self.steps):
            back = StepOutcome.TAKEN_BACK in outcomes and not any(
                step.touched and step.outcome is StepOutcome.FAILED for step in self.steps
            )
            return ExitCode.TAKEN_BACK if back else ExitCode.FAILED
        if self.failure and self.failure.error in _BAD_INPUT:
            return ExitCode.BAD_INPUT
        if self.failure and self.failure.error == lease.LeaseHeld.__name__:
            return ExitCode.BUSY
        return ExitCode.REFUSED if StepOutcome.REFUSED in outcomes else ExitCode.FAILED


def notebook_path(notebook: str) -> Path:
    """Return the file of a notebook."""
    return delivered() / "notebooks" / f"{notebook}.ipynb"


def choose(names: Sequence[str], first: str | None = None, last: str | None = None) -> list[str]:
    """Return the notebooks to run, in the runbook's order.

    Args:
        names: These alone, each by its name, its number or its file; if none is named, all but
            those that run only on request.
        first: Of these, where to begin.
        last: Of these, where to end.

    Raises:
        ParameterError: A name is not one of the runbook's notebooks, or there is nothing to run.
    """
    if names and (first or last):
        raise ParameterError("--only goes with neither --from nor --to", "leave one of them out")
    if names:
        desired = [named(name) for name in names]
        return [name for name in steps.CHAPTERS if name in desired]
    regular = steps.regular()
    begin, end = (_place(name, regular) if name else None for name in (first, last))
    if begin is not None and end is not None and begin > end:
        raise ParameterError(
            f"--from {regular[begin]} comes after --to {regular[end]}", "turn them round"
        )
    return regular[begin : None if end is None else end + 1]


def named(name: str) -> str:
    """Return the notebook that people name: `03_autoscaling`, `03`, or the notebook's file.

    Raises:
        ParameterError: There is none.
    """
    given = Path(name).name.removesuffix(".ipynb")
    found = [each for each in steps.CHAPTERS if given in (each, each.partition("_")[0])]
    if not found:
        raise ParameterError(
            f"there is no notebook {given}", f"choose from: {', '.join(steps.CHAPTERS)}"
        )
    return found[0]


def _place(name: str, regular: Sequence[str]) -> int:
    found = named(name)
    if found not in regular:
        raise ParameterError(
            f"{found} is in no range: it runs only when it is named",
            f"write --only {found}, or choose from: {', '.join(regular)}",
        )
    return regular.index(found)


def execute(
    notebooks: Sequence[str],
    checked: Checked,
    folder: Path,
    *,
    approve: str | None = None,
    reviewed: Path | None = None,
    wait_lock: int = 0,
    ahead: Callable[[str], None] = lambda _: None,
) -> Result:
    """Execute notebooks one after the other, up to the first that fails or a signal.

    Args:
        notebooks: Their names, in order.
        checked: The parameters, handed to each of them.
        folder: Where executed notebooks, evidence and summary go; it exists.
        approve: The cluster whose changes are approved, or `none`; None leaves the environment's.
        reviewed: The folder of the run whose plans are approved, and nothing else.
        wait_lock: Seconds to wait for another run that changes the same cluster.
        ahead: Called with the name of each notebook before it is executed.

    Raises:
        RunbookError: The folder cannot be written to.
    """
    failure, ended_by, parameters = None, None, checked.parameters
    went_back = ""
    variables = {
        runs.RUN_DIRECTORY_VARIABLE: str(folder),
        lease.NOTEBOOKS_VARIABLE: " ".join(notebooks),
        APPROVE_VARIABLE: approve,
        REVIEW_VARIABLE: str(reviewed) if reviewed else None,
        lease.HOLDER_VARIABLE: f"{folder.name}-{uuid4().hex[:8]}",
        lease.WAIT_VARIABLE: str(wait_lock),
    }
    with runs.written_to(folder):
        with tempfile.TemporaryDirectory(prefix="runbook-") as private:
            variables |= handover.hand_over(checked, Path(private))
            with _environment(variables):
                try:
                    limit = _cell_timeout(parameters) + wait_lock
                    failure = _execute_in_order(notebooks, limit, folder, ahead)
                except signals.Terminated as ended:
                    ended_by = ended.sent
                except KeyboardInterrupt:
                    ended_by = Signals.SIGINT
                if failure or ended_by:
                    try:
                        went_back = interruption.go_back(folder, parameters)
                    except KeyboardInterrupt:
                        went_back = (
                            "Interrupted once more while taking it back: run again to go on."
                        )
                with signals.ignored():
                    interruption.let_others(folder, parameters)
        reached = results(notebooks, parameters, runs.record_of(folder))
        result = Result(folder, parameters.mode, reached, failure, ended_by, went_back)
        with signals.ignored():
            summary.write(
                folder,
                result.mode,
                reached,
                ended_by=ended_by.name if ended_by else None,
                failure=asdict(failure) if failure else None,
            )
    return result


def results(
    notebooks: Sequence[str], parameters: Parameters, run: Record
) -> tuple[StepRecord, ...]:
    """Return what a run recorded about every step that the notebooks should take."""
    return tuple(
        run.step(notebook, step.name)
        for notebook in notebooks
        for step in steps.of(notebook, parameters)
    )


def _execute_in_order(
    notebooks: Sequence[str], limit: int, folder: Path, ahead: Callable[[str], None]
) -> Failure | None:
    from runbook_lib.headless.kernels import Kernels

    with Kernels(len(notebooks)) as kernels:
        for notebook in notebooks:
            ahead(notebook)
            failure = _execute_one(notebook, limit, folder, kernels)
            if failure:
                return failure
    return None


def _execute_one(notebook: str, limit: int, folder: Path, kernels: Kernels) -> Failure | None:
    # The first kernel boots meanwhile.
    papermill = lean.papermill()
    from nbclient.exceptions import CellControlSignal

    from runbook_lib.headless import papermill_engine as engine

    executed = folder / f"{notebook}.ipynb"
    try:
        papermill.execute_notebook(
            notebook_path(notebook),
            executed,
            engine_name=engine.NAME,
            progress_bar=False,
            kernel=kernels.take(),
            execution_timeout=limit,
        )
    except papermill.PapermillExecutionError as error:
        return _failure(notebook, executed, error)
    # A cell that never ends, or a kernel that died or did not start.
    except (CellControlSignal, RuntimeError) as error:
        message = f"{str(error).strip()}\n→ run again to go on"
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
    # Left out, a rollout's limit follows from its probes, which are not known here.
    restarts = (limits.rollout or LONGEST) * len(parameters.application.restart_order)
    # The operator ends what it is at, then does what it is told, then its pods start.
    kiali = 3 * limits.kiali
    observed = parameters.authorization.observe
    longest = max(limits.istiod, restarts, kiali, limits.autoscaler, observed)
    return longest + 3 * limits.policy + parameters.lease_seconds + _MARGIN


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
