"""Signals that end a run: as Ctrl-C does, so that each leaves every artefact whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals
from types import FrameType
from typing import NoReturn

_ENDING = (Signals.SIGTERM, Signals.SIGHUP)
"""From a pipeline that gives up, and from a terminal or a connection that is gone."""


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C's ends the run.

    Attributes:
        sent: The signal.
    """

    def __init__(self, sent: Signals = Signals.SIGTERM) -> None:
        super().__init__()
        self.sent = sent


def handle() -> None:
    """Have SIGTERM and SIGHUP raise `Terminated`; one that is ignored, as by nohup, stays so."""
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        if number == Signals.SIGHUP:
            _silence(terminals)
        raise Terminated(Signals(number))

    for each in _ENDING:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, end)


@contextmanager
def ignored() -> Iterator[None]:
    """Let nothing but SIGKILL end the block: it takes a moment, and writes what is to be whole."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (Signals.SIGINT, *_ENDING)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _silence(terminals: list[int]) -> None:
    """Let what is written to a terminal that is gone go nowhere: it would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in terminals:
        os.dup2(nowhere, stream)
    os.close(nowhere)
