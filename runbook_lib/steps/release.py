"""Plan and apply one Helm release."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from runbook_lib.cluster import Object
from runbook_lib.context import Context
from runbook_lib.diff import canonical_yaml, object_diff, reference
from runbook_lib.errors import KindNotInstalled
from runbook_lib.helm import Chart, Release
from runbook_lib.parameter_model import ChartParameters
from runbook_lib.plan import Change, Plan
from runbook_lib.redact import redact
from runbook_lib.steps import preflight, recovery
from runbook_lib.table import Check

CRD = "CustomResourceDefinition"

INSTALLED_BY = {"installed-by": "istio-runbook"}
"""Labels a release that the runbook installed: only those are uninstalled by a rollback."""


@dataclass(frozen=True)
class Source:
    """Where a release goes, and where its chart comes from unless the target brings it.

    Attributes:
        namespace: The release's namespace.
        repository: URL of the chart repository; it is named in every call, so that nothing of the
            user's own Helm configuration is used or changed.
        version: The chart's version; None for the newest.
        timeout: Seconds that Helm may take.
    """

    namespace: str
    repository: str | None
    version: str | None
    timeout: float


class ReleasePlanner:
    """One release: what installing, changing or removing it does, and how to bring it about."""

    def __init__(
        self, chart: ChartParameters, source: Source, values: dict[str, Any] | None = None
    ) -> None:
        """Nothing is looked at yet.

        Args:
            chart: Release, chart and values as the parameters give them.
            source: Where it goes and comes from.
            values: Values that follow from other parameters; they win.
        """
        self._parameters = chart
        self._source = source
        self._values = {**chart.values, **(values or {})}
        self._rendered: list[Object] | None = None
        self._definitions: list[Object] | None = None
        self._newest: str | None = None

    @property
    def ref(self) -> str:
        """The release, as plans name it."""
        return f"Helm release {self._parameters.release}"

    def rendered(self, context: Context) -> list[Object]:
        """Return the objects that the chart makes of the values.

        They are rendered once: chart and values are the same for the whole run.
        """
        if self._rendered is None:
            self._rendered = context.helm.template(
                self._parameters.release,
                self._chart(context),
                namespace=self._source.namespace,
                values=self._values,
                kube_version=context.cluster.server_version(),
            )
        return self._rendered

    def definitions(self, context: Context) -> list[Object]:
        """Return the kinds of the chart's folder `crds`, which Helm installs and never changes.

        See https://helm.sh/docs/chart_best_practices/custom_resource_definitions/.
        """
        if self._definitions is None:
            self._definitions = context.helm.show_crds(self._chart(context))
        return self._definitions

    def changes(self, context: Context) -> tuple[Change, ...]:
        """Return what installing or upgrading would change; empty if nothing.

        Raises:
            RunbookError: Another Helm may be at work on the release, or objects that it would
                create are there and belong to others.
        """
        current = recovery.settled(context, self._parameters.release, self._source.namespace)
        if current is None:
            self._refuse_foreign(context)
            return (self._install(context),)
        if current.stuck:
            return (self._recover(context, current),)
        sections = self._differences(context, current)
        if not sections:
            return ()
        text = "\n".join(sections)
        content = [text, self._content(context), str(current.revision)]
        return (Change(self.ref, "upgrade", text, _digest(content)),)

    def apply(self, context: Context, plan: Plan) -> None:
        """Install or upgrade the release, if the plan changes it; does not wait for workloads."""
        if self.ref not in {change.ref for change in plan.changes}:
            return
        release, namespace = self._parameters.release, self._source.namespace
        current = context.helm.status(release, namespace=namespace)
        if current is not None and current.stuck:
            current = recovery.recover(
                context, self._to_recover(context, current), timeout=self._source.timeout
            )
            if not self._differences(context, current):
                return
        new = any(change.action == "install" for change in plan.changes if change.ref == self.ref)
        context.helm.upgrade_install(
            release,
            self._chart(context),
            namespace=namespace,
            values=self._values,
            # Waiting is done by the step, which can say what it waits for and why.
            wait=False,
            timeout=self._source.timeout,
            labels=INSTALLED_BY if new else None,
        )

    def removal(self, context: Context) -> tuple[Change | None, str]:
        """Return what uninstalling changes, None if nothing; and why the release stays, if so.

        Raises:
            RunbookError: Another Helm may be at work on the release.
        """
        release, namespace = self._parameters.release, self._source.namespace
        # Unlike an upgrade, uninstalling needs no recovery: it works in every state.
        last = recovery.settled(context, release, namespace)
        if last is None:
            return None, ""
        if not self._is_own(context):
            return None, f"{self.ref} stays: it was not installed by this runbook."
        items = context.helm.get_manifest(release, namespace=namespace)
        kept = [item for item in items if _is_kept(item)]
        lines = [
            f"chart {last.chart} {last.chart_version}, revision {last.revision}, {last.status}",
            f"objects ({len(items) - len(kept)}):",
            *(f"  delete {reference(item)}" for item in items if item not in kept),
            *([f"kept by Helm ({len(kept)}):"] if kept else []),
            *(f"  keep {reference(item)}" for item in kept),
        ]
        return Change.of_text(self.ref, "uninstall", redact("\n".join(lines))), ""

    def uninstall(self, context: Context, plan: Plan) -> None:
        """Uninstall the release, if the plan says so, and wait until its objects are gone."""
        if ("uninstall", self.ref) not in {(change.action, change.ref) for change in plan.changes}:
            return
        context.helm.uninstall(
            self._parameters.release,
            namespace=self._source.namespace,
            timeout=self._source.timeout,
        )

    def check_removed(self, context: Context) -> Check:
        """Look whether the release is gone; one of others may stay."""
        found = context.helm.status(self._parameters.release, namespace=self._source.namespace)
        if found is None:
            return Check(self.ref, "gone", ok=True)
        if not self._is_own(context):
            return Check(self.ref, "stays: not of this runbook", ok=None)
        return Check(self.ref, f"still {found.status}", ok=False)

    def check(self, context: Context) -> Check:
        """Look at the release's state."""
        release = context.helm.status(self._parameters.release, namespace=self._source.namespace)
        if release is None:
            return Check(self.ref, "missing", ok=False)
        return Check(self.ref, release.status, release.deployed)

    def _is_own(self, context: Context) -> bool:
        labels = context.helm.get_labels(self._parameters.release, namespace=self._source.namespace)
        return labels.items() >= INSTALLED_BY.items()

    def _refuse_foreign(self, context: Context) -> None:
        """Refuse what Helm would refuse: objects that are there already, and another's."""
        found = [item for each in self.rendered(context) if (item := _live(context, each))]
        if any(item["kind"] == CRD for item in found):
            # Helm leaves those of a chart's folder `crds` alone.
            plain = {reference(item) for item in self.definitions(context)}
            found = [item for item in found if reference(item) not in plain]
        release, namespace = self._parameters.release, self._source.namespace
        preflight.require(
            preflight.foreign(context, found, release, namespace, "its release's name")
        )

    def _install(self, context: Context) -> Change:
        values = canonical_yaml(self._values).rstrip()
        names = [reference(item) for item in self.rendered(context)]
        text = "\n".join(
            [
                f"chart {self._describe(context)}",
                "values:",
                *(f"  {line}" for line in values.splitlines()),
                f"objects ({len(names)}):",
                *(f"  create {name}" for name in names),
            ]
        )
        return Change(self.ref, "install", redact(text), _digest([text, self._content(context)]))

    def _recover(self, context: Context, stuck: Release) -> Change:
        base = self._to_recover(context, stuck)
        parts = [recovery.explain(stuck, base), *self._differences_from(context, base)]
        text = "\n".join(parts)
        return Change(self.ref, "recover", text, _digest([text, self._content(context)]))

    def _to_recover(self, context: Context, stuck: Release) -> Release:
        as_wanted = not self._differences_from(context, stuck, look_for_missing=False)
        history = context.helm.history(stuck.name, namespace=stuck.namespace)
        return recovery.base(stuck, history, as_wanted=as_wanted)

    def _differences(self, context: Context, current: Release) -> list[str]:
        """Return what differs from the deployed release, a section a kind of difference."""
        state = [] if current.deployed else [f"its last operation left it {current.status}"]
        return state + self._differences_from(context, current)

    def _differences_from(
        self, context: Context, revision: Release, *, look_for_missing: bool = True
    ) -> list[str]:
        """Return what differs between a revision and what shall be, and what of it is missing."""
        which: dict[str, Any] = {"namespace": revision.namespace, "revision": revision.revision}
        sections = []
        before = context.helm.get_values(revision.name, **which)
        after = self._values
        if before != after:
            sections.append(_text_diff("values", canonical_yaml(before), canonical_yaml(after)))
        old = _by_reference(context.helm.get_manifest(revision.name, **which))
        new = _by_reference(self.rendered(context))
        if any(item["kind"] == CRD for name, item in new.items() if name not in old):
            # Helm stores none of a chart's folder `crds`, and leaves those in the cluster alone.
            for item in self.definitions(context):
                new.pop(reference(item), None)
        for name in sorted(old.keys() | new.keys()):
            diff = object_diff(old.get(name), new.get(name))
            if diff.action != "none":
                sections.append(f"{diff.action} {name}\n{diff.text}")
            elif look_for_missing and _live(context, new[name]) is None:
                sections.append(f"create {name}: it is not in the cluster")
        return sections

    def _chart(self, context: Context) -> Chart:
        name = self._parameters.chart
        local = context.target.charts.get(name)
        if local is not None:
            return Chart(local)
        version = self._source.version or self._newest
        chart = Chart(name, repository=self._source.repository, version=version)
        if version is None:
            # The newest is looked up once: what was planned is what will be applied.
            self._newest = str(context.helm.show_chart(chart)["version"])
            return replace(chart, version=self._newest)
        return chart

    def _describe(self, context: Context) -> str:
        chart = self._chart(context)
        if chart.repository is None:
            return f"{self._parameters.chart} (local folder)"
        return f"{chart.reference} {chart.version} from {chart.repository}"

    def _content(self, context: Context) -> str:
        return json.dumps(self.rendered(context), sort_keys=True, default=str)


def _live(context: Context, item: Object) -> Object | None:
    """Return a rendered object as it is in the cluster; None if it is not there."""
    metadata = item["metadata"]
    # Charts leave the release's namespace out of some objects, and kinds without one ignore it.
    namespace = metadata.get("namespace")
    try:
        return context.cluster.get(item["apiVersion"], item["kind"], metadata["name"], namespace)
    except KindNotInstalled:
        return None


def _is_kept(item: Object) -> bool:
    """Whether Helm leaves an object behind; see the annotation in Helm's documentation."""
    annotations = item["metadata"].get("annotations") or {}
    return annotations.get("helm.sh/resource-policy") == "keep"


def _by_reference(items: list[Object]) -> dict[str, Object]:
    return {reference(item): item for item in items}


def _text_diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"live {name}", f"desired {name}", lineterm=""
    )
    return redact("\n".join(lines))


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
