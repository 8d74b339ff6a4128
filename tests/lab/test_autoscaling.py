"""The real autoscaling controller: late with a sidecar, in time again with every remedy."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base.errors import RunbookError, VerificationFailed
from runbook_lib.base.wait import State as Wait
from runbook_lib.chapters.autoscaling import autoscalers
from runbook_lib.chapters.autoscaling import handover as autoscaler_handover
from runbook_lib.chapters.autoscaling import remedies as autoscaler_remedies
from runbook_lib.chapters.autoscaling import steps as autoscaling
from runbook_lib.chapters.autoscaling.scale_out import Remedy, Shift
from runbook_lib.lab.metrics.server import PLAYED_LOAD
from runbook_lib.lab.supervision.supervisor import APPLICATION
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.step import Step
from tests.labs import Lab
from tests.labs import named as step_named

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

WEB = "xnat-xnat-web"
LOADED = {"xnat": "90m", "istio-proxy": "10m"}
"""More than 70 % of what the application requests (110m), less than 70 % of what the pod does."""

CPU = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}

_NUMBERS = itertools.count()

Kubectl = Callable[..., str]
MakeContext = Callable[..., Context]


def autoscaler(name: str, scales: str = f"StatefulSet/{WEB}", **spec: Any) -> dict[str, Any]:
    kind, _, target_name = scales.partition("/")
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "xnat"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target_name},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": CPU}],
            **spec,
        },
    }


def named(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "xnat"}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


def chart_of_the_application(folder: Path) -> str:
    """The lab's application as a chart with two values: a log level, and what it scales by."""
    every = yaml.safe_load_all(APPLICATION.read_text(encoding="utf-8"))
    found = {
        (item["kind"], item["metadata"]["name"]): item
        for item in every
        if item["kind"] != "Namespace"
    }
    container = found["StatefulSet", WEB]["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "LOG_LEVEL", "value": "{{ .Values.logLevel }}"})
    found["HorizontalPodAutoscaler", WEB]["spec"]["metrics"] = "METRICS"
    text = "---\n".join(json.dumps(item) + "\n" for item in found.values())
    templates = folder / "templates"
    templates.mkdir(parents=True)
    (templates / "all.yaml").write_text(text.replace('"METRICS"', "{{ toJson .Values.metrics }}"))
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: xnat, version: 2.0.0}\n")
    metrics = [{"type": "Resource", "resource": CPU}]
    (folder / "values.yaml").write_text(json.dumps({"logLevel": "info", "metrics": metrics}))
    return str(folder)


def _interrupted(*_anything: object) -> None:
    raise KeyboardInterrupt


def restore(context: Context) -> None:
    """Take every remedy back."""
    changes = autoscaler_remedies.restore_changes(context)
    autoscaler_remedies.restore(context, {change.ref for change in changes})


@pytest.fixture
def make(mesh: Lab, tmp_path: Path) -> MakeContext:
    """Contexts on the mesh, with a remedy."""

    def context(remedy: str = "container-resource", **proxy: str) -> Context:
        given = {"autoscaling": {"remedy": remedy, "proxy": proxy}}
        return mesh.context(tmp_path, **given)

    return context


@pytest.fixture
def kubectl(mesh: Lab) -> Kubectl:
    """Run kubectl in the application's namespace."""
    return lambda *words, **more: mesh.run("kubectl", "--namespace", "xnat", *words, **more)


@pytest.fixture
def scaled(kubectl: Kubectl, make: MakeContext) -> Iterator[str]:
    """The autoscaler as an owner wrote it, and one idle pod; all of it anew for the next test.

    It has a name of its own: the controller remembers by name what it has wanted lately.
    """
    name = f"{WEB}-{next(_NUMBERS)}"
    kubectl("delete", "hpa", "--all", "--wait")
    kubectl("apply", "-f", "-", stdin=json.dumps(autoscaler(name)))
    yield name
    context = make()
    restore(context)
    kubectl("delete", "hpa", "--all", "--wait")
    kubectl("annotate", "pods", "--all", f"{PLAYED_LOAD}-")
    kubectl("scale", f"statefulset/{WEB}", "--replicas=1")
    # At once: nobody waits for its answers.
    kubectl("delete", "pod", f"{WEB}-1", "--ignore-not-found", "--force", "--grace-period=0")


def play(kubectl: Kubectl, load: dict[str, str]) -> None:
    annotation = f"{PLAYED_LOAD}={json.dumps(load)}"
    kubectl("annotate", "pod", f"{WEB}-0", annotation, "--overwrite")


