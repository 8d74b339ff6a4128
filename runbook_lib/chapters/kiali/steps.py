"""Kiali: its operator, and the resource that describes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from runbook_lib.base import WaitFailed, WaitTimeout, wait
from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import addons, manifest, tracing
from runbook_lib.chapters.kiali import checks as kiali_checks
from runbook_lib.chapters.kiali import readers as kiali_readers
from runbook_lib.chapters.kiali import status as kiali_status
from runbook_lib.chapters.shared import definitions, objects, preflight
from runbook_lib.chapters.shared.release import ReleasePlanner, Source
from runbook_lib.cluster import (
    APPS,
    CRD,
    Object,
    annotations_of,
    live_object,
    name_of,
    ref,
    reference,
)
from runbook_lib.lifecycle import (
    Check,
    Context,
    Finding,
    Plan,
    Step,
    Verification,
    refusals,
    require,
    table,
)
from runbook_lib.mesh import rollout
from runbook_lib.parameters import Parameters

API = "kiali.io/v1alpha1"

_TRY_AGAIN = "istio-runbook/try-again"
"""An annotation: a change of any has the operator look at the resource again.

See https://kiali.io/docs/installation/installation-guide/creating-updating-kiali-cr/.
"""


class _InstallOperator(Step):
    """Install the chart of Kiali's operator."""

    name = "kiali-operator"
    title = "Install Kiali's operator"
    why = "the operator makes Kiali of one resource, and puts back what is changed behind its back"
    takes = "a minute; longer where the image has to be pulled"
    risk = "none for the application; the operator may create roles in the whole cluster"
    undo = "delete the Kiali resource first, then uninstall the release: without its operator the "
    undo += "resource could not be deleted any more"

    def __init__(self, parameters: Parameters) -> None:
        self._namespace = parameters.kiali.operator_namespace
        self._release = operator_release(parameters)

    def plan(self, context: Context) -> Plan:
        planned = objects.plan_objects(context, self.name, self._first(context))
        changes = planned.changes + self._release.changes(context)
        return Plan(self.name, context.target.uid, changes, planned.unpredictable)

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self._first(context))
        self._release.apply(context, plan)
        for deployment in self._deployments(context):
            rollout.wait_until_complete(
                context,
                "Deployment",
                name_of(deployment),
                self._namespace,
                timeout=context.parameters.timeouts.kiali,
            )

    def verify(self, context: Context) -> Verification:
        kinds = [item for item in self._release.rendered(context) if item["kind"] == CRD]
        names = {name_of(item) for item in kinds}
        definitions.wait_until_served(
            context, "Kiali's kinds", names, timeout=context.parameters.timeouts.kiali
        )
        checks = [
            self._release.check(context),
            *(self._deployment_check(context, item) for item in self._deployments(context)),
            Check("Kiali's kinds", f"{len(names)} of {len(names)} served", ok=bool(names)),
        ]
        return Verification(self.name, (table.of_checks("Operator", checks),))

    def _first(self, context: Context) -> list[Object]:
        """The namespace, and the kinds: Helm would install them once and never bring them up."""
        namespace = manifest.operator_namespace(context.parameters)
        return [
            *objects.own_namespace(context, namespace),
            *self._release.definitions(context),
        ]

    def _deployments(self, context: Context) -> list[Object]:
        return [item for item in self._release.rendered(context) if item["kind"] == "Deployment"]

    def _deployment_check(self, context: Context, rendered: Object) -> Check:
        name = name_of(rendered)
        where = ref("Deployment", name, self._namespace)
        found = context.cluster.get(APPS, "Deployment", name, self._namespace)
        if found is None:
            return Check(where, "missing", ok=False)
        done, counts = rollout.progress(found)
        return Check(where, counts, done)


