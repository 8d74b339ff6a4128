"""Keep asking from outside while something is changed, to know whether a user would notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from runbook_lib.site.probe import Observed, Probe, ProbeRow, send

INTERVAL = 0.1
"""Seconds between two requests: shorter outages may be missed."""

_MOST = 36_000
"""Samples kept at most, an hour's worth: the thread ends by itself if it is not ended."""


@dataclass(frozen=True)
class Sample:
    """One request.

    Attributes:
        at: When it was sent, in seconds of a monotonic clock.
        until: When its answer was there.
        ok: Whether it was the expected answer.
        text: The answer in a few words.
    """

    at: float
    until: float
    ok: bool
    text: str


@dataclass(frozen=True)
class Samples:
    """What was answered meanwhile, oldest first."""

    all: tuple[Sample, ...]

    @property
    def failed(self) -> tuple[Sample, ...]:
        """Those that were not answered as expected."""
        return tuple(sample for sample in self.all if not sample.ok)

    @property
    def down_before(self) -> bool:
        """Whether the first request, sent before anything was changed, failed already."""
        return bool(self.all) and not self.all[0].ok

    @property
    def outage(self) -> float:
        """Seconds of the longest time without an expected answer; 0 if none failed.

        It is measured between the expected answers on both sides of it, so it is rather too long.
        """
        longest, last_good = 0.0, self.all[0].at if self.all else 0.0
        failing = False
        for sample in self.all:
            if sample.ok:
                if failing:
                    longest = max(longest, sample.until - last_good)
                last_good, failing = sample.at, False
            else:
                failing = True
                longest = max(longest, sample.until - last_good)
        return longest

    @property
    def text(self) -> str:
        """The result in words, such as `3 of 120 requests failed (503), for at most 0.4 s`."""
        if not self.failed:
            return f"{len(self.all)} requests, none failed"
        answers = ", ".join(dict.fromkeys(sample.text for sample in self.failed))
        return (
            f"{len(self.failed)} of {len(self.all)} requests failed ({answers}), "
            f"for at most {self.outage:.1f} s on end"
        )


class Sampler:
    """Sends one probe again and again, each over a connection of its own, from a thread.

    Used as a context manager: one request has been answered before the block begins, and another
    one that began in it when it has ended.
    """

    def __init__(
        self,
        url: str,
        probe: Probe,
        *,
        timeout: float,
        verify: bool | Path = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: The application from outside, without a path.
            probe: What to ask, and the answer expected; of a method that changes nothing.
            timeout: Seconds for one request; one that takes longer has failed.
            verify: As for `probe.send`.
            clock: Monotonic seconds.
        """
        self.probe = probe
        self._url = url
        self._timeout = timeout
        self._verify = verify
        self._clock = clock
        self._samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    @property
    def samples(self) -> Samples:
        """What was answered so far."""
        return Samples(tuple(self._samples))

    def __enter__(self) -> Sampler:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        # A request that hangs ends at its time limit.
        self._thread.join(self._timeout * 2)
        self._sample()

    def _run(self) -> None:
        while len(self._samples) < _MOST and not self._ended.wait(INTERVAL):
            self._sample()

    def _sample(self) -> None:
        started = self._clock()
        answer: Observed = send(self._url, self.probe, timeout=self._timeout, verify=self._verify)
        row = ProbeRow(self.probe, answer)
        self._samples.append(Sample(started, self._clock(), row.ok, answer.text))