def until(
    context: Context, name: str, what: str, done: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Wait until the controller has written a status; return it."""
    seen: list[dict[str, Any]] = []

    def observe(found: list[dict[str, Any]]) -> Wait:
        seen[:] = [found[0].get("status") or {}]
        return Wait(done(seen[0]), json.dumps(seen[0]))

    context.cluster.watch_until(
        what, autoscalers.API, autoscalers.KIND, "xnat", observe, name=name, timeout=60
    )
    return seen[0]


def until_utilization(context: Context, name: str, percent: int) -> dict[str, Any]:
    """Wait for a decision by exactly this utilization: each one is another evaluation."""

    def done(status: dict[str, Any]) -> bool:
        current = status.get("currentMetrics") or [{}]
        seen = current[0].get("resource", {}).get("current", {})
        return bool(seen.get("averageUtilization") == percent)

    return until(context, name, f"the controller to see {percent} %", done)


def mend(context: Context) -> Step:
    """Plan, apply and verify the remedy of the parameters."""
    (step,) = autoscaling.steps(context.parameters)
    plan = step.plan(context)
    assert not plan.empty
    step.apply(context, plan)
    verified = step.verify(context)
    assert verified.ok, str(verified)
    return step


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["reason"] for each in status.get("conditions", [])}


class TestLoad:
    """What the controller decides under a load that is played."""

    def test_injection_alone_does_not_scale_out(self, make: MakeContext, scaled: str) -> None:
        """What new sidecars and the application's start cost is not counted."""
        context = make()
        status = until(
            context,
            scaled,
            "the controller to decide",
            lambda s: conditions(s).get("ScalingActive") == "ValidMetricFound",
        )
        assert status["desiredReplicas"] == 1
        # Nor did it while the pods were replaced, before this autoscaler took the other's place.
        events = context.cluster.events("xnat", WEB, kind=autoscalers.KIND)
        assert [each for each in events if each.reason == "SuccessfulRescale"] == []

    def test_with_a_sidecar_a_busy_application_does_not_scale_out(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        context = make()
        for sidecar, percent in (("10m", 47), ("12m", 48), ("14m", 49)):
            play(kubectl, {**LOADED, "istio-proxy": sidecar})
            status = until_utilization(context, scaled, percent)
            assert conditions(status)["ScalingActive"] == "ValidMetricFound"
            assert status["desiredReplicas"] == 1

    @pytest.mark.parametrize("remedy", list(Remedy))
    def test_a_mended_autoscaler_scales_out(
        self, make: MakeContext, kubectl: Kubectl, scaled: str, remedy: Remedy
    ) -> None:
        context = make(remedy.value)
        step = mend(context)
        play(kubectl, {"xnat": "60m", "istio-proxy": "5m"})
        quiet = until(
            context,
            scaled,
            "the controller to see the small load",
            lambda s: any(f'"{each}"' in json.dumps(s) for each in ("60m", "65m")),
        )
        assert quiet["desiredReplicas"] == 1
        play(kubectl, LOADED)
        until(context, scaled, "another pod to be wanted", lambda s: s.get("desiredReplicas") == 2)
        kubectl("rollout", "status", f"statefulset/{WEB}", "--timeout=60s")
        assert kubectl("get", "pod", f"{WEB}-1", "--no-headers").split()[1] == "3/3"
        assert step.plan(context).empty


class TestPlan:
    """What is changed, and what that means for whoever else manages it."""

    @pytest.mark.usefixtures("scaled")
    def test_points_are_computed_from_what_runs(self, make: MakeContext) -> None:
        (found,) = autoscalers.survey(make()).autoscalers
        (scaling,) = found.scalings
        assert (scaling.before, scaling.unmended, scaling.now) == (77, 147, 147)
        assert scaling.state is Shift.MOVED

    def test_a_remedy_is_taken_back(self, make: MakeContext, kubectl: Kubectl, scaled: str) -> None:
        context = make()
        mend(context)
        (change,) = autoscaler_remedies.restore_changes(context)
        assert change.ref == f"HorizontalPodAutoscaler xnat/{scaled}"
        restore(context)
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json"))
        assert live["spec"]["metrics"] == autoscaler(scaled)["spec"]["metrics"]
        assert autoscalers.METRICS_BEFORE not in live["metadata"].get("annotations", {})
        assert autoscaler_remedies.restore_changes(context) == ()

    def test_what_helm_applied_is_taken_over_and_helm_is_told_so(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        helm = ("apply", "--server-side", "--field-manager=helm", "-f", "-")
        kubectl("delete", "hpa", scaled, "--wait")
        kubectl(*helm, stdin=json.dumps(autoscaler(scaled)))
        context = make()
        (step,) = autoscaling.steps(context.parameters)
        (change,) = step.plan(context).changes
        assert "Takes over spec.metrics from helm: the next helm upgrade" in change.text
        mend(context)
        answer = kubectl(*helm, stdin=json.dumps(autoscaler(scaled)), check=False)
        assert 'conflict with "istio-runbook"' in answer
        assert ".spec.metrics" in answer

    def test_after_the_rollback_helm_changes_the_target_without_a_conflict(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        helm = ("apply", "--server-side", "--field-manager=helm", "-f", "-")
        kubectl("delete", "hpa", scaled, "--wait")
        kubectl(*helm, stdin=json.dumps(autoscaler(scaled)))
        context = make()
        mend(context)
        restore(context)
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json", "--show-managed-fields"))
        assert live["spec"]["metrics"] == autoscaler(scaled)["spec"]["metrics"]
        managers = {entry["manager"] for entry in live["metadata"]["managedFields"]}
        assert managers == {"helm", "kube-controller-manager"}
        target = {"type": "Utilization", "averageUtilization": 60}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        kubectl(*helm, stdin=json.dumps(autoscaler(scaled, metrics=metrics)))
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json"))
        assert live["spec"]["metrics"] == metrics

    def test_a_rollback_that_was_interrupted_is_found_and_ended(
        self, make: MakeContext, kubectl: Kubectl, scaled: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = make()
        mend(context)
        with monkeypatch.context() as patched:
            patched.setattr(autoscaler_handover, "_disown", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                restore(context)
        (change,) = autoscaler_remedies.restore_changes(context)
        assert autoscalers.METRICS_BEFORE in change.text
        restore(context)
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json", "--show-managed-fields"))
        assert "istio-runbook" not in json.dumps(live)
        assert live["spec"]["metrics"] == autoscaler(scaled)["spec"]["metrics"]

    def test_a_metric_that_its_owner_adds_is_kept_beside_the_first(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        context = make()
        mend(context)
        memory = {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}
        added = {"type": "Resource", "resource": memory}
        patch = [{"op": "add", "path": "/spec/metrics/-", "value": added}]
        kubectl("patch", "hpa", scaled, "--type=json", "--patch", json.dumps(patch))
        mend(context)
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json"))
        kinds = [each["type"] for each in live["spec"]["metrics"]]
        assert kinds == ["ContainerResource"] * 4  # CPU and memory of both containers
        restore(context)
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json"))
        before = [*autoscaler(scaled)["spec"]["metrics"], added]
        assert sorted(live["spec"]["metrics"], key=str) == sorted(before, key=str)

    def test_a_remedy_whose_container_is_gone_is_applied_anew(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        context = make()
        step = mend(context)
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json"))
        metrics = live["spec"]["metrics"]
        (metric,) = (each for each in metrics if each["containerResource"]["container"] == "xnat")
        metric["containerResource"]["container"] = "renamed-since"
        stale = autoscaler(scaled, metrics=metrics)
        kept = live["metadata"]["annotations"][autoscalers.METRICS_BEFORE]
        stale["metadata"]["annotations"] = {autoscalers.METRICS_BEFORE: kept}
        context.cluster.apply(stale, force=True)
        plan = step.plan(context)
        assert "+      container: xnat" in str(plan)
        assert "the pods have no container renamed-since" in str(autoscalers.survey(context))
        mend(context)
        restore(context)
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json"))
        assert live["spec"]["metrics"] == autoscaler(scaled)["spec"]["metrics"]

    @pytest.mark.parametrize("damaged", ["70 %", '{"cpu": 70}', '[{"type": "Resource"}]'])
    def test_kept_metrics_that_somebody_damaged_are_a_problem_of_that_autoscaler(
        self, make: MakeContext, kubectl: Kubectl, scaled: str, damaged: str
    ) -> None:
        kubectl("annotate", "hpa", scaled, f"{autoscalers.METRICS_BEFORE}={damaged}")
        context = make()
        (step,) = autoscaling.steps(context.parameters)
        complaint = (
            f"HorizontalPodAutoscaler xnat/{scaled}: the annotation {autoscalers.METRICS_BEFORE} "
            "is no list of metrics"
        )
        try:
            for read in (step.plan, autoscaler_remedies.restore_changes):
                with pytest.raises(RunbookError, match=re.escape(complaint)) as caught:
                    read(context)
                assert f"annotate hpa {scaled}" in caught.value.remedy
            (row,) = autoscaling.autoscaler_table(context).rows
            assert complaint in row.cells[-1]
        finally:
            kubectl("annotate", "hpa", scaled, f"{autoscalers.METRICS_BEFORE}-")
        assert not step.plan(context).empty

    def test_the_file_of_an_autoscaler_of_version_1_does_not_undo_the_remedy(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        spec = autoscaler(scaled)["spec"]
        del spec["metrics"]
        first = {
            **autoscaler(scaled),
            "apiVersion": "autoscaling/v1",
            "spec": {**spec, "targetCPUUtilizationPercentage": 70},
        }
        kubectl("delete", "hpa", scaled, "--wait")
        kubectl("apply", "-f", "-", stdin=json.dumps(first))
        context = make()
        (step,) = autoscaling.steps(context.parameters)
        (change,) = step.plan(context).changes
        assert "from kubectl-client-side-apply." in change.text
        assert "Write it as autoscaling/v2." in change.text
        mend(context)
        kubectl("apply", "-f", "-", stdin=json.dumps(first))
        live = json.loads(kubectl("get", "hpa", scaled, "-o", "json"))
        assert [each["type"] for each in live["spec"]["metrics"]] == [
            "ContainerResource",
            "ContainerResource",
            "Resource",
        ]
        assert step.plan(context).empty
        assert step.verify(context).ok

    @pytest.mark.usefixtures("scaled")
    def test_smaller_requests_that_are_not_enough_are_refused(self, make: MakeContext) -> None:
        context = make("sidecar-requests", cpu="50m")
        (step,) = autoscaling.steps(context.parameters)
        with pytest.raises(RunbookError, match=r"above 112m cpu .* above 77m; that is not near"):
            step.plan(context)

    def test_new_pods_that_would_be_refused_are_found_before_the_old_ones_go(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        limits = {"limits": [{"type": "Container", "min": {"cpu": "10m"}}]}
        limit = named("LimitRange", "at-least", limits)
        context = make("sidecar-requests", cpu="5m")
        (step,) = autoscaling.steps(context.parameters)
        kubectl("apply", "-f", "-", stdin=json.dumps(limit))
        try:
            refused = r"StatefulSet xnat/.* minimum cpu usage per Container is 10m, but request is"
            with pytest.raises(RunbookError, match=refused):
                step.plan(context)
        finally:
            kubectl("delete", "limitrange", "at-least")
        plan = step.plan(context)
        assert (len(plan.changes), plan.unpredictable) == (1, ())
        assert scaled in kubectl("get", "hpa")

    @pytest.mark.usefixtures("scaled")
    def test_pods_that_are_refused_anyway_do_not_block_the_remedy(
        self, make: MakeContext, kubectl: Kubectl
    ) -> None:
        quota = named("ResourceQuota", "no-pods", {"hard": {"pods": "0"}})
        context = make("sidecar-requests")
        (step,) = autoscaling.steps(context.parameters)
        kubectl("apply", "-f", "-", stdin=json.dumps(quota))
        try:
            plan = step.plan(context)
        finally:
            kubectl("delete", "resourcequota", "no-pods")
        assert len(plan.changes) == 1
        (unknown,) = plan.unpredictable
        assert "whether new pods of StatefulSet xnat/xnat-xnat-web are accepted" in unknown
        assert "no-pods" in unknown

    def test_what_no_remedy_mends_is_told_in_the_controllers_words(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        absent = {**CPU, "container": "absent"}
        metrics = [{"type": "ContainerResource", "containerResource": absent}]
        kubectl("apply", "-f", "-", stdin=json.dumps(autoscaler(scaled, metrics=metrics)))
        context = make()
        until(
            context,
            scaled,
            "the controller to give up",
            lambda s: conditions(s).get("ScalingActive") == "FailedGetContainerResourceMetric",
        )
        words = (
            "ScalingActive is False: FailedGetContainerResourceMetric: the HPA was unable to "
            "compute the replica count"
        )
        (step,) = autoscaling.steps(context.parameters)
        plan, verified = step.plan(context), step.verify(context)
        assert plan.summary.startswith("Nothing to change. No point can be computed in xnat.")
        assert verified.ok
        for told in (plan.summary, verified.headline, str(verified.tables[1])):
            assert words in told
        assert "the pods have no container absent" in verified.headline

    def test_autoscalers_that_sidecars_do_not_move_are_left_alone_and_explained(
        self, make: MakeContext, kubectl: Kubectl, scaled: str
    ) -> None:
        pod = {
            "metadata": {"labels": {"app": "idle", "sidecar.istio.io/inject": "false"}},
            "spec": {"containers": [{"name": "idle", "image": "lab.invalid/idle:1"}]},
        }
        idle = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "idle", "namespace": "xnat"},
            "spec": {"selector": {"matchLabels": {"app": "idle"}}, "template": pod},
        }
        memory = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}
        requests = {"type": "Pods", "pods": {"metric": {"name": "requests"}}}
        requests["pods"]["target"] = {"type": "AverageValue", "averageValue": "10"}  # type: ignore[index]
        for each in (
            idle,
            autoscaler(scaled, metrics=[{"type": "Resource", "resource": memory}]),
            autoscaler("gone", "Deployment/gone"),
            autoscaler("idle", "Deployment/idle"),
            autoscaler("other", "StatefulSet/xnat-postgresql", metrics=[requests]),
        ):
            kubectl("apply", "-f", "-", stdin=json.dumps(each))
        try:
            context = make()
            (step,) = autoscaling.steps(context.parameters)
            assert step.plan(context).empty
            verified = step.verify(context)
        finally:
            kubectl("delete", "deployment", "idle", "--wait")
        assert verified.ok, str(verified)
        rows = {row.cells[0]: row for row in verified.tables[0].rows}
        assert rows[scaled].ok
        assert "there is no Deployment/gone" in rows["gone"].cells[-1]
        assert "idle has no cpu request" in rows["idle"].cells[-1]
        assert "does not look at CPU or memory" in rows["other"].cells[-1]

    @pytest.mark.usefixtures("scaled")
    def test_without_autoscalers_there_is_nothing_to_do(
        self, make: MakeContext, kubectl: Kubectl
    ) -> None:
        kubectl("delete", "hpa", "--all", "--wait")
        context = make()
        (step,) = autoscaling.steps(context.parameters)
        assert step.plan(context).summary == (
            "Nothing to change. There is no HorizontalPodAutoscaler in xnat."
        )
        assert step.verify(context).ok

    @pytest.mark.usefixtures("scaled")
    def test_a_cluster_without_metrics_is_the_cause(
        self, make: MakeContext, kubectl: Kubectl
    ) -> None:
        name = "v1beta1.metrics.k8s.io"
        kept = json.loads(kubectl("get", "apiservice", name, "-o", "json"))
        kubectl("delete", "apiservice", name)
        try:
            context = make()
            (step,) = autoscaling.steps(context.parameters)
            step.apply(context, step.plan(context))
            with pytest.raises(VerificationFailed, match="has no metrics API") as caught:
                step.verify(context)
        finally:
            again = {key: kept[key] for key in ("apiVersion", "kind", "spec")}
            again["metadata"] = {"name": name}
            kubectl("apply", "-f", "-", stdin=json.dumps(again))
            kubectl("wait", "apiservice", name, "--for=condition=Available", "--timeout=60s")
        assert "ScalingActive is False" in caught.value.cause
        assert "install metrics-server" in caught.value.remedy


def test_an_upgrade_of_the_applications_chart_says_what_it_undid_until_the_chart_says_the_same(
    mesh: Lab, make: MakeContext, kubectl: Kubectl, tmp_path: Path
) -> None:
    """With both ways in which Helm applies: on the server's side, and by itself."""
    kubectl("delete", "hpa", "--all", "--wait")
    chart = chart_of_the_application(tmp_path / "xnat")
    helm = ("helm", "upgrade", "--install", "xnat", chart, "--namespace", "xnat")
    mesh.run(*helm, "--take-ownership", "--force-conflicts")
    context = make()
    (step,) = autoscaling.steps(context.parameters)
    (change,) = step.plan(context).changes
    assert "stops at a conflict over .spec.metrics, half-way" in change.text
    mend(context)

    refused = mesh.run(*helm, "--set", "logLevel=debug", check=False)
    assert 'conflict with "istio-runbook": .spec.metrics' in refused
    assert step.verify(context).ok

    mesh.run(*helm, "--set", "logLevel=debug", "--server-side=false")
    seen = step.verify(context)
    assert not seen.ok
    (row,) = seen.tables[-1].rows
    assert row.cells[0] == f"HorizontalPodAutoscaler xnat/{WEB}"
    assert re.fullmatch(r"\.spec\.metrics was set by helm at 20\S+Z", row.cells[1])
    assert "patches/autoscaling-remedy.yaml" in seen.note
    assert "sets them back unless its chart states" in step.plan(context).changes[0].text
    for name in ("injection-label", "injection-restart"):
        assert step_named(context, name).verify(context).ok

    mend(context)
    (autoscaler_now,) = autoscalers.objects(context)
    metrics = f"metrics={json.dumps(autoscaler_now['spec']['metrics'])}"
    for side in ("--server-side=true", "--server-side=false"):
        mesh.run(*helm, "--set", "logLevel=debug", "--set-json", metrics, side)
        assert step.plan(context).empty
        assert step.verify(context).ok
