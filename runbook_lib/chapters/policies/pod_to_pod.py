"""Which questions notebooks 04 and 05 ask from pod to pod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.policies.asking import AskFromPods
from runbook_lib.chapters.policies.services import service_ports
from runbook_lib.lifecycle import Context, Step
from runbook_lib.mesh.callers import Asker, Endpoint, Question, Speaks
from runbook_lib.mesh.ends import Ends
from runbook_lib.parameters import Parameters, ProbeParameters, RuleParameters


class _AskAboutMutualTls(AskFromPods):
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


class _AskAboutAuthorization(AskFromPods):
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

    def unasked(self, parameters: Parameters) -> Iterator[str]:
        for rule in parameters.authorization.rules:
            if _somebody_else(parameters, rule) is None:
                yield (
                    f"That others may not {rule.methods[0]} is not proved: the rules name every "
                    "namespace from which the runbook could ask."
                )

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
    for rule in authorization.rules:
        yield _source(rule), rule.methods[0]
        if other := _somebody_else(parameters, rule):
            yield other, rule.methods[0]


def _source(rule: RuleParameters) -> Asker:
    """Return a caller to whom a rule applies."""
    if rule.principals:
        _, _, namespace, _, account = rule.principals[0].split("/")
        return Asker(namespace, account)
    return Asker(rule.namespaces[0])


def _somebody_else(parameters: Parameters, rule: RuleParameters) -> Asker | None:
    """Return a caller to whom no rule allows the method that this one is proved with."""
    allowing = [r for r in parameters.authorization.rules if rule.methods[0] in r.methods]
    namespaces = (parameters.application.namespace, "default", parameters.istio.namespace)
    others = map(Asker, namespaces)
    return next((o for o in others if not any(_is_of(o, each) for each in allowing)), None)


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
