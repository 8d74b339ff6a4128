"""Autoscalers: put the point at which they scale out back to where it was without sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook_lib.base import State, VerificationFailed, WaitTimeout
from runbook_lib.chapters.autoscaling import autoscalers, owners, remedies
from runbook_lib.chapters.autoscaling.autoscalers import METRICS_BEFORE
from runbook_lib.chapters.autoscaling.cases import Autoscaler, ScaleOut, application_load
from runbook_lib.chapters.autoscaling.scale_out import (
    Metric,
    Remedy,
    Scaling,
    Shift,
    compare,
    words,
)
from runbook_lib.cluster import Object, ref, reference
from runbook_lib.lifecycle import (
    Context,
    Exports,
    Finding,
    Plan,
    Row,
    Step,
    Table,
    Verification,
    refusals,
    require,
    table,
)
from runbook_lib.parameters import Parameters

_WORDS = {
    Remedy.CONTAINER_RESOURCE: (
        "the autoscaler: a percentage of the application's container alone",
        "right with and without sidecars, whatever they request or use",
        "needs Kubernetes 1.30; names the container, so renaming it means changing this too",
    ),
    Remedy.AVERAGE_VALUE: (
        "the autoscaler: an amount in place of a percentage",
        "works on every version of Kubernetes",
        "stays behind when the application's request changes; counts what the sidecar uses",
    ),
    Remedy.SIDECAR_REQUESTS: (
        "the pod template: smaller requests of the sidecar, by four annotations",
        "autoscalers stay as they are, and so does who manages them",
        "near at best; replaces the pods; less for the sidecar on a full node; counts what it uses",
    ),
}
"""What each remedy changes, what is good about it, and what is not."""


class _MendAutoscalers(Step):
    """Undo what the sidecars' requests do to autoscalers."""

    name = "autoscaling-remedy"
    title = "Let autoscalers scale out where they did without sidecars"
    why = "a sidecar requests more than it uses, so a percentage of the pod's requests is late"
    takes = "seconds; with sidecar-requests as long as the workloads need to start"

    def __init__(self, remedy: Remedy) -> None:
        self._remedy = remedy
        if remedy is Remedy.SIDECAR_REQUESTS:
            self.risk = "the workloads' pods are replaced; their sidecars get less on a full node"
            self.undo = "remove the four annotations from the pod templates"
        else:
            self.risk = "autoscalers scale out earlier than with the sidecar, as they did before it"
            self.undo = f"set spec.metrics to what the annotation {METRICS_BEFORE} keeps"

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from owners.obstacles(context, self._remedy)
        yield from refusals(lambda: self._plan(context))

    def plan(self, context: Context) -> Plan:
        require(owners.obstacles(context, self._remedy))
        return self._plan(context)

    def _plan(self, context: Context) -> Plan:
        found = autoscalers.survey(context)
        unpredictable: tuple[str, ...] = ()
        if self._remedy is Remedy.SIDECAR_REQUESTS:
            changes, unpredictable = remedies.template_changes(context)
        else:
            changes = tuple(
                remedies.take_over(context, live, manifest)
                for live, manifest in remedies.manifests(context, self._remedy)
            )
        sentences = [_troubles(found.autoscalers)]
        if not any(each.needs_remedy for each in found.autoscalers):
            known = any(s.state is not Shift.UNKNOWN for _, s, _ in found.compared)
            sentences.insert(0, "No sidecar moves a point." if known else found.nothing)
        note = " ".join(filter(None, sentences))
        lost = remedies.interruptions(context, changes)
        return Plan(self.name, context.target.uid, changes, unpredictable, note, interruptions=lost)

    def apply(self, context: Context, plan: Plan) -> None:
        planned = {change.ref for change in plan.changes}
        if self._remedy is Remedy.SIDECAR_REQUESTS:
            for manifest in remedies.templates(context):
                if reference(manifest) in planned:
                    context.cluster.apply(manifest, manager=remedies.SIDECAR_MANAGER)
                    remedies.wait_for_rollout(context, manifest)
            return
        for _, manifest in remedies.manifests(context, self._remedy):
            if reference(manifest) in planned:
                # The list of metrics changes hands as a whole; the plan said from whom.
                context.cluster.apply(manifest, force=True)

    def verify(self, context: Context) -> Verification:
        if self._remedy is Remedy.SIDECAR_REQUESTS:
            for manifest in remedies.annotated(context):
                remedies.wait_for_rollout(context, manifest)
        found = autoscalers.survey(context)
        if not found.autoscalers:
            return Verification(self.name, note=found.nothing)
        decisions = decision_table(context, found)
        points = _point_table(found)
        note = _troubles([each for each in found.autoscalers if not each.computed])
        tables = [points, decisions]
        if undone := remedies.set_back(context, self._remedy):
            tables.append(table.of_checks("Set back by others", undone))
            note = " ".join(filter(None, [note, f"That happens again {remedies.IN_THE_CHART}."]))
        return Verification(self.name, tuple(tables), note)

    def exports(self, context: Context) -> Exports:
        return Exports(patches=tuple(remedies.exported(context, self._remedy)))


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story."""
    return (_MendAutoscalers(Remedy(parameters.autoscaling.remedy)),)


def autoscaler_table(context: Context) -> Table:
    """Return the namespace's autoscalers, what they look at, and what stands in their way."""
    found = autoscalers.survey(context)
    rows = tuple(
        (
            each.name,
            each.target,
            ", ".join(metric.text for metric in each.metrics),
            each.replicas,
            "; ".join(each.problems) or "nothing",
        )
        for each in found.autoscalers
    )
    columns = ("autoscaler", "scales", "metrics", "pods", "in the way")
    return Table.shown(f"Autoscalers in {found.namespace}", columns, rows)


