"""Plan and apply one Helm release."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

from runbook_lib.base import redact_value
from runbook_lib.base.redact import redact
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.release import contested, drift, recovery
from runbook_lib.cluster import (
    CRD,
    Object,
    annotations_of,
    canonical_yaml,
    live_object,
    merged,
    object_diff,
    pods,
    reference,
)
from runbook_lib.lifecycle import (
    Change,
    Check,
    Context,
    ExportedRelease,
    Finding,
    Plan,
    refusals,
    require,
)
from runbook_lib.parameters import ChartParameters
from runbook_lib.tools import Chart, Release, is_older


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


class _ChartVersion(NamedTuple):
    """A chart's own name, and its version."""

    name: str
    version: str


class _Difference(NamedTuple):
    """One thing about a release that is not as it should be.

    Attributes:
        what: Names it, on one line.
        text: Shows it, as plans do.
    """

    what: str
    text: str


class ReleasePlanner:
    """One release: what installing, changing or removing it does, and how to bring it about."""

    def __init__(
        self,
        chart: ChartParameters,
        source: Source,
        values: dict[str, Any] | None = None,
        own_values: dict[str, Any] | None = None,
        *,
        goes_back: bool = False,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            chart: Release, chart and values as the parameters give them.
            source: Where it goes and comes from.
            values: Values that follow from other parameters; they win.
            own_values: Further ones for a release of this runbook. One of others is as it should be
                without them.
            goes_back: Whether the chart may be older than the one that is installed.
        """
        self._parameters = chart
        self._source = source
        self._given_values = {**chart.values, **(values or {})}
        self._own_values = own_values or {}
        self._goes_back = goes_back
        self._wanted_values: dict[str, Any] | None = None
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
                values=self._values(context),
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

    def exported(self, context: Context) -> ExportedRelease:
        """Return what installs the release, for those who keep it in Git."""
        name, version = self._wanted_chart(context)
        return ExportedRelease(
            self._parameters.release,
            self._source.namespace,
            name,
            version,
            self._chart(context).repository,
            merged(self._given_values, self._own_values),
        )

    def obstacles(self, context: Context) -> tuple[Finding, ...]:
        """Return what refuses to install or upgrade the release."""
        return refusals(lambda: self.changes(context))

    def changes(self, context: Context) -> tuple[Change, ...]:
        """Return what installing or upgrading would change; empty if nothing.

        Raises:
            Refused: Another Helm may be at work on the release; it would be changed, and others
                installed it, it has a newer chart or others manage fields of it; or objects that
                it would create are there and are not its own.
        """
        current = recovery.settled(context, self._parameters.release, self._source.namespace)
        if current is None:
            require(self._foreign(context))
            return (self._install(context),)
        if current.stuck:
            require(self._interrupted_by_others(context, current))
            return (self._recover(context, current),)
        differences = self._differences(context, current)
        if not differences:
            return ()
        require(
            chain(
                self._made_by_others(context, current, differences),
                self._newer_chart(context, current),
                self._contested(context, current),
            )
        )
        text = _shown(differences)
        content = [text, self._content(context), str(current.revision)]
        return (Change(self.ref, "upgrade", text, _digest(content)),)

    def drift(self, context: Context) -> tuple[Change, ...]:
        """Return what others changed about the release's objects in the cluster.

        A plan compares revisions, as Helm does, and does not see it.
        """
        return drift.of_objects(self._present(context))

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
            values=self._values(context),
            timeout=self._source.timeout,
            labels=preflight.INSTALLED_BY if new else None,
            force_conflicts=current is not None and contested.forced(context, current),
        )

    def removal(self, context: Context) -> tuple[Change | None, str]:
        """Return what uninstalling changes, None if nothing; and why the release stays, if so.

        Raises:
            Refused: Another Helm may be at work on the release.
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

    def _values(self, context: Context) -> dict[str, Any]:
        """Return the values that the release should have; whose it is, is asked once.

        A release that others installed from an export has the further ones, too.
        """
        if self._wanted_values is None:
            release, namespace = self._parameters.release, self._source.namespace
            every = merged(self._given_values, self._own_values)
            without = (
                bool(self._own_values)
                and context.helm.status(release, namespace=namespace) is not None
                and not self._is_own(context)
                and context.helm.get_values(release, namespace=namespace) != every
            )
            self._wanted_values = self._given_values if without else every
        return self._wanted_values

    def _is_own(self, context: Context) -> bool:
        return preflight.is_own(context, self._parameters.release, self._source.namespace)

    def _interrupted_by_others(self, context: Context, stuck: Release) -> Iterator[Finding]:
        """Find that what is to be recovered is not ours: a Helm of others may wait longer."""
        if self._is_own(context):
            return
        where = f"--namespace {stuck.namespace}"
        yield Finding(
            recovery.name(stuck.name, stuck.namespace),
            f"it {recovery.state(stuck)}, and was not installed by this runbook",
            "a Helm of its owner may still be at work on it",
            f"wait for that Helm (helm history {stuck.name} {where}), or have its owner mend it; "
            f"or {preflight.take_over(stuck.name, stuck.namespace)}",
        )

    def _made_by_others(
        self, context: Context, current: Release, differences: list[_Difference]
    ) -> Iterator[Finding]:
        """Find that others installed what is to be changed."""
        if self._is_own(context):
            return
        chart = self._wanted_chart(context)
        found, wanted = f"{current.chart} {current.chart_version}", f"{chart.name} {chart.version}"
        differing = [f"its chart is {found}, not {wanted}"] if found != wanted else []
        differing.append(preflight.few([difference.what for difference in differences]))
        where = f"--namespace {current.namespace}"
        keepers = (preflight.keeper_of(context, live) for _, live in self._present(context))
        keeper = next(filter(None, keepers), None)
        by, commit = "", ""
        if keeper is not None:
            by = f", but by {keeper.text}"
            commit = (
                f"give {keeper.text} the chart and the values that the parameters say "
                f"(istio-runbook export FOLDER writes values/{current.name}.yaml); or "
            )
        yield Finding(
            recovery.name(current.name, current.namespace),
            f"it was not installed by this runbook{by}, and it is not as the parameters say: "
            + "; ".join(differing),
            "the values of those who did would be lost",
            f"{commit}use it as it is: leave this notebook out, and run the others "
            "(run --only ...); or give the parameters the chart's version and the values that "
            "it has: "
            f"helm get values {current.name} {where}; or "
            f"{preflight.take_over(current.name, current.namespace)}",
        )

    def _newer_chart(self, context: Context, current: Release) -> Iterator[Finding]:
        """Find that the release has a newer chart than the parameters name."""
        chart = self._wanted_chart(context)
        older = is_older(chart.version, current.chart_version)
        if current.chart != chart.name or not older or self._goes_back:
            return
        where = f"--namespace {current.namespace}"
        yield Finding(
            recovery.name(current.name, current.namespace),
            f"it has the chart {current.chart} {current.chart_version}, and the parameters want "
            f"the older {chart.version}",
            "what a newer version has stored, an older one may not understand",
            f"give the parameters the version {current.chart_version} or a newer one; if it must "
            "go back, do that first and then run this again: "
            f"helm rollback {current.name} REVISION {where} "
            f"(helm history {current.name} {where} lists them)",
        )

    def _present(self, context: Context) -> list[tuple[Object, Object]]:
        """Return the rendered objects that are there, each with the live one.

        Helm leaves the kinds of a chart's folder `crds` alone, so they are left out.
        """
        found = [
            (item, there)
            for item in self.rendered(context)
            if (there := live_object(context.cluster, item))
        ]
        if any(item["kind"] == CRD for item, _ in found):
            plain = {reference(item) for item in self.definitions(context)}
            found = [(item, live) for item, live in found if reference(item) not in plain]
        return found

    def _contested(
        self, context: Context, revision: Release, manifest: Iterable[Object] = ()
    ) -> Iterator[Finding]:
        """Find what Helm would refuse: to change fields of its objects that others manage."""
        present = [item for item, _ in self._present(context)]
        return contested.conflicts(context, revision, [*manifest, *present])

    def _foreign(self, context: Context) -> Iterable[Finding]:
        """Find what Helm would refuse: objects that are there already, and another's."""
        found = [live for _, live in self._present(context)]
        release, namespace = self._parameters.release, self._source.namespace
        return preflight.foreign(context, found, release, namespace, "its release's name")

    def _install(self, context: Context) -> Change:
        values = canonical_yaml(redact_value(self._values(context))).rstrip()
        names = [reference(item) for item in self.rendered(context)]
        images = pods.images(self.rendered(context))
        text = "\n".join(
            [
                f"chart {self._describe(context)}",
                "values:",
                *(f"  {line}" for line in values.splitlines()),
                f"objects ({len(names)}):",
                *(f"  create {name}" for name in names),
                *([f"images that nodes pull ({len(images)}):"] if images else []),
                *(f"  {image}" for image in images),
            ]
        )
        return Change(self.ref, "install", redact(text), _digest([text, self._content(context)]))

    def _recover(self, context: Context, stuck: Release) -> Change:
        base = self._to_recover(context, stuck)
        manifest = context.helm.get_manifest(
            base.name, namespace=base.namespace, revision=base.revision
        )
        require(chain(self._newer_chart(context, base), self._contested(context, base, manifest)))
        differences = list(self._differences_from(context, base))
        text = "\n".join(filter(None, [recovery.explain(stuck, base), _shown(differences)]))
        return Change(self.ref, "recover", text, _digest([text, self._content(context)]))

    def _to_recover(self, context: Context, stuck: Release) -> Release:
        as_wanted = not any(self._differences_from(context, stuck, look_for_missing=False))
        history = context.helm.history(stuck.name, namespace=stuck.namespace)
        return recovery.base(stuck, history, as_wanted=as_wanted)

    def _differences(self, context: Context, current: Release) -> list[_Difference]:
        """Return what differs from the deployed release."""
        differences = list(self._differences_from(context, current))
        if current.deployed:
            return differences
        state = f"its last operation left it {current.status}"
        return [_Difference(state, state), *differences]

    def _differences_from(
        self, context: Context, revision: Release, *, look_for_missing: bool = True
    ) -> Iterator[_Difference]:
        """Yield what differs between a revision and what should be, and what of it is missing."""
        which: dict[str, Any] = {"namespace": revision.namespace, "revision": revision.revision}
        before = context.helm.get_values(revision.name, **which)
        after = self._values(context)
        if before != after:
            text = _values_diff(before, after)
            keys = preflight.few(list(_differing_keys(before, after)))
            yield _Difference(f"the values of {keys} differ", text)
        old = _by_reference(context.helm.get_manifest(revision.name, **which))
        new = _by_reference(self.rendered(context))
        if any(item["kind"] == CRD for name, item in new.items() if name not in old):
            # Helm stores none of a chart's folder `crds`, and leaves those in the cluster alone.
            for item in self.definitions(context):
                new.pop(reference(item), None)
        for name in sorted(old.keys() | new.keys()):
            diff = object_diff(old.get(name), new.get(name))
            if diff.action != "none":
                what = f"{diff.action} {name}"
                yield _Difference(what, f"{what}\n{diff.text}")
            elif look_for_missing and live_object(context.cluster, new[name]) is None:
                what = f"create {name}: it is not in the cluster"
                yield _Difference(what, what)

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

    def _wanted_chart(self, context: Context) -> _ChartVersion:
        described = context.helm.show_chart(self._chart(context))
        return _ChartVersion(str(described["name"]), str(described["version"]))

    def _describe(self, context: Context) -> str:
        chart = self._chart(context)
        if chart.repository is None:
            return f"{self._parameters.chart} (local folder)"
        return f"{chart.reference} {chart.version} from {chart.repository}"

    def _content(self, context: Context) -> str:
        # Values that are masked in the text are part of what an approval holds for.
        return json.dumps(
            [self._values(context), self.rendered(context)], sort_keys=True, default=str
        )


def _is_kept(item: Object) -> bool:
    """Whether Helm leaves an object behind; see the annotation in Helm's documentation."""
    annotations = annotations_of(item)
    return annotations.get("helm.sh/resource-policy") == "keep"


def _by_reference(items: list[Object]) -> dict[str, Object]:
    return {reference(item): item for item in items}


def _shown(differences: list[_Difference]) -> str:
    return "\n".join(difference.text for difference in differences)


def _differing_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of values that are not the same, such as `meshConfig.accessLogFile`."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from (f"{key}.{path}" for path in _differing_keys(old, new))
        elif old != new or (key in before) != (key in after):
            yield key


def _values_diff(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the difference between values that differ, secrets masked."""
    shown = [canonical_yaml(redact_value(values)) for values in (before, after)]
    return _text_diff("values", *shown) or "values: secret ones differ"


def _text_diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"live {name}", f"desired {name}", lineterm=""
    )
    return redact("\n".join(lines))


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
