"""A step: one change that is planned, approved, applied and proved on its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from runbook_lib.lifecycle.before import Before
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.exports import Exports
from runbook_lib.lifecycle.finding import Finding, refusals
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.table import Table


@dataclass(frozen=True)
class Verification:
    """What was looked at to prove a step.

    Attributes:
        step: The step's name.
        tables: What was seen, next to what was expected.
        note: What else a reader should know.
    """

    step: str
    tables: tuple[Table, ...] = ()
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything that counts is as it should be."""
        return all(table.ok for table in self.tables if table.counts)

    def __str__(self) -> str:
        """The tables, and a line that says what they prove."""
        return "\n\n".join([*map(str, self.tables), self.headline])

    @property
    def headline(self) -> str:
        """The result in a line."""
        verdict = "Verified." if self.ok else "NOT verified."
        return f"{verdict} {self.note}".strip() if self.tables else self.note


class Subject(Protocol):
    """What a person decides about at a gate: a step, or several that are approved as one.

    Attributes:
        name: Identifies it in plans, approvals and evidence.
        title: What it does, for people.
        why: Why it is done.
        takes: How long it takes, in words.
        risk: What could go wrong, and for whom.
        undo: How it is taken back.
    """

    name: str
    title: str
    why: str
    takes: str
    risk: str
    undo: str


class Step(ABC):
    """One change to the cluster.

    Attributes:
        name, title, why, takes, risk, undo: As in `Subject`.
        interim: Whether users are cut off from something until a later step of the same notebook:
            if that one fails, this one is taken back with it.
    """

    interim = False

    name: str
    title: str
    why: str
    takes: str
    risk: str
    undo: str

    def obstacles(self, context: Context) -> Iterable[Finding]:
        """Find what is in the way of this step, without changing anything.

        Every step can be asked before the first one changes something. `plan` refuses with the same
        words. A step that knows of several obstacles, or of mere notes, yields them all; otherwise
        they are what its plan refuses.
        """
        return refusals(lambda: self.plan(context))

    @abstractmethod
    def plan(self, context: Context) -> Plan:
        """Find out what would change, without changing anything.

        Raises:
            Refused: Something is in the way; nothing of the kind appears once it is applied.
        """

    def drift(self, context: Context) -> tuple[Change, ...]:
        """Find out what is not as this step leaves it, without changing anything.

        What a plan would change is that; a step overrides it where its plan overlooks something.

        Raises:
            RunbookError: It cannot be told.
        """
        return self.plan(context).lasting

    @abstractmethod
    def apply(self, context: Context, plan: Plan) -> None:
        """Make the changes of `plan` and wait until the cluster has taken them up."""

    @abstractmethod
    def verify(self, context: Context) -> Verification:
        """Prove the effect on the live cluster.

        Raises:
            VerificationFailed: It could not be proved in time.
        """

    def exports(self, context: Context) -> Exports:
        """Return what the step leaves in the cluster, for those who keep it in Git.

        It does not depend on whether the step has been taken, nor on what was found before.

        Raises:
            Refused: What it would leave cannot be known.
        """
        del context
        return Exports()


class Revertible(Step):
    """A step that can put back what it has changed; all it needs for that is in the evidence."""

    @abstractmethod
    def before(self, context: Context, plan: Plan) -> Before:
        """Return what `plan` is about to change, as it is now."""

    @abstractmethod
    def refuse_changed(self, context: Context, before: Before) -> None:
        """Look whether all of it is as this step made it, or as it was.

        Raises:
            RunbookError: It is not: others changed it since.
        """

    @abstractmethod
    def restore(self, context: Context, before: Before) -> None:
        """Put it back; what is so already stays.

        Raises:
            RunbookError: Others changed it at this very moment, and it stays as it is.
        """

    @abstractmethod
    def verify_restored(self, context: Context, before: Before) -> Verification:
        """Prove that it is as it was.

        Raises:
            RunbookError: It could not be proved in time.
        """
