"""What the exit codes of the command line mean. They are fixed: scripts rely on them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    NOT_APPROVED = 3
    REFUSED = 4
    TAKEN_BACK = 5
    DRIFT = 6
    PENDING = 7
    INTERRUPTED = 8
    BUSY = 9
    EVIDENCE = 10
    SIGHUP = 129
    SIGINT = 130
    SIGTERM = 143

    @property
    def meaning(self) -> str:
        """What it says about a run."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done: every step verified, or planned with plan",
    ExitCode.FAILED: "failed",
    ExitCode.BAD_INPUT: "bad input: nothing was touched",
    ExitCode.NOT_APPROVED: "not approved",
    ExitCode.REFUSED: "refused before the first change",
    ExitCode.TAKEN_BACK: "failed and taken back: all that failed is as it was before",
    ExitCode.DRIFT: "drift: a step does not hold any more, with verify",
    ExitCode.PENDING: "changes pending, with plan --detailed-exitcode",
    ExitCode.INTERRUPTED: "interrupted in mid-change: the state is unknown, run again",
    ExitCode.BUSY: "another run is at work on this cluster: nothing was changed, try later",
    ExitCode.EVIDENCE: "the evidence is not whole, with report --check",
    ExitCode.SIGHUP: "ended by SIGHUP: the terminal or the connection is gone",
    ExitCode.SIGINT: "ended by Ctrl-C (SIGINT)",
    ExitCode.SIGTERM: "ended by SIGTERM",
}
