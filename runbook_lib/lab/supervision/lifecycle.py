"""Bring a lab up, take it down, look at it: what the commands do from outside."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from runbook_lib.base import wait
from runbook_lib.base.locations import lab_directory, repository_root
from runbook_lib.lab.build.binaries import Progress, ensure_build, missing
from runbook_lib.lab.build.nftables import fetch_nft, find_nft
from runbook_lib.lab.build.recipes import BASE
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.limits import require_inotify
from runbook_lib.lab.foundation.process import MARK
from runbook_lib.lab.foundation.state import State, alive, marked_processes, read_state
from runbook_lib.lab.network.probe import require_namespaces

UP_TIMEOUT = 180.0
DOWN_TIMEOUT = 30.0
BEHIND = "runbook_lib.lab.build.behind"
GATE = "runbook_lib.lab.network.gate"
SUPERVISOR = "runbook_lib.lab.supervision.supervisor"


def up(
    name: str,
    *,
    building: Progress,
    doing: Callable[[str], None],
    application: Path | None = None,
    keep_connections: bool = False,
    audit: bool = False,
) -> State:
    """Return a running lab, starting it if it is not there.

    Args:
        name: Which lab.
        building: Told of the build's progress.
        doing: Told of each phase.
        application: Manifest of what a new lab runs; XNAT unless it is given.
        keep_connections: Whether the edge uses connections again, as a real load balancer does.
        audit: Whether a new lab's API server writes an audit log.

    Raises:
        LabError: the name is unusable, the machine does not let a lab run, the build failed, or
            the lab did not become ready.
    """
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", name):
        raise LabError(
            f"{name!r} is no name for a lab",
            remedy="use up to 32 lower-case letters, digits and '-', such as 'default'",
        )
    folder = lab_directory(name)
    with _turn(folder, doing):
        state = read_state(name)
        if state and state.state == "ready" and alive(state):
            return state
        nft = _require_machine(doing)
        _clear(name)  # what is left of it holds inotify instances, too
        require_inotify()
        folder.mkdir(parents=True, mode=0o700)
        (folder / "logs").mkdir()
        options = [f"--name={name}", f"--nft={nft}"]
        options += [f"--application={application.resolve()}"] if application else []
        options += ["--keep-connections"] if keep_connections else []
        options += ["--audit"] if audit else []
        try:
            if missing():
                _detach(folder, "compiling", BEHIND, name)
                ensure_build(building, (BASE,))
            return _start(name, folder, options, doing)
        except BaseException:
            # Not even ^C leaves half a lab behind; its logs stay.
            _end_processes(name)
            raise


def _require_machine(doing: Callable[[str], None]) -> Path:
    """Check that a lab can run here, before anything is built for it; returns the program nft."""
    nft = find_nft()
    require_namespaces(nft)
    if nft is None:
        doing("fetching nftables")
        nft = fetch_nft()
        require_namespaces(nft)
    return nft


def _start(name: str, folder: Path, options: list[str], doing: Callable[[str], None]) -> State:
    reading, writing = os.pipe()
    supervisor = (sys.executable, "-m", SUPERVISOR, *options, str(writing))
    log = _detach(folder, "supervisor", GATE, *supervisor, pass_fds=[writing])
    os.close(writing)
    try:
        _follow(reading, doing)
    except LabError as error:
        if str(error):
            raise
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(f"the lab's supervisor ended unexpectedly:\n{tail}") from None
    finally:
        os.close(reading)
    state = read_state(name)
    if state is None:
        raise LabError("the lab reported ready but left no state file")
    return state


def _detach(
    folder: Path, log: str, module: str, *arguments: str, pass_fds: Sequence[int] = ()
) -> Path:
    """Start a module as a process of the lab's; returns its log.

    In a session of its own and nobody's child: it outlives this command by intent.
    """
    path = folder / "logs" / f"{log}.log"
    with path.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", sys.executable, "-m", module, *arguments],
            cwd=folder,
            env={**os.environ, MARK: str(folder), "PYTHONPATH": str(repository_root())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            check=True,
        )
    return path


def _follow(reading: int, doing: Callable[[str], None]) -> None:
    """Read the supervisor's report until it says ready."""
    deadline = time.monotonic() + UP_TIMEOUT
    pending, last = b"", "starting"
    while True:
        readable, _, _ = select.select([reading], [], [], max(0, deadline - time.monotonic()))
        if not readable:
            raise LabError(f"the lab was not ready after {UP_TIMEOUT:.0f} s; it was {last}")
        data = os.read(reading, 4096)
        if not data:
            raise LabError("")
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "error" in message:
                raise LabError(message["error"], remedy=message.get("remedy", ""))
            if "ready" in message:
                return
            last = message["doing"]
            doing(last)


def down(name: str) -> bool:
    """Stop everything that belongs to the lab and nothing else, however it was left.

    Returns:
        Whether there was anything to stop. Logs stay until the lab is started again.
    """
    folder = lab_directory(name)
    if not folder.is_dir():
        return False
    # No turn is taken: `down` must work while an `up` hangs.
    stopped = _end_processes(name)
    for entry in folder.iterdir():
        if entry.name != "logs":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return stopped


def _end_processes(name: str) -> bool:
    processes = list(marked_processes(name))
    for process in processes:
        if _arguments(process)[1:3] == ["-m", SUPERVISOR]:
            process.send_signal(signal.SIGTERM)
            psutil.wait_procs([process], timeout=DOWN_TIMEOUT)
    for process in marked_processes(name):
        with suppress(psutil.NoSuchProcess):
            process.kill()

    # Whether one is still a zombie is up to the machine's first process.
    def observe() -> wait.State:
        left = [str(process.pid) for process in marked_processes(name)]
        return wait.State(not left, f"still running: {', '.join(left)}")

    wait.until(f"the end of lab {name}", observe, timeout=DOWN_TIMEOUT, interval=0.05)
    return bool(processes)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _clear(name: str) -> None:
    _end_processes(name)
    shutil.rmtree(lab_directory(name), ignore_errors=True)


@contextmanager
def _turn(folder: Path, doing: Callable[[str], None]) -> Iterator[None]:
    """Let one `up` of a lab at a time go on; the next then finds it running."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            doing("waiting for another start of the same lab")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
