"""Only some HTTP methods reach the application."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.shared import dicom, objects, observe, outsiders, preflight
from runbook_lib.cluster import APPS, Object, live_object, ref, reference
from runbook_lib.lifecycle import (
    Check,
    Context,
    Finding,
    Plan,
    Refused,
    Step,
    Verification,
    refusals,
    require,
    table,
)
from runbook_lib.mesh import sidecars, traffic, web
from runbook_lib.mesh.policy import allowed_methods, is_dry_run
from runbook_lib.parameters import Parameters


class _RouteToWeb(Step):
    """Tell sidecars how to call the web Service."""

    name = "authorization-destination-rule"
    title = "Tell sidecars how to call the web Service"
    why = "callers in the mesh must speak plaintext where the server was told not to speak TLS"
    takes = "seconds"
    risk = "a wrong mode turns calls inside the mesh into 503; requests from outside do not use it"
    undo = "delete the DestinationRule"

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from preflight.web_labels(context)
        yield from outsiders.cut_off(context)
        yield from refusals(lambda: service_ports(context))

    def plan(self, context: Context) -> Plan:
        require(self.obstacles(context))
        manifests = [self._manifest(context)]
        return objects.plan_objects(
            context, self.name, manifests, _note_on_ports(context), own=True
        )

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, [self._manifest(context)])

    def verify(self, context: Context) -> Verification:
        desired = self._manifest(context)
        in_place = objects.in_place(context, desired)
        policy = desired["spec"]["trafficPolicy"]
        checks = [
            Check(reference(desired), "as planned" if in_place else "missing or changed", in_place),
            Check("host", desired["spec"]["host"], ok=None),
            Check("mode", policy["tls"]["mode"], ok=None),
            *(
                Check(f"mode of port {setting['port']['number']}", setting["tls"]["mode"], ok=None)
                for setting in policy["portLevelSettings"]
            ),
        ]
        tables = table.of_checks("DestinationRule", checks), observe.prove_traffic(context)
        return Verification(self.name, tables)

    def _manifest(self, context: Context) -> Object:
        return manifest.destination_rule(context.parameters, service_ports(context))


class _AllowMethods(Step):
    """Let only some methods reach the web container."""

    def __init__(
        self,
        name: str,
        title: str,
        risk: str,
        methods: Sequence[str],
        *,
        final: Sequence[str],
        dry_run: bool = False,
    ) -> None:
        self.name = name
        self.title = title
        self.why = (
            "methods that no one needs cannot be misused: Istio answers them before the application"
        )
        self.takes = "seconds"
        self.risk = risk
        self.undo = "delete the AuthorizationPolicy: then every method is allowed again"
        self._methods = tuple(methods)
        self._final = tuple(final)
        self._dry_run = dry_run

    def obstacles(self, context: Context) -> Iterator[Finding]:
        if not self._is_surpassed(context):
            yield from preflight.web_labels(context)
            yield from outsiders.cut_off(context)
            yield from _not_http(context)

    def plan(self, context: Context) -> Plan:
        require(self.obstacles(context))
        if self._is_surpassed(context):
            note = "A later stage of this policy is already in force."
            return Plan(self.name, context.target.uid, note=note)
        manifests = [self._manifest(context)]
        return objects.plan_objects(
            context, self.name, manifests, _note_on_ports(context), own=True
        )

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, [self._manifest(context)])

    def verify(self, context: Context) -> Verification:
        desired = self._manifest(context)
        surpassed = self._is_surpassed(context)
        ok = surpassed or objects.in_place(context, desired)
        found = "as planned" if ok else "missing or changed"
        checks = [Check(reference(desired), "at a later stage" if surpassed else found, ok)]
        return Verification(
            self.name,
            (
                table.of_checks("Policy", checks),
                observe.authorization_policy_table(context),
                sidecars.prove_authorization(context),
                observe.prove_traffic(context),
                *dicom.prove(context),
            ),
        )

    def _manifest(self, context: Context) -> Object:
        parameters = context.parameters
        labels = web.labels(context.cluster, parameters)
        return manifest.authorization_policy(
            parameters, labels, self._methods, dry_run=self._dry_run
        )

    def _is_surpassed(self, context: Context) -> bool:
        """Whether the policy is beyond this stage: going back would lock users out on a re-run."""
        if not self._dry_run and set(self._methods) == set(self._final):
            return False
        parameters = context.parameters
        named = manifest.authorization_policy(parameters, {}, self._methods)
        policy = live_object(context.cluster, named)
        if policy is None or is_dry_run(policy):
            return False
        return self._dry_run or allowed_methods(policy) >= set(self._final)


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter in the order of the story: the safe one logs decisions before it enforces."""
    final = parameters.authorization.methods
    read = parameters.authorization.read_methods
    if parameters.story == "safe":
        return (
            _RouteToWeb(),
            _AllowMethods(
                "authorization-dry-run",
                f"Try the policy out: allow {', '.join(final)}, as a dry run",
                "none for users: decisions are logged, not enforced",
                final,
                final=final,
                dry_run=True,
            ),
            _AllowMethods(
                "authorization-methods",
                f"Enforce the policy: allow {', '.join(final)}",
                "every other method is answered with 403, also for health checks",
                final,
                final=final,
            ),
        )
    return (
        _RouteToWeb(),
        _AllowMethods(
            "authorization-read-only",
            f"Allow {', '.join(read)}",
            "users cannot log in or change anything until the next stage",
            read,
            final=final,
        ),
        _AllowMethods(
            "authorization-methods",
            f"Allow {', '.join(final)}",
            "every other method is answered with 403, also for health checks",
            final,
            final=final,
        ),
    )


