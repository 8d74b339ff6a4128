"""Ask from pod to pod what the policies do: by callers that are made for it, and removed again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from runbook_lib.base import (
    ClusterRefused,
    RunbookError,
    VerificationFailed,
    WaitTimeout,
    wait,
)
from runbook_lib.chapters.policies import askable, manifest
from runbook_lib.chapters.policies.services import service_ports
from runbook_lib.cluster import (
    Object,
    object_diff,
    ref,
    reference,
)
from runbook_lib.lifecycle import (
    CallAnswered,
    Change,
    Context,
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
from runbook_lib.parameters import Parameters, ProbeParameters, RuleParameters

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


class _AskFromPods(Step):
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

    def ends(self, context: Context) -> Ends:
        """Return who can be asked, judged by the runbook's own policies in force, and no others."""
        return askable.own_ends(context)

    def plan(self, context: Context) -> Plan:
        parameters = context.parameters
        if not parameters.application.ask_from_pods:
            return Plan(self.name, context.target.uid, note=_LEFT_OUT)
        if parameters.mode == "plan" and askable.pattern(context) is None:
            changes = [_unknown(caller) for caller in self.callers(parameters)]
        else:
            jobs = self._jobs(context, askable.require_pattern(context))
            changes = [_change(context, item) for item in jobs.values()]
        note = "The pods are removed as soon as they have asked."
        return Plan(self.name, context.target.uid, tuple(changes), note=note)

    def apply(self, context: Context, plan: Plan) -> None:
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

    def verify(self, context: Context) -> Verification:  # noqa: ARG002 -- it was asked in `apply`
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
        note = f"{unproved} of {len(rows)} calls prove nothing." if unproved else ""
        return Verification(self.name, (shown,), note)

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


def _unknown(caller: Asker) -> Change:
    what = "a pod from the image of the sidecars, known once the web pods have them"
    return Change.of_text(ref("Job", caller.job, caller.namespace), "run", what)


def _change(context: Context, made: Object) -> Change:
    """Return the change, which the API server was asked about.

    Raises:
        RunbookError: It would refuse the Job.
    """
    metadata = made["metadata"]
    if context.cluster.get("batch/v1", "Job", metadata["name"], metadata["namespace"]) is None:
        try:
            context.cluster.apply(made, dry_run=True)
        except ClusterRefused as error:
            raise RunbookError(error.cause, _WAY_ON) from error
    diff = object_diff(None, made)
    return Change(reference(made), "run", diff.text, diff.digest)


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


class _AskAboutMutualTls(_AskFromPods):
    """Call the web workload and what it depends on, with a sidecar and without."""

    name = "mutual-tls-asked"
    title = "Ask from pod to pod who is let in"
    why = "what follows from policies is proved by pods that call, with a sidecar and without one"

    def callers(self, parameters: Parameters) -> tuple[Asker, ...]:
        namespace = parameters.application.namespace
        return Asker(namespace), Asker(namespace, sidecar=False)

    def questions(self, parameters: Parameters, servers: Sequence[Endpoint]) -> Iterator[Question]:
        for caller in self.callers(parameters):
            for server in servers:
                if server.speaks is not Speaks.HTTP:
                    yield Question(caller, server)
                elif server is servers[0]:
                    probe = _probe(parameters)
                    yield Question(caller, server, probe.method, probe.path)
                else:
                    yield Question(caller, server, "GET", "/")


class _AskAboutAuthorization(_AskFromPods):
    """Call the web workload with a method that is allowed, and with one that is not.

    For each rule about sources also as one of them, and as somebody else.
    """

    name = "authorization-asked"
    title = "Ask from pod to pod what is allowed"
    why = (
        "a wrong DestinationRule shows in calls inside the mesh alone, and so does which of them "
        "may do what; no request from outside tells"
    )

    def ends(self, context: Context) -> Ends:
        # The rule as it should be: a wrong one in force is what this is to find.
        rule = manifest.destination_rule(context.parameters, service_ports(context))
        return replace(super().ends(context), rules=[rule])

    def callers(self, parameters: Parameters) -> tuple[Asker, ...]:
        asked = (caller for caller, _ in _calls(parameters))
        return tuple(dict.fromkeys(asked))

    def questions(self, parameters: Parameters, servers: Sequence[Endpoint]) -> Iterator[Question]:
        for caller, method in _calls(parameters):
            probe = _probe(parameters, method)
            yield Question(caller, servers[0], probe.method, probe.path)


def _calls(parameters: Parameters) -> Iterator[tuple[Asker, str]]:
    """Yield who uses which method of the web workload."""
    authorization, namespace = parameters.authorization, parameters.application.namespace
    yield Asker(namespace), authorization.methods[0]
    yield Asker(namespace), authorization.denied_method
    others = [Asker(each) for each in (namespace, "default", parameters.istio.namespace)]
    for rule in authorization.rules:
        yield _source(rule), rule.methods[0]
        for other in others:
            allowed = [r for r in authorization.rules if rule.methods[0] in r.methods]
            if not any(_is_of(other, each) for each in allowed):
                yield other, rule.methods[0]
                break


def _source(rule: RuleParameters) -> Asker:
    """Return a caller to whom a rule applies."""
    if rule.principals:
        _, _, namespace, _, account = rule.principals[0].split("/")
        return Asker(namespace, account)
    return Asker(rule.namespaces[0])


def _is_of(caller: Asker, rule: RuleParameters) -> bool:
    return caller.namespace in rule.namespaces or caller.principal in rule.principals


def about_mutual_tls() -> Step:
    """The step that proves mutual TLS from pod to pod."""
    return _AskAboutMutualTls()


def about_authorization() -> Step:
    """The step that proves the DestinationRule and the AuthorizationPolicy from pod to pod."""
    return _AskAboutAuthorization()


def _probe(parameters: Parameters, method: str = "GET") -> ProbeParameters:
    """Return the application's probe with this method, or else its first: it changes nothing."""
    probes = parameters.application.probes
    return next((probe for probe in probes if probe.method == method), probes[0])
