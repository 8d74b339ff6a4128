"""Ask from pod to pod what the policies do: by callers that are made for it, and removed again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from runbook_lib.base import (
    RunbookError,
    VerificationFailed,
    WaitTimeout,
    wait,
)
from runbook_lib.chapters.policies import askable
from runbook_lib.cluster import (
    Object,
)
from runbook_lib.lifecycle import (
    CallAnswered,
    Context,
    Finding,
    Plan,
    PodsAsked,
    Row,
    Step,
    Table,
    Verification,
)
from runbook_lib.mesh import callers as mesh_callers
from runbook_lib.mesh.callers import (
    Answer,
    Asker,
    Endpoint,
    Expected,
    Outcome,
    Question,
    Speaks,
    job,
)
from runbook_lib.mesh.ends import Ends
from runbook_lib.parameters import Parameters

_IN_A_ROW = 3
_WAY_ON = (
    "mend that; or leave asking from pod to pod out, and unproved: application.ask_from_pods: false"
)


@dataclass(frozen=True)
class Exchange:
    """A question, and what is to come of it.

    Attributes:
        question: The question.
        expected: By the runbook's policies in force; None if the runbook does not speak with the
            server.
        answer: What came of it; None if it was not asked.
    """

    question: Question
    expected: Expected | None
    answer: Answer | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the answer is as expected; None if it proves nothing either way."""
        if self.expected is None or self.answer is None:
            return None
        return self.expected.met(self.answer)

    @property
    def settled(self) -> bool:
        """Whether no better answer can come: as expected, or there is no expectation."""
        return self.ok is True or self.expected is None or self.expected.outcome is None


