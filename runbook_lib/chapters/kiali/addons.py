"""Prometheus and Jaeger, which Kiali reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx

from runbook_lib.base import CommandError, WaitTimeout, wait
from runbook_lib.chapters.kiali import addon_manifests as addons
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.shared import objects
from runbook_lib.chapters.shared.preflight.nodes import on_no_node
from runbook_lib.cluster import (
    Object,
    labels_of,
    live_object,
    ownership,
    place_of,
    pods,
    reference,
)
from runbook_lib.lifecycle import (
    Check,
    Context,
    Exports,
    Finding,
    Plan,
    Step,
    Verification,
    require,
    table,
)
from runbook_lib.mesh import rollout
from runbook_lib.parameters import Parameters

_SAMPLES = (
    "Istio calls its sample add-ons unfit for production: they keep their data in the pod, ask for "
    "no login, and are not sized for your traffic."
)


@dataclass(frozen=True)
class _Addon:
    """One add-on, and how to tell that it works.

    Attributes:
        name: The name of its sample.
        title: Its name for people.
        service: The Service through which Kiali reads it.
        port: That Service's port.
        path: A question to which it answers with JSON.
        parameter: The parameter that names its manifest.
    """

    name: str
    title: str
    service: str
    port: int
    path: str
    parameter: str


_PROMETHEUS = _Addon(
    "prometheus",
    "Prometheus",
    "prometheus",
    9090,
    "/api/v1/targets?state=active",
    "prometheus_manifest",
)
_JAEGER = _Addon("jaeger", "Jaeger", "tracing", 80, "/jaeger/api/services", "jaeger_manifest")


class _InstallAddons(Step):
    """Apply the manifests of both, or of the one that is not there already."""

    name = "kiali-addons"
    title = "Install Prometheus and Jaeger"
    why = "Kiali stores nothing: it draws what Prometheus has measured and Jaeger has traced"
    takes = "a minute; longer where images have to be pulled"
    risk = "none for the application; Prometheus reads every pod that offers metrics"
    undo = "delete the objects of both manifests; their data goes with the pods"

    def __init__(self, parameters: Parameters) -> None:
        kiali = parameters.kiali
        self._addons = tuple(
            addon
            for addon, own in (
                (_PROMETHEUS, kiali.prometheus_url),
                (_JAEGER, kiali.tracing_url),
            )
            if own is None
        )
        self._read: dict[str, list[Object]] = {}

    def plan(self, context: Context) -> Plan:
        if not self._addons:
            note = "Kiali reads a Prometheus and a Jaeger that are there already."
            return Plan(self.name, context.target.uid, note=note)
        desired, used = self._to_apply(context)
        plan = objects.plan_objects(
            context, self.name, desired, " ".join([*used, _SAMPLES]), own=True
        )
        found = tuple(self._pending(context, desired)) if not plan.empty else ()
        require(found)
        note = " ".join([*used, _SAMPLES, *(each.sentence for each in found)])
        pulled = f"{note} Nodes pull {', '.join(pods.images(desired))}."
        return plan if plan.empty else replace(plan, note=pulled)

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self._to_apply(context)[0])
        for workload in self._workloads(context):
            rollout.wait_until_complete(
                context, *place_of(workload), timeout=context.parameters.timeouts.kiali
            )

    def verify(self, context: Context) -> Verification:
        found = [self._workload_check(context, item) for item in self._workloads(context)]
        if table.all_ok(found):
            found += [_answer_check(context, addon) for addon in self._addons]
        checks = found or [Check("add-ons", "others, named by the parameters", ok=None)]
        return Verification(self.name, (table.of_checks("Add-ons", checks),))

    def exports(self, context: Context) -> Exports:
        # By their label: what was applied from an export is the runbook's, whoever applied it.
        return Exports(
            objects=tuple(
                item
                for addon in self._addons
                for item in self._objects(context, addon)
                if (there := live_object(context.cluster, item)) is None
                or labels_of(there).items() >= manifest.ADDON.items()
            )
        )

    def _to_apply(self, context: Context) -> tuple[list[Object], list[str]]:
        """Return the objects to apply; and what is used as it is, because others made it."""
        desired: list[Object] = []
        used: list[str] = []
        for addon in self._addons:
            items = self._objects(context, addon)
            others = _made_by_others(context, filter(_is_workload, items))
            if others:
                used += [
                    f"{each}, and the rest of {addon.title}, is used as it is." for each in others
                ]
            else:
                desired += items
        return desired, used

    def _pending(self, context: Context, desired: Sequence[Object]) -> Iterator[Finding]:
        """Find that no node takes the pods of an add-on."""
        for addon in self._addons:
            made = [item for item in self._objects(context, addon) if item in desired]
            value = f"kiali.{addon.parameter}: a manifest of yours, with tolerations"
            yield from on_no_node(context, made, value)

    def _workloads(self, context: Context) -> list[Object]:
        items = (item for addon in self._addons for item in self._objects(context, addon))
        return [item for item in items if _is_workload(item)]

    def _objects(self, context: Context, addon: _Addon) -> list[Object]:
        """Return an add-on's objects; its manifest is read once, when it is planned."""
        items = addons.moved(self._manifest(context, addon), context.parameters.istio.namespace)
        return [addons.labelled(item, manifest.ADDON) for item in items]

    def _manifest(self, context: Context, addon: _Addon) -> list[Object]:
        if addon.name not in self._read:
            self._read[addon.name] = addons.read(
                _location(context, addon),
                timeout=context.parameters.timeouts.probe,
                remedy=f"save the manifest to a file and name it in kiali.{addon.parameter}",
            )
        return self._read[addon.name]

    @staticmethod
    def _workload_check(context: Context, desired: Object) -> Check:
        where = reference(desired)
        found = live_object(context.cluster, desired)
        if found is None:
            return Check(where, "missing", ok=False)
        done, counts = rollout.progress(found)
        return Check(where, counts, done)