class _DescribeKiali(Step):
    """Apply the Kiali resource and wait until its operator is done."""

    name = "kiali-instance"
    title = "Describe Kiali to its operator"
    why = "one resource says how people log in, how they reach Kiali and what it reads"
    takes = "one to three minutes; a new load balancer on AWS takes as long again"
    undo = "delete the Kiali resource while the operator runs: it removes what it made"

    def __init__(self, parameters: Parameters) -> None:
        self.risk = {
            "cluster": "none: there is no way in from outside",
            "load-balancer": "tokens travel in clear text through a load balancer that may be "
            "public",
            "nlb-tls": "whoever reaches the load balancer sees the login page",
            "alb-ingress": "whoever reaches the load balancer sees the login page",
        }[parameters.kiali.exposure]

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from preflight.kiali_of_others(context)
        yield from refusals(lambda: self._plan(context))

    def plan(self, context: Context) -> Plan:
        require(preflight.kiali_of_others(context))
        return self._plan(context)

    def _plan(self, context: Context) -> Plan:
        wanted = [_wanted(context, again=True)]
        plan = objects.plan_objects(context, self.name, wanted, own=True)
        hub = context.parameters.kiali.hub or "quay.io/kiali"
        pulled = f"The operator has nodes pull {hub}/kiali of its own version."
        return plan if plan.empty else replace(plan, note=pulled)

    def apply(self, context: Context, plan: Plan) -> None:
        desired = _wanted(context, again=True)
        (applied,) = objects.apply_objects(context, plan, [desired])
        before = kiali_status.conditions(applied)
        if kiali_status.at_work(applied):
            # That run began before the change: it ends in a result about the resource as it was.
            before = self._after_that_run(context, before)
        self._wait_for_operator(context, before)
        self._wait_for_deployment(context)

    def verify(self, context: Context) -> Verification:
        desired = _wanted(context)
        in_place = objects.in_place(context, desired)
        self._wait_for_operator(context, None)
        self._wait_for_deployment(context)
        checks = [
            Check(reference(desired), "as planned" if in_place else "missing or changed", in_place),
            Check("operator", "done", ok=True),
            *kiali_access.service_checks(context),
            *self._address_checks(context),
        ]
        answers, findings = kiali_checks.prove(context)
        return Verification(self.name, (table.of_checks("Kiali", checks), answers, findings))

    @staticmethod
    def _after_that_run(
        context: Context, during: kiali_status.Conditions
    ) -> kiali_status.Conditions:
        """Wait until a run has ended, and return the conditions after it.

        They stay the same while it goes on. The next one, about the change, begins at once.
        """
        parameters = context.parameters
        after: kiali_status.Conditions = []

        def observe(found: list[Object]) -> wait.State:
            after[:] = kiali_status.conditions(found[0] if found else None)
            ended = after != during
            return wait.State(ended, "idle" if ended else "at work on the resource as it was")

        context.cluster.watch_until(
            "the operator to end what it is at",
            API,
            "Kiali",
            parameters.istio.namespace,
            observe,
            name=parameters.kiali.name,
            timeout=parameters.timeouts.kiali,
            on_change=context.waiting,
        )
        return after

    @staticmethod
    def _wait_for_operator(context: Context, before: kiali_status.Conditions | None) -> None:
        """Wait until the operator has done what the resource says.

        Raises:
            WaitFailed: It failed; the error has its own words.
            WaitTimeout: Time is up; the error shows how far it is.
        """
        parameters = context.parameters
        name, namespace = parameters.kiali.name, parameters.istio.namespace

        def observe(found: list[Object]) -> wait.State:
            return kiali_status.state(found[0] if found else None, before)

        what = f"the operator to carry out {ref('Kiali', name, namespace)}"
        log = kiali_access.operator_log_command(parameters)
        try:
            context.cluster.watch_until(
                what,
                API,
                "Kiali",
                namespace,
                observe,
                name=name,
                timeout=parameters.timeouts.kiali,
                on_change=context.waiting,
            )
        except WaitTimeout as error:
            raise WaitTimeout(
                error.what,
                error.last_state,
                error.elapsed,
                f"see what the operator does: {log}",
            ) from error
        except WaitFailed as error:
            raise WaitFailed(
                error.what,
                error.last_state,
                error.elapsed,
                "correct the parameters under kiali and run this step again; the operator's log "
                f"says more: {log}",
            ) from error

    @staticmethod
    def _wait_for_deployment(context: Context) -> None:
        parameters = context.parameters
        rollout.wait_until_complete(
            context,
            "Deployment",
            parameters.kiali.name,
            parameters.istio.namespace,
            timeout=parameters.timeouts.kiali,
        )

    @staticmethod
    def _address_checks(context: Context) -> list[Check]:
        """Wait for the load balancer, where there is to be one."""
        if context.parameters.kiali.exposure == "cluster":
            return [Check("address", "none from outside, as asked for", ok=None)]

        def observe() -> wait.State:
            found = kiali_access.address(context)
            return wait.State(bool(found.url), found.lacking or "there")

        try:
            wait.until(
                "Kiali's load balancer",
                observe,
                timeout=context.parameters.timeouts.kiali,
                interval=1.0,
                on_change=context.waiting,
            )
        except WaitTimeout as error:
            return [Check("address", error.last_state, ok=False)]
        return [Check("address", "there", ok=True), kiali_access.look_from_here(context)]


def _wanted(context: Context, *, again: bool = False) -> Object:
    """Return the resource as it should be.

    Args:
        context: Where.
        again: If the operator has failed at what the resource says already, have it try again: by
            itself it would, but later and later.
    """
    desired = manifest.kiali(context.parameters)
    there = live_object(context.cluster, desired)
    found = annotations_of(there or {}).get(_TRY_AGAIN, "")
    if again and there is not None and kiali_status.state(there).failed:
        found = str(int(found) + 1) if found.isdigit() else "1"
    if found:
        desired["metadata"]["annotations"] = {_TRY_AGAIN: found}
    return desired


def operator_release(parameters: Parameters) -> ReleasePlanner:
    """The release with the operator."""
    kiali = parameters.kiali
    source = Source(
        kiali.operator_namespace,
        kiali.chart_repository,
        kiali.version,
        parameters.timeouts.kiali,
    )
    return ReleasePlanner(kiali.operator, source, _from_hub(parameters))


def _from_hub(parameters: Parameters) -> dict[str, Any]:
    """Return the values that take the images from elsewhere than Kiali's own registry.

    See https://kiali.io/docs/installation/installation-guide/advanced-install-options/.
    """
    kiali = parameters.kiali
    if kiali.hub is None:
        return {}
    given = kiali.operator.values.get("image") or {}
    image = {**given, "repo": f"{kiali.hub}/kiali-operator"}
    return {"image": image, "allowAdHocKialiImage": True}


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story."""
    return (
        _InstallOperator(parameters),
        addons.step(parameters),
        tracing.step(parameters),
        _DescribeKiali(parameters),
        kiali_readers.step(),
    )
