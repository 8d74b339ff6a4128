"""Run folders: where executed notebooks and evidence go, and which cluster a run works on."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from runbook_lib.base import Journal, RunbookError, Seal, TargetChanged, journal, working_folder
from runbook_lib.lifecycle import record
from runbook_lib.lifecycle.events import NotebookStarted
from runbook_lib.lifecycle.lease import NOTEBOOKS_VARIABLE
from runbook_lib.lifecycle.target import Target
from runbook_lib.parameters import Parameters

RUN_DIRECTORY_VARIABLE = "RUNBOOK_RUN_DIR"
"""Names the folder of a run to the notebooks that are part of it."""

ENGINE_VARIABLE = "RUNBOOK_ENGINE"
"""Tells kernels that papermill keeps secrets out of the executed notebook."""

EVIDENCE = "evidence.jsonl"
SUMMARY = "summary.json"

_CANNOT_WRITE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
)


@contextmanager
def written_to(folder: Path) -> Iterator[None]:
    """Have a run's files be written for their owner alone, and say what to do where they cannot.

    Kernels that are started meanwhile keep to it as well.

    Raises:
        RunbookError: They cannot: the disk is full, for example.
    """
    before = os.umask(0o077)
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise RunbookError(
            f"cannot write the run's files to {error.filename or folder}: {error.strerror}",
            "free up disk space, or choose another folder with --runs; what was done so far "
            "stays: run again to go on",
        ) from error
    finally:
        os.umask(before)


def begun_by(notebook: str, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the notebooks of the run that begins with this one; empty if none does."""
    notebooks = tuple(environ.get(NOTEBOOKS_VARIABLE, "").split())
    return notebooks if notebooks[:1] == (notebook,) else ()


def default_root() -> Path:
    """Where run folders are made unless the user says otherwise."""
    return working_folder() / "runs"


def create(root: Path, label: str = "") -> Path:
    """Make a folder for a run, named after the time in UTC; only its owner may look into it.

    Args:
        root: Where.
        label: Added to the name.

    Raises:
        RunbookError: It cannot be made.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{stamp}-{label}" if label else stamp
    for number in range(1, 100):
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunbookError(
                f"cannot make the run folder {folder}: {error.strerror}",
                "choose a folder that you may write to: --runs FOLDER",
            ) from error
        hold(folder)
        return folder.resolve()
    raise RunbookError(f"{root} holds a hundred runs of the same second", "run again")


def folder_of(notebook: str, uid: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the run that a notebook is part of, or one of this kernel's own.

    A kernel goes on with its folder when its notebook is run again: one session, one record.

    Args:
        notebook: The notebook's name.
        uid: The cluster's: a run works on one only.
        environ: Where a run names its folder.
    """
    given = environ.get(RUN_DIRECTORY_VARIABLE, "").strip()
    if given:
        folder = Path(given).absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        hold(folder)
        return folder
    own = (notebook, uid)
    if own not in _OF_THIS_KERNEL or not _OF_THIS_KERNEL[own].is_dir():
        _OF_THIS_KERNEL[own] = create(default_root(), notebook)
    return _OF_THIS_KERNEL[own]


_OF_THIS_KERNEL: dict[tuple[str, str], Path] = {}


def open_journal(folder: Path, notebook: str) -> Journal:
    """Return the journal of a run, for the events of one notebook."""
    return Journal(folder / EVIDENCE, run=folder.name, notebook=notebook)


def record_of(folder: Path) -> record.Record:
    """Return what the run in this folder has recorded so far."""
    return record.of(folder / EVIDENCE)


def hold(folder: Path) -> None:
    """Mark a run as going on, for as long as this process lives, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # closed when the process ends
    with suppress(OSError):  # a file system without locks: then no run counts as ended
        fcntl.flock(descriptor, fcntl.LOCK_SH)


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Say whether a run has ended; while the block lasts none can take its folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Whether a run goes on: its runner, or a kernel of it, lives."""
    with unused(folder) as free:
        return not free


def noted_seal(folder: Path) -> Seal | None:
    """Return what identified a run's evidence when its summary was written; None without one."""
    try:
        noted = json.loads((folder / SUMMARY).read_bytes())["evidence"]
        return Seal(int(noted["lines"]), str(noted["sha256"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def seal_of(folder: Path) -> Seal:
    """Return the count of the lines of a run's evidence, and the hash that stands for them all."""
    return journal.seal_of(folder / EVIDENCE)


def records_on(root: Path, uid: str, *, before: str = "") -> tuple[record.Record, ...]:
    """Return the records of the runs on one cluster, oldest first.

    Args:
        root: The folder that holds the run folders.
        uid: The cluster's; a run works on one only.
        before: The name of a run: only those that began before it.
    """
    # Run folders are named after the time. Evidence of other clusters need not be understood.
    paths = sorted(root.glob(f"*/{EVIDENCE}"))
    earlier = (path for path in paths if not before or path.parent.name < before)
    records = (record.of(path) for path in earlier if uid.encode() in path.read_bytes())
    return tuple(run for run in records if run.started is not None and run.started.uid == uid)


def attempts_on(root: Path, uid: str, *, before: str = "") -> tuple[record.StepRecord, ...]:
    """Return the attempts at steps that these runs made."""
    return tuple(
        attempt for run in records_on(root, uid, before=before) for attempt in run.attempts
    )


def pin_target(journal: Journal, target: Target, parameters: Parameters) -> None:
    """Record that a notebook starts, and on which cluster; a run's first decides for the others.

    Raises:
        TargetChanged: Earlier notebooks of the run worked on another cluster.
    """
    earlier = record.of(journal.path).started
    if earlier and earlier.uid != target.uid:
        raise TargetChanged(
            f"this run works on {earlier.target} (cluster {earlier.uid}), "
            f"and {target.name} is cluster {target.uid}",
            "nothing was done; start a new run for the other cluster",
        )
    journal.record(
        NotebookStarted(
            target=target.name,
            kind=parameters.target.kind,
            server=target.server,
            context=target.context,
            uid=target.uid,
            url=target.url,
            story=parameters.story,
            mode=parameters.mode,
        )
    )