def service_ports(context: Context) -> list[int]:
    """Return the web Service's ports that lead to container ports without mutual TLS.

    Policies for servers know the container's port, rules for callers the Service's.

    Raises:
        Refused: There is no such Service, or none of its ports leads to the web port.
    """
    application = context.parameters.application
    web = application.web
    where = ref("Service", web.service, application.namespace)
    service = context.cluster.get("v1", "Service", web.service, application.namespace)
    if service is None:
        raise Refused(
            Finding(
                where,
                "there is none",
                "callers in the mesh would not be told how to reach the web pods",
                "correct application.web.service",
            )
        )
    workload = context.cluster.get(APPS, web.kind, web.name, application.namespace)
    ports = service["spec"].get("ports") or []

    def leading_to(number: int) -> list[int]:
        desired = (number, *port_names(workload, number))
        return [p["port"] for p in ports if p.get("targetPort", p["port"]) in desired]

    found = leading_to(web.port)
    if not found:
        leads = ", ".join(f"{p['port']} → {p.get('targetPort', p['port'])}" for p in ports)
        raise Refused(
            Finding(
                where,
                f"no port of it leads to the container port {web.port}",
                "the policies would be about a port that it does not use",
                "set application.web.port to the container's port, not the Service's",
                (f"there are: {leads}",),
            )
        )
    others = map(leading_to, application.plaintext_ports)
    return [*found, *chain.from_iterable(others)]


def _not_http(context: Context) -> Iterator[Finding]:
    """Find why no policy about methods can do what it says.

    The web port's Service declares it as something else than HTTP, or connections go past the
    sidecars.
    """
    policies = traffic.policies_in_force(context.cluster, context.parameters)
    reason = traffic.methods_without_effect(policies)
    if reason is None:
        return
    where = f"port {context.parameters.application.web.port} of the web pods"
    evidence = (f"{reason.text} ({reason.why})" if reason.why else reason.text,)
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


def port_names(workload: Object | None, port: int) -> list[str]:
    """Return the names that a workload's containers give a port."""
    if workload is None:
        return []
    return [
        declared["name"]
        for container in workload["spec"]["template"]["spec"]["containers"]
        for declared in container.get("ports") or []
        if declared["containerPort"] == port and "name" in declared
    ]
