"""What came of a step: the one list of words for it."""

from __future__ import annotations

from enum import StrEnum


class StepOutcome(StrEnum):
    """How far a step came.

    `REFUSED` and `NOT_APPROVED` changed nothing; `FAILED` may have changed something.
    `INTERRUPTED` means that its change began and nothing says how it ended: the kernel died, or is
    still at it. `APPLIED` was changed, and its effect was not proved. `TAKEN_BACK` failed, or a
    step that had to follow it did, and what it had changed was proved to be as before.
    """

    NOT_RUN = "not run"
    PLANNED = "planned"
    SKIPPED = "skipped"
    NOT_APPROVED = "not approved"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    APPLIED = "applied"
    VERIFIED = "verified"
    FAILED = "failed"
    TAKEN_BACK = "taken back"

    @property
    def sign(self) -> str:
        """One character that repeats the word."""
        return _SIGNS[self]

    @property
    def text(self) -> str:
        """The word, and what to know where it does not say everything."""
        return _TEXTS.get(self, str(self))

    @property
    def stopped(self) -> bool:
        """Whether steps that build on this one cannot go on."""
        return self in (
            StepOutcome.REFUSED,
            StepOutcome.INTERRUPTED,
            StepOutcome.FAILED,
            StepOutcome.TAKEN_BACK,
        )

    @property
    def unproved(self) -> bool:
        """Whether something was changed, or may have been, and what it does is unknown."""
        return self in (StepOutcome.INTERRUPTED, StepOutcome.APPLIED)


_SIGNS = {
    StepOutcome.NOT_RUN: "-",
    StepOutcome.PLANNED: "○",
    StepOutcome.SKIPPED: "↷",
    StepOutcome.NOT_APPROVED: "!",
    StepOutcome.REFUSED: "!",
    StepOutcome.INTERRUPTED: "?",
    StepOutcome.APPLIED: "●",
    StepOutcome.VERIFIED: "✓",
    StepOutcome.FAILED: "✗",
    StepOutcome.TAKEN_BACK: "↶",
}

_TEXTS = {
    StepOutcome.INTERRUPTED: "interrupted while applying: state unknown, run again",
    StepOutcome.APPLIED: "applied, not verified",
    StepOutcome.TAKEN_BACK: "taken back after a failure: all is as before",
}
