"""Every kind of event that a run records, as it stands in the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from runbook_lib.base import Event, effort
from runbook_lib.lifecycle.before import Before
from runbook_lib.lifecycle.interruption import Interruption
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.plan import Action
from runbook_lib.lifecycle.table import Table

Phase = Literal["plan", "apply", "verify"]


@dataclass(frozen=True)
class NotebookStarted(Event, name="notebook-started"):
    """A notebook was opened, and its cluster pinned; fields as in `Target` and `Parameters`."""

    target: str
    kind: str
    server: str
    context: str
    uid: str
    url: str
    story: str
    mode: str


@dataclass(frozen=True)
class PlannedChange:
    """One change of a plan as it was shown; fields as in `Change`."""

    ref: str
    action: Action
    text: str
    makes: str = ""

    @property
    def lasts(self) -> bool:
        """As in `Change`."""
        return self.action != "run"

    def __str__(self) -> str:
        """The change in a few words, such as `create Namespace xnat`."""
        return f"{self.action} {self.ref}"


@dataclass(frozen=True)
class StepPlanned(Event, name="step-planned"):
    """A plan was shown.

    Attributes:
        digest: The plan's.
        summary: The plan in a line.
        changes: What it would change.
        unpredictable: What cannot be known before it is done, and why.
        plan_only: Whether nothing more was asked for.
        interruptions: What users lose meanwhile.
        fallback: What happens if it is not verified.
    """

    digest: str
    summary: str
    changes: tuple[PlannedChange, ...] = ()
    unpredictable: tuple[str, ...] = ()
    plan_only: bool = False
    interruptions: tuple[Interruption, ...] = ()
    fallback: str = ""


@dataclass(frozen=True)
class StepApproved(Event, name="step-approved"):
    """The plan with this digest was approved: by whom, how, and when."""

    digest: str
    by: str
    how: str
    approved_at: datetime


@dataclass(frozen=True)
class StepSkipped(Event, name="step-skipped"):
    """The plan with this digest is left out: by whose decision, and when it was made."""

    digest: str
    by: str
    decided_at: datetime


@dataclass(frozen=True)
class Stopped(Event, name="stopped"):
    """At this step's gate everything was stopped: by whom, and when."""

    digest: str
    by: str
    decided_at: datetime


@dataclass(frozen=True)
class ApprovalVoid(Event, name="approval-void"):
    """A decision about an earlier plan does not hold for the one with this digest.

    Attributes:
        digest: Of the new plan.
        earlier: The decision in words.
    """

    digest: str
    earlier: str


@dataclass(frozen=True)
class StepApplying(Event, name="step-applying"):
    """The changes of the plan with this digest begin now.

    Attributes:
        digest: The plan's.
        before: Where it can go back to; None if it cannot.
    """

    digest: str
    before: Before | None = None


@dataclass(frozen=True)
class StepApplied(Event, name="step-applied"):
    """The changes were made, and the cluster has taken them up.

    Attributes:
        digest: The plan's.
        changed: What was changed, in words; empty if there was nothing to do.
        seconds: How long it took.
    """

    digest: str
    changed: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class StepVerified(Event, name="step-verified"):
    """The step's effect was proved.

    Attributes:
        seconds: How long it took.
        tables: What was seen.
        note: What else to know.
    """

    seconds: float
    tables: tuple[Table, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class StepFailed(Event, name="step-failed"):
    """A step did not come further.

    Attributes:
        outcome: What that makes of it.
        phase: In which part of its life.
        error: The error's class.
        cause: What it says.
        remedy: What to do about it; may be empty.
    """

    outcome: StepOutcome
    phase: Phase
    error: str
    cause: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class StepTakenBack(Event, name="step-taken-back"):
    """What a step had changed is as it was before, and that was proved.

    Attributes:
        objects: What was taken back, in words.
        tables: What was seen.
    """

    objects: tuple[str, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class StepLeft(Event, name="step-left"):
    """What a step that failed has changed was not taken back.

    Attributes:
        reason: Why not.
        command: What does it by hand, in a shell; empty if all is as it was, and the site is not.
    """

    reason: str
    command: str


@dataclass(frozen=True)
class Waiting(Event, name="waiting"):
    """What is waited for is in this state now."""

    state: str


@dataclass(frozen=True)
class Spent(Event, name="spent"):
    """What a cell, or a step's phase in it, has taken; fields as in `Effort`."""

    phase: effort.Phase
    seconds: float
    cpu_seconds: float
    requests: int
    processes: dict[str, int]
    shown_bytes: int


@dataclass(frozen=True)
class ByHand(Event, name="by-hand"):
    """A step goes on once a person has done something.

    Attributes:
        what: The command, or what else it takes.
    """

    what: str


@dataclass(frozen=True)
class Answered:
    """What one request was answered from outside.

    Attributes:
        method: The request's method.
        path: Its path.
        status: HTTP status; None if there was no answer.
        detail: Start of the answer's body, or why there was none.
        expected: The answer that the policies in force imply, in words.
        ok: Whether it is that answer.
    """

    method: str
    path: str
    status: int | None
    detail: str
    expected: str
    ok: bool


@dataclass(frozen=True)
class Probed(Event, name="probe"):
    """All requests were sent once.

    Attributes:
        url: Where to.
        answers: One for each request.
        proved: Whether they were right several times in a row.
    """

    url: str
    answers: tuple[Answered, ...]
    proved: bool


@dataclass(frozen=True)
class CallAnswered:
    """What one pod was answered by another.

    Attributes:
        sidecar: Whether the caller had a sidecar.
        target: The workload that was called, by name.
        port: The container's port.
        let_in: Whether it got an answer of the application's own.
        mutual_tls: Whether that went by mutual TLS; None if that is not known.
        text: The answer in a few words.
    """

    sidecar: bool
    target: str
    port: int | None
    let_in: bool
    mutual_tls: bool | None
    text: str


@dataclass(frozen=True)
class PodsAsked(Event, name="pods-asked"):
    """Pods called pods, and the answers were the same several times in a row.

    Attributes:
        state: Identifies the pods and policies at that time.
        answers: One for each call.
    """

    state: str
    answers: tuple[CallAnswered, ...]


@dataclass(frozen=True)
class Sampled(Event, name="sampled"):
    """One request was sent again and again while a step was applied.

    Attributes:
        url: Where to.
        method: The request's method.
        path: Its path.
        requests: How many were sent.
        failed: How many were not answered as expected.
        outage_seconds: The longest time without an expected answer.
        expected: Why requests had to fail; empty if none might.
        text: The result in words.
    """

    url: str
    method: str
    path: str
    requests: int
    failed: int
    outage_seconds: float
    expected: str
    text: str


@dataclass(frozen=True)
class TokenShown(Event, name="token-shown"):
    """A token was made for somebody to log in with; it is in no record.

    Attributes:
        account: Whose token.
        minutes: How long it holds.
        by: Who asked for it.
    """

    account: str
    minutes: int
    by: str
