"""Istio itself: the chart with its kinds, then the control plane. No gateways."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared import definitions, objects, preflight
from runbook_lib.chapters.shared.preflight.nodes import on_no_node
from runbook_lib.chapters.shared.preflight.traffic import two_families
from runbook_lib.chapters.shared.release import manifest
from runbook_lib.chapters.shared.release.planner import ReleasePlanner
from runbook_lib.cluster import APPS, CRD, Object, live_object, name_of, reference
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
from runbook_lib.mesh import injection, rollout

_GATEWAYS = ("ingressgateway", "egressgateway")
"""Values of the label `istio` on the gateways of Istio's charts."""


class InstallBase(Step):
    """Install the chart with Istio's custom resource definitions."""

    name = "install-base"
    title = "Install istio-base"
    why = "the cluster learns Istio's kinds, such as PeerAuthentication; nothing runs yet"
    takes = "seconds"
    risk = "none for the application: kinds without objects do nothing"
    undo = "uninstall the release last; Helm keeps the kinds, because deleting them deletes "
    undo += "every object of theirs"
    version_parameter = "istio.version"

    def __init__(self, release: ReleasePlanner) -> None:
        self._release = release

    def release(self, context: Context) -> ReleasePlanner:  # noqa: ARG002 -- for who looks first
        """Return the release as it is to be."""
        return self._release

    def obstacles(self, context: Context) -> Iterator[Finding]:
        """Find versions, control planes and owners that are in the way, and precheck's errors."""
        yield from self._in_the_way(context)
        yield from refusals(lambda: self._changes(context))

    def plan(self, context: Context) -> Plan:
        """Plan the namespace and the release."""
        require(self._in_the_way(context))
        planned = objects.plan_objects(context, self.name, self._namespace(context))
        changes = planned.changes + self._changes(context)
        return Plan(self.name, context.target.uid, changes)

    def drift(self, context: Context) -> tuple[Change, ...]:
        """Return as well what was edited behind Helm's back."""
        return (*super().drift(context), *self.release(context).drift(context))

    def apply(self, context: Context, plan: Plan) -> None:
        """Apply both."""
        objects.apply_objects(context, plan, self._namespace(context))
        self.release(context).apply(context, plan)

    def verify(self, context: Context) -> Verification:
        """Prove that the API server serves every kind of the chart.

        Raises:
            WaitTimeout: It does not in time.
        """
        release = self.release(context)
        desired = {name_of(item) for item in release.rendered(context) if item["kind"] == CRD}
        definitions.wait_until_served(
            context, "Istio's kinds", desired, timeout=context.parameters.timeouts.istiod
        )
        checks = [
            release.check(context),
            Check("Istio's kinds", f"{len(desired)} of {len(desired)} served", ok=True),
        ]
        return Verification(self.name, (table.of_checks("istio-base", checks),))

    def exports(self, context: Context) -> Exports:
        """Return the namespace of Istio and the release."""
        namespace = manifest.istio_namespace(context.parameters)
        return Exports(objects=(namespace,), releases=(self.release(context).exported(context),))

    def _changes(self, context: Context) -> tuple[Change, ...]:
        changes = self.release(context).changes(context)
        if changes:  # it takes a second, and is about nothing else
            require(preflight.precheck(context))
        return changes

    def _in_the_way(self, context: Context) -> Iterator[Finding]:
        yield from preflight.namespace(context, context.parameters.istio.namespace)
        yield from preflight.versions(context, self.version_parameter)
        yield from preflight.istios(context)

    @staticmethod
    def _namespace(context: Context) -> list[Object]:
        return objects.own_namespace(context, manifest.istio_namespace(context.parameters))


