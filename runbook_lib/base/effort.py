"""Count what this process makes others do: programs, API requests, bytes shown, CPU time.

Times differ from machine to machine and from run to run; these counts hardly do.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["start", "look", "plan", "gate", "apply", "verify"]
"""What the effort was for: the kernel's own start, a cell that only looks, or a part of a step."""


@dataclass(frozen=True)
class Effort:
    """What one phase took.

    Attributes:
        phase: Which.
        step: The step's name; empty if it was for none.
        seconds: Wall clock.
        cpu_seconds: CPU time of this process and of the programs that ended meanwhile.
        requests: How many requests were sent to the API server, without those of programs.
        processes: Which programs were started, and how often.
        shown_bytes: Size of what was sent to the front end, as JSON.
    """

    phase: Phase
    step: str
    seconds: float
    cpu_seconds: float
    requests: int
    processes: dict[str, int]
    shown_bytes: int


class Meter:
    """Counts from one look at it to the next; threads may count at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: list[Effort] = []
        self._cpu = 0.0
        self._began = time.monotonic()
        self._clear()

    def started(self, program: str) -> None:
        """Count a program that is started."""
        with self._lock:
            self._programs[Path(program).name] += 1

    def asked(self) -> None:
        """Count a request to the API server."""
        with self._lock:
            self._requests += 1

    def showed(self, size: int) -> None:
        """Count bytes that are sent to the front end."""
        with self._lock:
            self._bytes += size

    def begin(self) -> None:
        """Count from here on; what was not taken is forgotten."""
        self._parts = []
        self._take("look", "")

    @contextmanager
    def phase(self, phase: Phase, step: str) -> Iterator[None]:
        """Count what happens within the block for a part of a step."""
        self._keep("look", "")
        try:
            yield
        finally:
            self._keep(phase, step)

    def parts(self, rest: Phase = "look") -> tuple[Effort, ...]:
        """Return what was counted, part by part, and begin anew.

        Args:
            rest: What it was for if it was for no step. What came after a part of a step, such as
                showing its result, counts as that part.
        """
        last = self._take(rest, "")
        parts, self._parts = self._parts, []
        if not parts:
            return (last,)
        return (*parts[:-1], _sum(parts[-1], last))

    def _keep(self, phase: Phase, step: str) -> None:
        part = self._take(phase, step)
        if step or part.requests or part.processes:
            self._parts.append(part)

    def _take(self, phase: Phase, step: str) -> Effort:
        now, cpu = time.monotonic(), sum(os.times()[:4])
        with self._lock:
            found = Effort(
                phase,
                step,
                round(now - self._began, 3),
                round(cpu - self._cpu, 3),
                self._requests,
                dict(self._programs),
                self._bytes,
            )
            self._began, self._cpu = now, cpu
            self._clear()
        return found

    def _clear(self) -> None:
        self._programs: Counter[str] = Counter()
        self._requests = self._bytes = 0


def _sum(part: Effort, rest: Effort) -> Effort:
    return Effort(
        part.phase,
        part.step,
        round(part.seconds + rest.seconds, 3),
        round(part.cpu_seconds + rest.cpu_seconds, 3),
        part.requests + rest.requests,
        dict(Counter(part.processes) + Counter(rest.processes)),
        part.shown_bytes + rest.shown_bytes,
    )


METER = Meter()
"""This process's."""
