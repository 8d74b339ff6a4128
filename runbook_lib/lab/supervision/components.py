"""The processes of the node itself: started in order, kept running, stopped in reverse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from runbook_lib.lab.foundation.process import Check, Process

START_TIMEOUT = 60.0
RESTART_DELAY = 1.0


class Components:
    """Processes by their names.

    Args:
        folder: The lab's; they run in it, and log below it.
        path: Folders of programs that they look up by name, before the usual ones.
    """

    def __init__(self, folder: Path, path: Sequence[Path]) -> None:
        self._folder, self._path = folder, path
        self._processes: dict[str, Process] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def start(
        self, name: str, argv: Sequence[str | Path], check: Check | None = None
    ) -> None:
        """Start one, wait until it is healthy if that can be told, and keep it running.

        Raises:
            LabError: it ended, or was not healthy in time.
        """
        process = Process(
            name,
            argv,
            log=self._folder / "logs" / f"{name}.log",
            mark=str(self._folder),
            env=self._environment(),
            folder=self._folder,
        )
        await process.start()
        self._processes[name] = process
        if check:
            await process.until_healthy(check, START_TIMEOUT)
        self._keepers.append(asyncio.create_task(process.keep(RESTART_DELAY)))

    async def until_healthy(self, name: str, check: Check) -> None:
        """Wait for something that a component makes possible.

        Raises:
            LabError: it ended, or the time ran out.
        """
        await self._processes[name].until_healthy(check, START_TIMEOUT)

    def troubles(self) -> list[str]:
        """What keeps ending, in words."""
        return [said for each in self._processes.values() if (said := each.troubles())]

    async def stop(self) -> None:
        """Stop all of them."""
        for task in self._keepers:
            task.cancel()
        # In reverse: clients before the servers they would complain about.
        for process in reversed(self._processes.values()):
            await process.stop()

    def _environment(self) -> dict[str, str]:
        """What components see: nothing of the user's proxies, credentials or kubeconfigs."""
        return {
            "PATH": ":".join([*map(str, self._path), "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            # Collect garbage earlier than Go's 100: a lab should fit on a laptop. Whoever has
            # memory to spare, and no time, sets another.
            "GOGC": os.environ.get("GOGC", "30"),
        }