def decision_table(context: Context, found: ScaleOut) -> Table:
    """Wait until the controller has decided by the metrics that each autoscaler has now.

    Raises:
        VerificationFailed: It has not in time, or there is no metrics API.
    """
    rows = tuple(_wait_for_decision(context, each) for each in found.autoscalers)
    columns = ("autoscaler", "decides by", "controller")
    return Table("What the autoscaling controller says", columns, rows)


def remedy_table(context: Context) -> Table:
    """Return what each remedy changes, its price, and where it would let autoscalers scale out."""
    found = autoscalers.survey(context)
    rows = []
    for remedy in Remedy:
        results = [
            _result(found, each, scaling, remedy)
            for each, scaling, _ in found.compared
            if scaling.needs_remedy
        ]
        chosen = "yes" if remedy is found.chosen else "-"
        rows.append((remedy.value, *_WORDS[remedy], "; ".join(results) or "-", chosen))
    columns = ("remedy", "changes", "for it", "against it", "scales out", "chosen")
    return Table.shown("Remedies", columns, rows)


def _result(found: ScaleOut, autoscaler: Autoscaler, scaling: Scaling, remedy: Remedy) -> str:
    resource = scaling.resource
    point = scaling.after(remedy, found.proxy[resource])
    text = f"{autoscaler.name} above {words(resource, point)} {resource}"
    load = application_load(scaling, remedy, point)
    if scaling.requests.added and load not in (None, point):
        text += f", the application itself at {words(resource, load)}"
    if scaling.before is not None and compare(point, scaling.before) is Shift.MOVED:
        text += f" in place of {words(resource, scaling.before)}: not near enough"
    return text