def step(parameters: Parameters) -> Step:
    """The step that installs what the parameters do not name as there already."""
    return _InstallAddons(parameters)


def _is_workload(item: Object) -> bool:
    return item["kind"] in ("Deployment", "StatefulSet", "DaemonSet")


def _made_by_others(context: Context, items: Iterable[Object]) -> list[str]:
    """Say which of these objects are in the cluster and not the runbook's own, and whose."""
    found = (live_object(context.cluster, item) for item in items)
    return [
        f"{reference(item)}, which is there already (made by {ownership.makers(item)})"
        for item in found
        if item is not None and not ownership.is_own(item)
    ]


def _location(context: Context, addon: _Addon) -> str:
    """Return where an add-on's manifest is: as the parameters say, in the lab, or released."""
    given = getattr(context.parameters.kiali, addon.parameter)
    if given is not None:
        return str(given)
    local = context.target.addons.get(addon.name)
    if local is not None:
        return str(local)
    version = context.parameters.istio.version or context.istioctl.version().client
    return addons.RELEASED.format(version=version, name=addon.name)


def _answer_check(context: Context, addon: _Addon) -> Check:
    """Ask an add-on what Kiali will ask it, until it answers as it should.

    The way to it stays open from one question to the next, for as long as answers come.
    """
    found, namespace = "", context.parameters.istio.namespace
    open_ways: list[str] = []
    with ExitStack() as way:

        def observe() -> wait.State:
            nonlocal found
            try:
                if not open_ways:
                    to = context.forwarded(f"service/{addon.service}", namespace, addon.port)
                    open_ways.extend(way.enter_context(to))
                ok, found = _ask(context, addon, open_ways[0])
            except CommandError as error:
                ok, found = False, f"no way to its Service: {error.stderr or error.cause}"
            except httpx.HTTPError as error:
                ok, found = False, f"no answer: {error or type(error).__name__}"
                open_ways.clear()
                way.close()
            return wait.State(ok, found)

        try:
            wait.until(
                f"{addon.title} to answer",
                observe,
                timeout=context.parameters.timeouts.policy,
                interval=0.5,
                on_change=context.waiting,
            )
        except WaitTimeout:
            return Check(addon.title, found, ok=False)
    return Check(addon.title, found, ok=True)


def _ask(context: Context, addon: _Addon, url: str) -> tuple[bool, str]:
    """Return whether an add-on answers as it should, and what it answers.

    Raises:
        HTTPError: It does not answer.
    """
    timeout = context.parameters.timeouts.probe
    answer = httpx.get(url + addon.path, timeout=timeout, trust_env=False)
    if answer.status_code != 200:
        return False, f"{addon.path} answers {answer.status_code}"
    try:
        found = json.loads(answer.text)["data"]
        if addon is _PROMETHEUS:
            return judge_targets(found["activeTargets"], _to_be_read(context))
        return isinstance(found, list | None), "answers queries"
    except (ValueError, KeyError, TypeError):
        return False, f"{addon.path} answers something else than expected"


def _to_be_read(context: Context) -> dict[str, tuple[str, str]]:
    """Return what Prometheus must read: for each a namespace, and how its pods' names begin."""
    parameters = context.parameters
    desired = {"istiod": (parameters.istio.namespace, "istiod")}
    application = parameters.application.namespace
    if any(map(pods.has_sidecar, context.cluster.list("v1", "Pod", application))):
        desired[f"the sidecars of {application}"] = (application, "")
    return desired


def judge_targets(
    targets: list[dict[str, Any]], desired: dict[str, tuple[str, str]]
) -> tuple[bool, str]:
    """Say whether Prometheus reads what it must, and why not.

    Args:
        targets: As Prometheus's API lists them, with the labels by which they were discovered.
        desired: By name: a namespace, and how the names of pods in it begin.
    """
    missing = []
    for what, (namespace, begins) in desired.items():
        found = [each for each in targets if _is_pod(each, namespace, begins)]
        if not any(each["health"] == "up" for each in found):
            errors = sorted({each["lastError"] for each in found if each["lastError"]})
            yet = "not read yet" if found else "not among its targets"
            missing.append(f"{what}: {'; '.join(errors[:2]) or yet}")
    if missing:
        return False, f"does not read {', '.join(missing)}"
    return True, f"answers, and reads {' and '.join(desired)}"


def _is_pod(target: dict[str, Any], namespace: str, begins: str) -> bool:
    labels = target["discoveredLabels"]
    name = labels.get("__meta_kubernetes_pod_name")
    return (
        labels.get("__meta_kubernetes_namespace") == namespace
        and name is not None
        and str(name).startswith(begins)
    )
