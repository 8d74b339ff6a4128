"""The Kiali resource: applied, and carried out by its operator."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from runbook_lib.base import WaitFailed, WaitTimeout, wait
from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import checks as kiali_checks
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.kiali import status as kiali_status
from runbook_lib.chapters.kiali.instance import judging, obstacles, replacing
from runbook_lib.chapters.kiali.instance.replacing import Replaced
from runbook_lib.chapters.shared import objects, preflight
from runbook_lib.cluster import Object, annotations_of, live_object, object_diff, ref, reference
from runbook_lib.lifecycle import (
    Change,
    Check,
    Context,
    Exports,
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

_TRY_AGAIN = "istio-runbook/try-again"
"""An annotation: a change of any has the operator look at the resource again.

See https://kiali.io/docs/installation/installation-guide/creating-updating-kiali-cr/.
"""


_AWAY = "From then until the operator has made it anew, about half a minute, no one reaches Kiali."
_AWAY_OUTSIDE = (
    "From outside no one does until the new load balancer serves, two to five minutes on AWS; its "
    "address is another, so the host's DNS entry has to follow."
)


class _DescribeKiali(Step):
    """Apply the Kiali resource and wait until its operator is done."""

    name = "kiali-instance"
    title = "Describe Kiali to its operator"
    why = "one resource says how people log in, how they reach Kiali and what it reads"
    takes = "one to three minutes; a new load balancer on AWS takes as long again"
    undo = "delete the Kiali resource while the operator runs: it removes what it made"

    def __init__(self, parameters: Parameters) -> None:
        self._away: float | None = None
        self.risk = {
            "cluster": "none: there is no way in from outside",
            "load-balancer": "tokens travel in clear text through a load balancer that may be "
            "public",
            "nlb-tls": "whoever reaches the load balancer sees the login page",
            "alb-ingress": "whoever reaches the load balancer sees the login page",
            "ingress": "whoever reaches the controller sees the login page",
        }[parameters.kiali.exposure]

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from preflight.kiali_of_others(context)
        yield from refusals(lambda: self._plan(context))

    def plan(self, context: Context) -> Plan:
        require(preflight.kiali_of_others(context))
        return self._plan(context)

    def _plan(self, context: Context) -> Plan:
        replaced = replacing.needed(context, manifest.kiali(context.parameters))
        desired = _wanted(context, again=True, replaced=replaced)
        plan = objects.plan_objects(context, self.name, [desired], own=True)
        if plan.empty:
            return plan
        found = list(obstacles.find(context, desired, replaced))
        require(found)
        kiali = context.parameters.kiali
        away = [_AWAY] if kiali.exposure == "cluster" else [_AWAY, _AWAY_OUTSIDE]
        hub = kiali.hub or "quay.io/kiali"
        notes = [
            *(f"{reference(each.item)} is deleted first: {each.why}." for each in replaced),
            *(away if replaced else []),
            *(each.sentence for each in found),
            f"The operator has nodes pull {hub}/kiali of its own version.",
        ]
        deleted = [Change.of_object(object_diff(each.item, None)) for each in replaced]
        return replace(plan, changes=(*deleted, *plan.changes), note=" ".join(notes))

    def apply(self, context: Context, plan: Plan) -> None:
        replaced = replacing.needed(context, manifest.kiali(context.parameters))
        desired = _wanted(context, again=True, replaced=replaced)
        began = time.monotonic()
        if replaced:
            self._delete(context, plan, [each.item for each in replaced])
        (applied,) = objects.apply_objects(context, plan, [desired])
        before = kiali_status.conditions(applied)
        if kiali_status.at_work(applied):
            # That run began before the change: it ends in a result about the resource as it was.
            before = self._after_that_run(context, before)
        self._wait_for_operator(context, before)
        self._wait_for_deployment(context)
        self._away = time.monotonic() - began if replaced else None

    def exports(self, context: Context) -> Exports:
        return Exports(objects=(manifest.kiali(context.parameters),))

    def _delete(self, context: Context, plan: Plan, items: list[Object]) -> None:
        """Delete what is made anew, while the operator rests: it would bring back the old one."""
        resource = live_object(context.cluster, manifest.kiali(context.parameters))
        if kiali_status.at_work(resource):
            self._after_that_run(context, kiali_status.conditions(resource))
        timeout = context.parameters.timeouts.kiali
        objects.delete_objects(context, plan, items, timeout=timeout)

    def verify(self, context: Context) -> Verification:
        desired = _wanted(context)
        described = objects.check(context, desired)
        self._wait_for_operator(context, None)
        self._wait_for_deployment(context)
        checks = [
            described,
            Check("operator", "done", ok=True),
            *judging.checks(context),
            *self._address_checks(context),
        ]
        if self._away is not None:
            said = f"for {self._away:.0f} s at most, while it was made anew"
            checks.append(Check("not reachable in the cluster", said, ok=None))
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
            manifest.API,
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
                manifest.API,
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
        exposure = context.parameters.kiali.exposure
        if exposure == "cluster":
            return [Check("address", "none from outside, as asked for", ok=None)]
        if exposure == "ingress":
            # Not every controller writes down its address.
            found = kiali_access.address(context)
            there = [Check("address", found.lacking or "there", ok=None if found.lacking else True)]
            return [*there, kiali_access.look_from_here(context)]

        def observe() -> wait.State:
            found = kiali_access.address(context)
            return wait.State(bool(found.balancer), found.lacking or "there")

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


def _wanted(context: Context, *, again: bool = False, replaced: Sequence[Replaced] = ()) -> Object:
    """Return the resource as it should be.

    Args:
        context: Where.
        again: If the operator has failed at what the resource says already, have it try again: by
            itself it would, but later and later.
        replaced: What is deleted first: the operator does not watch it, and has to make it anew.
    """
    desired = manifest.kiali(context.parameters)
    there = live_object(context.cluster, desired)
    found = annotations_of(there or {}).get(_TRY_AGAIN, "")
    if there is not None and (replaced or (again and kiali_status.has_failed(there))):
        found = str(int(found) + 1) if found.isdigit() else "1"
    if found:
        desired["metadata"]["annotations"] = {_TRY_AGAIN: found}
    return desired


def step(parameters: Parameters) -> Step:
    """The step that describes Kiali to its operator."""
    return _DescribeKiali(parameters)
