"""A supervised process: started, awaited until healthy, restarted when it exits, stopped.

Starting has three outcomes: healthy, exited (exit code and last log lines in the error) and
timed out (what it was waiting for). Every process carries the lab's mark in its environment and
dies with its supervisor, so nothing outlives a lab.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runbook_lib.lab.foundation.errors import LabError

MARK = "ISTIO_RUNBOOK_LAB"
"""Environment variable that names the lab's folder in every process that belongs to it."""

STOP_GRACE = 5.0
TAIL_LINES = 15

# setpriv (util-linux) asks the kernel to kill the process when its parent dies, even by kill -9.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")

_AGAIN = "---"
"""Begins the lines that the lab adds to a log."""

Check = Callable[[], Awaitable[str | None]]
"""Returns None when healthy, else in words what is still missing."""


@dataclass(frozen=True)
class Launch:
    """A command line with its environment, ready for a process.

    Attributes:
        argv: Program and arguments.
        env: The whole environment.
        user: Id under which it runs, for programs that refuse to be root. On the machine it is
            the lab's own user as ever.
    """

    argv: Sequence[str | Path]
    env: dict[str, str] = field(default_factory=dict)
    user: int = 0


class Process:
    """One child process and its log.

    Args:
        name: What people call it; also in errors.
        argv: The command line.
        log: File that receives both output streams, appended.
        env: The whole environment, apart from the lab's mark.
        folder: Working directory.
        mark: Value of the mark: the lab's folder.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        mark: str,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.log = log
        self.env = {**(env if env is not None else os.environ), MARK: mark}
        self.folder = folder
        self._child: asyncio.subprocess.Process | None = None
        self._ends = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid if self._child and self._child.returncode is None else None

    async def start(self) -> None:
        """Start it; returns at once.

        Raises:
            LabError: the program could not be started.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            await self._spawn(log)

    async def _spawn(self, output: object) -> None:
        try:
            self._child = await asyncio.create_subprocess_exec(
                *DIE_WITH_PARENT,
                *self.argv,
                env=self.env,
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,  # type: ignore[arg-type]
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise LabError(
                f"{self.name} could not be started: {error}",
                remedy="the lab needs setpriv (Debian package util-linux) and its own build",
            ) from error

    async def wait(self) -> int:
        """Wait until it ends; returns its exit code, negative for a signal."""
        assert self._child is not None, "started before"
        return await self._child.wait()

    async def until_healthy(self, check: Check, timeout: float) -> None:
        """Wait until `check` finds nothing missing.

        Raises:
            LabError: it exited or the time ran out; says which, and what was missing.
        """
        gone = asyncio.create_task(self.wait())
        healthy = asyncio.create_task(_poll(check))
        done, _ = await asyncio.wait(
            {gone, healthy}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (gone, healthy):
            task.cancel()
        if healthy in done:
            healthy.result()
        elif gone in done:
            raise LabError(
                f"{self.name} exited with code {gone.result()}; its last lines:\n{self.tail()}"
            )
        else:
            missing = await check() or "it became healthy at the last moment"
            raise LabError(
                f"{self.name} was not healthy after {timeout:.0f} s: {missing}; "
                f"its last lines:\n{self.tail()}"
            )

    async def keep(self, delay: float) -> None:
        """Start it again whenever it ends, `delay` seconds later; never returns."""
        while True:
            code = await self.wait()
            self._ends += 1
            self.note(f"exited with code {code}; starting again")
            await asyncio.sleep(delay)
            await self.start()

    def note(self, what: str) -> None:
        """Add a line of the lab's own to the log."""
        with self.log.open("a") as log:
            log.write(f"{_AGAIN} {what}\n")

    def troubles(self) -> str:
        """Say how often it has ended, and its last words; empty if it never did."""
        if not self._ends:
            return ""
        said = [line for line in self._lines() if line.strip() and not line.startswith(_AGAIN)]
        last = said[-1].strip() if said else "nothing"
        return f"{self.name} keeps ending ({self._ends} so far), the last time with: {last}"

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """Ask it to end, then kill it and whatever it started."""
        child = self._child
        if child is None:
            return
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(child.wait(), grace)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()

    def tail(self) -> str:
        """The last lines of the log, indented."""
        return "\n".join(f"  {line}" for line in self._lines()[-TAIL_LINES:]) or "  (empty log)"

    def _lines(self) -> list[str]:
        try:
            return self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ["(no log)"]


async def _poll(check: Check, interval: float = 0.05) -> None:
    while await check():
        await asyncio.sleep(interval)


class ContainerProcess(Process):
    """A process whose output is kept in the format of container runtimes, for `kubectl logs`."""

    async def start(self) -> None:
        """Start it, keeping the log of the run before as `*.previous.log`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():  # from the run before
            self.log.rename(self.log.with_suffix(".previous.log"))
        self.log.touch(mode=0o600)
        await self._spawn(asyncio.subprocess.PIPE)
        self._copy = asyncio.create_task(self._copy_output())

    async def wait(self) -> int:
        """Wait until it ends and all it said is in the log."""
        code = await super().wait()
        # Something it started may keep the stream open; its own last words are there by now.
        await asyncio.wait({self._copy}, timeout=1)
        return code

    def note(self, what: str) -> None:
        """Add a line of the lab's own to the log."""
        with self.log.open("ab") as file:
            file.write(_formatted(what.encode()))

    async def _copy_output(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        pending = b""
        with self.log.open("ab", buffering=0) as file:
            while data := await self._child.stdout.read(1 << 16):
                *lines, pending = (pending + data).split(b"\n")
                file.write(b"".join(_formatted(line) for line in lines))
            if pending:
                file.write(_formatted(pending))


def _formatted(line: bytes) -> bytes:
    stamp = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{stamp} stdout F ".encode() + line + b"\n"
