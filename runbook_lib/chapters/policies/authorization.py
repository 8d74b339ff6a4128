"""Only some HTTP methods reach the application."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from runbook_lib.chapters.policies import manifest, pod_to_pod, stale
from runbook_lib.chapters.policies.observing import ReadDryRun
from runbook_lib.chapters.policies.services import service_ports
from runbook_lib.chapters.shared import RevertibleStep, objects, observe, outsiders, preflight
from runbook_lib.chapters.shared.preflight import aws
from runbook_lib.chapters.shared.preflight.traffic import past_sidecars
from runbook_lib.cluster import Object, live_object, reference
from runbook_lib.lifecycle import (
    Check,
    Context,
    Exports,
    Finding,
    Interruption,
    Loss,
    Plan,
    Step,
    Table,
    Verification,
    refusals,
    require,
    table,
)
from runbook_lib.mesh import OVER_HTTP, selection_mistakes, sidecars, templates, traffic, web
from runbook_lib.mesh.policy import (
    allowed_methods,
    allowed_to_some,
    is_dry_run,
    on_port,
    why_not_inbound,
)
from runbook_lib.parameters import AuthorizationParameters, Parameters


class _RouteToWeb(RevertibleStep):
    """Tell sidecars how to call the web Service."""

    name = "authorization-destination-rule"
    title = "Tell sidecars how to call the web Service"
    why = "callers in the mesh must speak plaintext where the server was told not to speak TLS"
    takes = "seconds"
    risk = "a wrong mode turns calls inside the mesh into 503; requests from outside do not use it"
    undo = "delete the DestinationRule"

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from selection_mistakes(context)
        yield from outsiders.cut_off(context)
        yield from refusals(lambda: service_ports(context))
        yield from preflight.policy_kept(context, lambda: self._manifest(context))

    def plan(self, context: Context) -> Plan:
        require(self.obstacles(context))
        return objects.plan_objects(
            context, self.name, self.manifests(context), _note_on_ports(context), own=True
        )

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self.manifests(context))

    def verify(self, context: Context) -> Verification:
        desired = self._manifest(context)
        policy = desired["spec"]["trafficPolicy"]
        checks = [
            objects.check(context, desired),
            Check("host", desired["spec"]["host"], ok=None),
            Check("mode", policy["tls"]["mode"], ok=None),
            *(
                Check(f"mode of port {setting['port']['number']}", setting["tls"]["mode"], ok=None)
                for setting in policy.get("portLevelSettings", ())
            ),
        ]
        tables = table.of_checks("DestinationRule", checks), observe.prove_traffic(context)
        return Verification(self.name, tables)

    def manifests(self, context: Context) -> list[Object]:
        return [self._manifest(context)]

    def _manifest(self, context: Context) -> Object:
        return manifest.destination_rule(context.parameters, service_ports(context))


class _AllowMethods(RevertibleStep):
    """Let only some methods reach the web container."""

    def __init__(
        self,
        name: str,
        title: str,
        risk: str,
        methods: Sequence[str],
        *,
        final: AuthorizationParameters,
        read: ReadDryRun | None = None,
        last: bool = False,
    ) -> None:
        """Take methods and what to know about them.

        Args:
            name: The step's name.
            title: What it does.
            risk: What could go wrong.
            methods: What everybody may use.
            final: What the chapter ends in.
            read: What tells whom it would refuse; None for the dry run itself.
            last: Whether this is the last stage.
        """
        self.name = name
        self.title = title
        self.why = (
            "methods that no one needs cannot be misused: Istio answers them before the application"
        )
        self.takes = "seconds"
        self.risk = risk
        self.undo = "delete the AuthorizationPolicy: then every method is allowed again"
        self._methods = tuple(methods)
        self._final = final
        self._dry_run = read is None
        self._rules = final.rules if last or self._dry_run else ()
        self._read = read
        self._last = last
        self.interim = not (last or self._dry_run)

    def obstacles(self, context: Context) -> Iterator[Finding]:
        if not self._is_surpassed(context):
            yield from selection_mistakes(context)
            yield from outsiders.cut_off(context)
            yield from _not_http(context)
            yield from aws.before_authorization(context)
            yield from preflight.hidden(context)
            yield from stale.sidecars(context)
            yield from past_sidecars(context)
            yield from preflight.policy_kept(context, lambda: self._manifest(context))

    def plan(self, context: Context) -> Plan:
        found = tuple(self.obstacles(context))
        require(found)
        if self._is_surpassed(context):
            note = "A later stage of this policy is already in force."
            return Plan(self.name, context.target.uid, note=note)
        plan = objects.plan_objects(
            context, self.name, self.manifests(context), _note_on_ports(context), own=True
        )
        if plan.empty:
            return plan
        plan = aws.with_unread(replace(plan, interruptions=tuple(self._lost())), found)
        return plan if self._read is None else self._read.weighed(context, plan)

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self.manifests(context))

    def verify(self, context: Context) -> Verification:
        desired = self._manifest(context)
        if self._is_surpassed(context):
            check = Check(reference(desired), "at a later stage", ok=True)
        else:
            check = objects.check(context, desired)
        policy = table.of_checks("Policy", [check])
        return Verification(self.name, (policy, *self.effects(context)))

    def effects(self, context: Context) -> Iterator[Table]:
        yield observe.authorization_policy_table(context)
        yield sidecars.prove_authorization(context)
        yield from super().effects(context)

    def manifests(self, context: Context) -> list[Object]:
        return [self._manifest(context)]

    def exports(self, context: Context) -> Exports:
        return super().exports(context) if self._last else Exports()

    def _lost(self) -> Iterator[Interruption]:
        """Announce what a stage forbids that the next one allows."""
        if self._dry_run or self._last:
            return
        later = [each for each in self._final.methods if each not in self._methods]
        if later:
            yield Interruption(
                OVER_HTTP,
                Loss.DEPENDENT,
                f"{', '.join(later)} is answered 403, so no one can log in",
                f"this stage allows {', '.join(self._methods)} alone",
                None,
                "until authorization-methods is applied",
            )

    def _manifest(self, context: Context) -> Object:
        parameters = context.parameters
        labels = web.labels(context.cluster, parameters)
        return manifest.authorization_policy(
            parameters, labels, self._methods, self._rules, dry_run=self._dry_run
        )

    def _is_surpassed(self, context: Context) -> bool:
        """Whether the policy is beyond this stage: going back would lock users out on a re-run."""
        if self._last:
            return False
        parameters = context.parameters
        named = manifest.authorization_policy(parameters, {}, self._methods)
        policy = live_object(context.cluster, named)
        if policy is None or is_dry_run(policy):
            return False
        if self._dry_run:
            return True
        everybody = allowed_methods(policy)
        wider = everybody > set(self._methods) or bool(allowed_to_some(policy))
        return wider and everybody >= set(self._final.methods)


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter in the order of the story: the safe one logs decisions before it enforces."""
    final = parameters.authorization
    allowed = ", ".join(final.methods) + (", and more to some sources" if final.rules else "")
    read = ReadDryRun(parameters)
    if parameters.story == "safe":
        first = _AllowMethods(
            "authorization-dry-run",
            f"Try the policy out: allow {allowed}, as a dry run",
            "none for users: decisions are logged, not enforced",
            final.methods,
            final=final,
        )
    else:
        first = _AllowMethods(
            "authorization-read-only",
            f"Allow {', '.join(final.read_methods)}",
            "users cannot log in or change anything until the next stage",
            final.read_methods,
            final=final,
            read=read,
        )
    last = _AllowMethods(
        "authorization-methods",
        f"Enforce the policy: allow {allowed}"
        if parameters.story == "safe"
        else f"Allow {allowed}",
        "every other method is answered with 403, also for health checks",
        final.methods,
        final=final,
        read=read,
        last=True,
    )
    return _RouteToWeb(), first, read, last, pod_to_pod.about_authorization()