def _point_table(found: ScaleOut) -> Table:
    rows = []
    for each, scaling, _ in found.compared:
        state = scaling.state
        ok = None if state is Shift.UNKNOWN else not scaling.needs_remedy
        if state is Shift.WILL_MOVE and found.chosen is Remedy.SIDECAR_REQUESTS:
            ok = None  # the annotations wait for the first sidecar
        points = [words(scaling.resource, p) for p in (scaling.before, scaling.unmended)]
        now = words(scaling.resource, scaling.now)
        how = ": ".join(filter(None, [state, scaling.reason]))
        rows.append(Row((each.name, scaling.resource, *points, now, how), ok))
    for each in found.autoscalers:
        if not each.scalings:
            looks = any(metric.about for metric in each.metrics)
            problem = "; ".join(each.problems) if looks else "it does not look at CPU or memory"
            rows.append(Row((each.name, "-", "-", "-", "-", problem)))
    columns = ("autoscaler", "resource", "without sidecar", "left alone", "now", "how")
    return Table("Scales out above, per pod", columns, tuple(rows))


def _troubles(of: Iterable[Autoscaler]) -> str:
    """Say in sentences what no remedy mends; empty if there is nothing."""
    return " ".join(f"{each.name}: {'; '.join(each.troubles)}." for each in of if each.troubles)


def _wait_for_decision(context: Context, autoscaler: Autoscaler) -> Row:
    decides = ", ".join(metric.text for metric in autoscaler.metrics)
    if not autoscaler.computed:
        # Sidecars have no part in what is wrong with it, and the runbook changed nothing.
        return Row((autoscaler.name, decides, "; ".join(autoscaler.problems) or "active"))
    namespace = context.parameters.application.namespace

    def observe(found: list[Object]) -> State:
        if not found:
            return State(done=False, text="it is gone", failed=True)
        _require_metrics_api(context, found[0])
        return _decision(found[0])

    what = f"{ref(autoscalers.KIND, autoscaler.name, namespace)} to decide by {decides}"
    try:
        decided = context.cluster.watch_until(
            what,
            autoscalers.API,
            autoscalers.KIND,
            namespace,
            observe,
            name=autoscaler.name,
            timeout=context.parameters.timeouts.autoscaler,
            on_change=context.waiting,
        )
    except WaitTimeout as error:
        raise VerificationFailed(
            error.cause,
            f"kubectl --namespace {namespace} describe hpa {autoscaler.name} tells more; metrics "
            "come from: kubectl get apiservice v1beta1.metrics.k8s.io",
        ) from error
    return Row((autoscaler.name, decides, decided.text), ok=True)


def _decision(autoscaler: Object) -> State:
    able = autoscalers.condition(autoscaler, "AbleToScale")
    if not able.holds:
        return State(done=False, text=str(able))
    active = autoscalers.condition(autoscaler, "ScalingActive")
    if active.disabled:
        return State(done=True, text="disabled, as its target has no replicas")
    if not active.holds:
        return State(done=False, text=str(active))
    current = (autoscaler.get("status") or {}).get("currentMetrics") or []
    awaited = [
        metric.text
        for metric in map(Metric.of, autoscaler["spec"]["metrics"])
        if metric.about and not any(_is_current(metric, item) for item in current)
    ]
    if awaited:
        return State(done=False, text=f"not decided yet by {', '.join(awaited)}")
    return State(done=True, text="active")


def _is_current(metric: Metric, item: Object) -> bool:
    """Whether an entry of `status.currentMetrics` answers to a metric."""
    kind = metric.type
    body = item.get(kind[:1].lower() + kind[1:])
    if item.get("type") != kind or not body:
        return False
    percent = "averageUtilization" in body["current"]
    same = (body["name"], body.get("container", "")) == (metric.name, metric.container)
    return same and percent is (metric.percent is not None)


def _require_metrics_api(context: Context, autoscaler: Object) -> None:
    active = autoscalers.condition(autoscaler, "ScalingActive")
    if active.holds or active.undecided or not autoscalers.metrics_api_missing(context):
        return
    raise VerificationFailed(
        f"the cluster has no metrics API, so {reference(autoscaler)} cannot decide: {active}",
        "install metrics-server, on EKS: aws eks create-addon --addon-name metrics-server "
        "--cluster-name CLUSTER; elsewhere: https://github.com/kubernetes-sigs/metrics-server",
    )
