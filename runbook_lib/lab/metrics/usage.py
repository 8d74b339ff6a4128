"""What containers use, measured at their real processes."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil

INTERVAL = 1.0
WINDOW = 5.0
"""Seconds over which CPU time becomes a rate; a metrics server of a cluster takes some 15."""


class Usage(NamedTuple):
    """What a container used.

    Attributes:
        cpu: Cores, on average over the window.
        memory: Resident bytes at its end.
        at: The end of the window, in UTC.
        window: Its length in seconds.
    """

    cpu: float
    memory: int
    at: dt.datetime
    window: float


class _Sample(NamedTuple):
    moment: float
    seconds: float
    """CPU time of the container since its start."""
    memory: int
    at: dt.datetime


@dataclass
class _History:
    pid: int
    samples: deque[_Sample] = field(
        default_factory=lambda: deque(maxlen=round(WINDOW / INTERVAL) + 1)
    )


class Meter:
    """Samples the processes of containers, and whatever those have started.

    Args:
        processes: Returns the process id of each container, by a label of its own.
    """

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes
        self._histories: dict[str, _History] = {}

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            # Reading /proc takes milliseconds, which the event loop has better uses for.
            self.sample(await asyncio.to_thread(_children))
            await asyncio.sleep(INTERVAL)

    def sample(self, children: Mapping[int, list[psutil.Process]]) -> None:
        """Take one sample of every container.

        Args:
            children: The processes of the machine by their parent's id.
        """
        running = self._processes()
        for label in self._histories.keys() - running.keys():
            del self._histories[label]
        for label, pid in running.items():
            history = self._histories.get(label)
            if history is None or history.pid != pid:  # it was started again
                history = self._histories[label] = _History(pid)
            seconds, memory = _totals(pid, children)
            history.samples.append(
                _Sample(time.monotonic(), seconds, memory, dt.datetime.now(dt.UTC))
            )

    def usage(self, label: str) -> Usage | None:
        """What a container used over the last window; None until it has run for one."""
        history = self._histories.get(label)
        if history is None or len(history.samples) < (history.samples.maxlen or 0):
            return None
        first, last = history.samples[0], history.samples[-1]
        window = last.moment - first.moment
        # Less than before when a process that another one started has ended.
        cpu = max(0.0, last.seconds - first.seconds) / window
        return Usage(cpu, last.memory, last.at, window)


def _children() -> dict[int, list[psutil.Process]]:
    found: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter(["ppid"]):
        found[process.info["ppid"]].append(process)
    return found


def _family(
    process: psutil.Process, children: Mapping[int, list[psutil.Process]]
) -> Iterator[psutil.Process]:
    yield process
    for child in children.get(process.pid, []):
        yield from _family(child, children)


def _totals(pid: int, children: Mapping[int, list[psutil.Process]]) -> tuple[float, int]:
    """CPU seconds and resident bytes of a process and of those that it started."""
    seconds, memory = 0.0, 0
    try:
        family = list(_family(psutil.Process(pid), children))
    except psutil.NoSuchProcess:
        return seconds, memory
    for process in family:
        try:
            times = process.cpu_times()
            memory += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds, memory