def _not_http(context: Context) -> Iterator[Finding]:
    """Find why no policy about methods can do what it says.

    The web port's Service declares it as something else than HTTP, or connections go past the
    sidecars.
    """
    application = context.parameters.application
    port, made = application.web.port, templates.web(context)
    policies = traffic.policies_in_force(context.cluster, context.parameters)
    if made is not None:  # pods that have no sidecar yet will be of this template
        services = context.cluster.list("v1", "Service", application.namespace)
        read = policies.web_protocol
        policies = replace(
            policies,
            web_past=policies.web_past or why_not_inbound(made.pod, port),
            web_protocol=read if read.reason else on_port(services, made.pod, port),
        )
    reason = traffic.methods_without_effect(policies)
    if reason is None:
        return
    where = f"port {port} of the web pods"
    text = made.text(reason) if made is not None else reason.text
    evidence = (f"{text} ({reason.why})" if reason.why else text,)
    if reason is policies.web_past:
        yield Finding(
            where,
            "connections to it go past the sidecars",
            "no policy would hold there",
            "take the port off, and restart the web pods",
            evidence,
        )
    else:
        yield Finding(
            where,
            "the sidecars do not read it as HTTP",
            "a policy about methods would let nothing through",
            "declare the port as HTTP: name it http, or begin its name with http-",
            evidence,
        )


def _note_on_ports(context: Context) -> str:
    return outsiders.note_on_ports(
        context,
        "only the allowed methods of HTTP get through, and nothing else, also from callers with a "
        "sidecar, unless it is in application.plaintext_ports",
    )