class AskFromPods(Step):
    """Make callers, ask, and remove them: nothing stays in the cluster."""

    takes = "some seconds, for new pods to start"
    risk = "none for users: the pods call once in a while, and nothing leads to them"
    undo = "nothing to undo: the pods are removed as soon as they have asked"

    def __init__(self) -> None:
        self._exchanges: tuple[Exchange, ...] = ()
        self._proved = False

    @abstractmethod
    def callers(self, parameters: Parameters) -> tuple[Asker, ...]:
        """Return who asks."""

    @abstractmethod
    def questions(self, parameters: Parameters, servers: Sequence[Endpoint]) -> Iterator[Question]:
        """Yield what they ask.

        Args:
            parameters: The run's parameters.
            servers: The web workload, and then what it depends on.
        """

    def unasked(self, parameters: Parameters) -> Iterator[str]:  # noqa: ARG002 -- nothing, mostly
        """Yield, as sentences, what there is no caller to ask about."""
        yield from ()

    def ends(self, context: Context) -> Ends:
        """Return who can be asked, judged by the runbook's own policies in force, and no others."""
        return askable.own_ends(context)

    def obstacles(self, context: Context) -> Iterable[Finding]:
        """Find what is in the way; that no web pod has its sidecar yet is for an earlier step."""
        return super().obstacles(context) if askable.pattern(context) is not None else ()

    def plan(self, context: Context) -> Plan:
        """Plan the callers as Jobs, each of which the API server would take."""
        parameters = context.parameters
        if not parameters.application.ask_from_pods:
            return Plan(self.name, context.target.uid, note=_LEFT_OUT)
        if parameters.mode == "plan" and askable.pattern(context) is None:
            changes = [mesh_callers.foreseen(caller) for caller in self.callers(parameters)]
        else:
            jobs = self._jobs(context, askable.require_pattern(context))
            changes = [mesh_callers.planned(context, job, _WAY_ON) for job in jobs.values()]
        note = "The pods are removed as soon as they have asked."
        return Plan(self.name, context.target.uid, tuple(changes), note=note)

    def apply(self, context: Context, plan: Plan) -> None:
        """Make the callers, ask until all answers are as expected or time is up, remove them."""
        if plan.empty:
            return
        jobs, ends = self._jobs(context, askable.require_pattern(context)), self.ends(context)
        servers = tuple(askable.servers(context, ends))
        self._exchanges = tuple(
            Exchange(question, askable.expectation(ends, question))
            for question in self.questions(context.parameters, servers)
        )
        try:
            with mesh_callers.calling(context, jobs, servers) as calls:
                self._wait(context, calls)
        except RunbookError as error:
            raise RunbookError(error.cause, error.remedy or _WAY_ON) from error
        if self._proved and all(each.ok for each in self._exchanges):
            answers = tuple(map(_call, self._exchanges))
            context.journal.record(PodsAsked(askable.ends_in_force(context).state, answers))

    def _wait(self, context: Context, calls: mesh_callers.Calls) -> None:
        """Ask until every answer is as expected, several times in a row, or time is up."""

        def observe() -> wait.State:
            answers = calls.ask(each.question for each in self._exchanges if each.expected)
            self._exchanges = tuple(
                replace(each, answer=answers.get(each.question)) for each in self._exchanges
            )
            said = "; ".join(" ".join(_cells(each)[:4]) for each in self._exchanges)
            return wait.State(all(each.settled for each in self._exchanges), said)

        self._proved = False
        with suppress(WaitTimeout):  # what was answered last is shown in `verify`
            wait.until(
                "the expected answers from pod to pod",
                observe,
                timeout=context.parameters.timeouts.policy,
                successes=_IN_A_ROW,
                on_change=context.waiting,
            )
            self._proved = True

    def verify(self, context: Context) -> Verification:
        """Return what was answered last; nothing is asked anew, because no caller is left."""
        # What is still to be answered otherwise, or at all, is not as it should be.
        rows = tuple(
            Row(_cells(each), each.ok if each.settled else False) for each in self._exchanges
        )
        shown = Table("From pod to pod, over fresh connections", _COLUMNS, rows)
        if not rows:
            return Verification(self.name, (shown,), _LEFT_OUT)
        if shown.ok and not self._proved:
            raise VerificationFailed(
                f"the answers were right, and not {_IN_A_ROW} times in a row:\n{shown}",
                "run this step again; raise timeouts.policy if they are right in the end",
            )
        unproved = sum(row.ok is None for row in rows)
        notes = [f"{unproved} of {len(rows)} calls prove nothing."] if unproved else []
        notes += self.unasked(context.parameters)
        return Verification(self.name, (shown,), " ".join(notes))

    def _jobs(self, context: Context, like: Object) -> dict[Asker, Object]:
        parameters = context.parameters
        servers = tuple(askable.servers(context, askable.own_ends(context)))
        return {
            caller: job(
                caller,
                servers,
                like,
                # To become ready, to ask, and to be removed.
                seconds=3 * parameters.timeouts.policy,
                revision=parameters.istio.revision,
            )
            for caller in self.callers(parameters)
        }


_LEFT_OUT = "Not asked from pod to pod: application.ask_from_pods is false."
_COLUMNS = ("from", "to", "request", "status", "expected")


def _call(each: Exchange) -> CallAnswered:
    question, answer = each.question, each.answer
    assert answer is not None, "it was as expected"
    end = question.server.end
    return CallAnswered(
        question.caller.sidecar,
        end.name,
        end.port,
        answer.outcome is Outcome.ANSWERED,
        answer.mutual_tls,
        f"{question.method} {answer.text}".strip(),
    )


def _cells(each: Exchange) -> tuple[str, ...]:
    question, answer = each.question, each.answer
    request = f"{question.method} {question.path}".strip() or str(question.server.speaks or "-")
    if answer is None:
        status = f"not asked: the runbook speaks {' and '.join(Speaks)}"
    elif answer.outcome is Outcome.ANSWERED and answer.mutual_tls is not None:
        status = f"{answer.text}, {'mutual TLS' if answer.mutual_tls else 'plaintext'}"
    else:
        status = answer.text
    desired = each.expected.text if each.expected else "-"
    return (question.caller.text, question.server.text, request, status, desired)