class InstallIstiod(Step):
    """Install the control plane."""

    name = "install-istiod"
    title = "Install istiod"
    why = "istiod injects the sidecars, issues their certificates and tells them the policies"
    takes = "a minute; longer where the image has to be pulled"
    risk = "none for the application: pods keep the sidecars that they have, if any, until replaced"
    undo = "uninstall the release, after the sidecars are gone"
    pulled = "from notebook 02 on"
    version_parameter = "istio.version"

    def __init__(self, release: ReleasePlanner) -> None:
        self._release = release

    def obstacles(self, context: Context) -> Iterator[Finding]:
        """Find versions, control planes, webhooks and owners that are in the way."""
        yield from self._in_the_way(context)
        yield from refusals(lambda: self._planned(context))

    def plan(self, context: Context) -> Plan:
        """Plan the release."""
        require(self._in_the_way(context))
        return self._planned(context)

    def _planned(self, context: Context) -> Plan:
        changes = self._release.changes(context)
        if not changes:
            return Plan(self.name, context.target.uid)
        rendered = self._release.rendered(context)
        found = (
            *on_no_node(context, rendered, "istio.istiod.values.tolerations"),
            *two_families(context, context.parameters.istio.istiod.values),
        )
        require(found)
        notes = [each.sentence for each in found]
        if image := injection.sidecar_image(rendered):
            notes.append(f"Sidecars will be made of {image}, which nodes pull {self.pulled}.")
        return Plan(self.name, context.target.uid, changes, note=" ".join(notes))

    def drift(self, context: Context) -> tuple[Change, ...]:
        """Return as well what was edited behind Helm's back."""
        return (*super().drift(context), *self._release.drift(context))

    def apply(self, context: Context, plan: Plan) -> None:
        """Apply the release, and wait until its Deployments run its pods alone."""
        self._release.apply(context, plan)
        for deployment in self._deployments(context):
            rollout.wait_until_complete(
                context,
                "Deployment",
                name_of(deployment),
                context.parameters.istio.namespace,
                timeout=context.parameters.timeouts.istiod,
            )

    def verify(self, context: Context) -> Verification:
        """Prove that istiod runs, in istioctl's version, and that the API server reaches it."""
        checks = [
            self._release.check(context),
            *(self._deployment_check(context, item) for item in self._deployments(context)),
            _version_check(context),
            _gateway_check(context),
            self.webhook_check(context),
        ]
        return Verification(self.name, (table.of_checks("istiod", checks),))

    def webhook_check(self, context: Context) -> Check:
        """Look whether the API server reaches istiod's webhook."""
        return injection.check_webhook(context)

    def _in_the_way(self, context: Context) -> Iterator[Finding]:
        yield from preflight.versions(context, self.version_parameter)
        yield from preflight.istios(context)
        yield from preflight.webhooks(context)

    def _deployments(self, context: Context) -> list[Object]:
        return [item for item in self._release.rendered(context) if item["kind"] == "Deployment"]

    def exports(self, context: Context) -> Exports:
        """Return the release."""
        return Exports(releases=(self._release.exported(context),))

    @staticmethod
    def _deployment_check(context: Context, rendered: Object) -> Check:
        found = live_object(context.cluster, rendered)
        if found is None:
            return Check(reference(rendered), "missing", ok=False)
        done, counts = rollout.progress(found)
        return Check(reference(rendered), counts, done)


def _version_check(context: Context) -> Check:
    versions = context.istioctl.version(context.parameters.istio.revision)
    same = versions.client == versions.control_plane
    found = "the same" if same else f"{versions.client} and {versions.control_plane or 'none'}"
    return Check("versions of istioctl and istiod", found, same)


def _gateway_check(context: Context) -> Check:
    """Look for gateways: on this road in, the load balancer reaches the pods directly.

    Those that others run beside istiod have roads of their own, and are only shown.
    """
    istio = context.parameters.istio
    subject = f"gateways in {istio.namespace}"
    found = [
        item
        for name in _GATEWAYS
        for item in context.cluster.list(APPS, "Deployment", istio.namespace, {"istio": name})
    ]
    releases = {(each.release, istio.namespace) for each in (istio.base, istio.istiod)}
    own = [item for item in found if preflight.release_of(item) in releases]
    if own or not found:
        return Check(subject, ", ".join(map(reference, own)) or "none", not own)
    return Check(subject, f"{', '.join(map(reference, found))}: of others", ok=None)
