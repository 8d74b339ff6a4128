"""What Argo CD and Flux would set back, and what they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from runbook_lib.chapters.shared import preflight
from runbook_lib.cluster.objects import Object
from runbook_lib.lab import standins
from runbook_lib.lifecycle.finding import Finding
from tests.unit.doubles.given_cluster import context, web_workload

TRACKING = "argocd.argoproj.io/tracking-id"
METRICS = {"f:spec": {"f:metrics": {}}}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}
APPLICATION = Path(standins.__file__).parent / "application.yaml"


def managed(manager: str, fields: Object) -> list[Object]:
    return [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]


def autoscaler(**metadata: Any) -> Object:
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "xnat", **metadata},
        "spec": {},
    }


def tracked(fields: Object = METRICS, **more: str) -> Object:
    """An autoscaler that an Application tracks, and whose manifest states these fields."""
    marks = {TRACKING: "site:autoscaling/HorizontalPodAutoscaler:xnat/web", **more}
    return autoscaler(annotations=marks, managedFields=managed("argocd-controller", fields))


def application(**policy: Any) -> Object:
    return {
        "kind": "Application",
        "metadata": {"name": "site", "namespace": "argocd"},
        "spec": {"syncPolicy": policy},
    }


def found(
    folder: Path, item: Object, *others: Object, accept: tuple[str, ...] = (), forced: bool = True
) -> list[Finding]:
    given = context(folder, item, *others, application={"accept": list(accept)})
    return list(preflight.set_back(given, item, ("spec.metrics",), "metrics: new", forced=forced))


def test_an_application_sets_back_what_its_manifest_states(tmp_path: Path) -> None:
    keeper = application(automated={"selfHeal": True})
    (refusal,) = found(tmp_path, tracked(), keeper)
    assert refusal.refuses
    assert refusal.name == "set-back"
    assert refusal.what.startswith("Argo CD's Application argocd/site keeps it")
    assert refusal.evidence == (
        f".metadata.annotations.{TRACKING}: site:autoscaling/HorizontalPodAutoscaler:xnat/web",
        ".metadata.managedFields: argocd-controller manages spec.metrics",
    )
    assert "commit the change to Git: metrics: new" in refusal.remedy
    assert "argocd app set argocd/site --sync-policy none" in refusal.remedy
    assert refusal.parameter == "application.accept: [set-back]"


def test_what_is_accepted_is_a_note(tmp_path: Path) -> None:
    (note,) = found(tmp_path, tracked(), accept=("set-back",))
    assert not note.refuses


def test_the_way_out_works_an_application_that_syncs_only_when_told_is_a_note(
    tmp_path: Path,
) -> None:
    (note,) = found(tmp_path, tracked(), application())
    assert not note.refuses
    assert "Application argocd/site .spec.syncPolicy.automated: none" in note.evidence
    (off,) = found(tmp_path, tracked(), application(automated={"enabled": False}))
    assert "Application argocd/site .spec.syncPolicy.automated.enabled: false" in off.evidence


def test_whether_an_application_heals_itself_or_waits_for_a_commit_is_said(tmp_path: Path) -> None:
    (at_once,) = found(tmp_path, tracked(), application(automated={"selfHeal": True}))
    (later,) = found(tmp_path, tracked(), application(automated={"prune": True}))
    assert "within seconds (selfHeal: true)" in at_once.effect
    assert "the next commit sets the change back (selfHeal is off)" in later.effect


def test_an_application_that_is_told_to_leave_the_field_alone_is_a_note(tmp_path: Path) -> None:
    keeper = application(automated={"selfHeal": True})
    (refusal,) = found(tmp_path, tracked(), keeper)
    entry = "kind: HorizontalPodAutoscaler, name: web, jsonPointers: [/spec/metrics]}"
    assert entry in refusal.remedy
    rule = {"group": "autoscaling", "kind": "HorizontalPodAutoscaler", "name": "web"}
    keeper["spec"]["ignoreDifferences"] = [{**rule, "jsonPointers": ["/spec/metrics"]}]
    item = {**tracked(), "apiVersion": "autoscaling/v2"}
    (ignored,) = found(tmp_path, item, keeper)
    assert ignored.refuses, "a sync overwrites it all the same"
    keeper["spec"]["syncPolicy"]["syncOptions"] = ["RespectIgnoreDifferences=true"]
    (note,) = found(tmp_path, item, keeper)
    assert not note.refuses
    assert "Application argocd/site .spec.ignoreDifferences: /spec/metrics" in note.evidence
    keeper["spec"]["ignoreDifferences"][0]["name"] = "db"
    (other,) = found(tmp_path, item, keeper)
    assert other.refuses


def test_an_application_of_an_applicationset_is_paused_there(tmp_path: Path) -> None:
    keeper = application(automated={})
    keeper["metadata"]["ownerReferences"] = [{"kind": "ApplicationSet", "name": "sites"}]
    (refusal,) = found(tmp_path, tracked(), keeper)
    assert "take syncPolicy.automated out of ApplicationSet sites" in refusal.remedy


def test_an_application_leaves_fields_that_it_does_not_state(tmp_path: Path) -> None:
    fields = {"f:spec": {"f:minReplicas": {}}}
    (note,) = found(tmp_path, tracked(fields), application(automated={"selfHeal": True}))
    assert not note.refuses
    assert "a sync leaves fields alone that Git does not state" in note.effect


def test_an_application_that_replaces_objects_removes_what_is_added(tmp_path: Path) -> None:
    keeper = application(automated={}, syncOptions=["Replace=true"])
    (refusal,) = found(tmp_path, tracked({}), keeper)
    assert refusal.refuses
    where = "Application argocd/site .spec.syncPolicy.syncOptions: Replace=true"
    assert where in refusal.evidence
    marked = tracked({}, **{"argocd.argoproj.io/sync-options": "Prune=false,Replace=true"})
    (refusal,) = found(tmp_path, marked)
    assert refusal.refuses
    assert refusal.evidence[1].startswith(".metadata.annotations.argocd.argoproj.io/sync-options")


def test_a_tracking_id_on_a_copy_means_nothing(tmp_path: Path) -> None:
    copied = autoscaler(annotations={TRACKING: "site:autoscaling/HorizontalPodAutoscaler:xnat/db"})
    assert found(tmp_path, copied) == []


def test_the_instance_label_of_helm_charts_is_no_sign_of_argo_cd(tmp_path: Path) -> None:
    labels = {"app.kubernetes.io/instance": "site"}
    helm = autoscaler(labels=labels, managedFields=managed("helm", METRICS))
    assert found(tmp_path, helm) == []
    argo = autoscaler(labels=labels, managedFields=managed("argocd-controller", METRICS))
    (refusal,) = found(tmp_path, argo)
    assert refusal.what.startswith("Argo CD's Application site")


def test_flux_sets_back_what_it_applied_unless_it_is_suspended(tmp_path: Path) -> None:
    kept = autoscaler(labels=FLUX, managedFields=managed("kustomize-controller", METRICS))
    keeper: Object = {
        "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": "flux"},
        "spec": {},
    }
    (refusal,) = found(tmp_path, kept, keeper)
    assert refusal.refuses
    assert "flux suspend kustomization apps --namespace flux" in refusal.remedy
    keeper["spec"] = {"suspend": True}
    (note,) = found(tmp_path, kept, keeper)
    assert not note.refuses
    assert "Kustomization flux/apps .spec.suspend: true" in note.evidence


def test_a_helmrelease_sets_back_only_where_drift_detection_is_enabled(tmp_path: Path) -> None:
    labels = {"helm.toolkit.fluxcd.io/name": "xnat", "helm.toolkit.fluxcd.io/namespace": "xnat"}
    kept = autoscaler(labels=labels, managedFields=managed("helm-controller", METRICS))
    keeper: Object = {
        "kind": "HelmRelease",
        "metadata": {"name": "xnat", "namespace": "xnat"},
        "spec": {},
    }
    (note,) = found(tmp_path, kept, keeper)
    assert not note.refuses
    assert "HelmRelease xnat/xnat .spec.driftDetection.mode: disabled" in note.evidence
    keeper["spec"] = {"driftDetection": {"mode": "enabled"}}
    (refusal,) = found(tmp_path, kept, keeper)
    assert refusal.refuses


def test_a_helmrelease_that_is_told_to_leave_the_field_alone_is_a_note(tmp_path: Path) -> None:
    labels = {"helm.toolkit.fluxcd.io/name": "xnat", "helm.toolkit.fluxcd.io/namespace": "xnat"}
    kept = autoscaler(labels=labels, managedFields=managed("helm-controller", METRICS))
    rule = {"paths": ["/spec/metrics"], "target": {"kind": "HorizontalPodAutoscaler"}}
    keeper: Object = {
        "kind": "HelmRelease",
        "metadata": {"name": "xnat", "namespace": "xnat"},
        "spec": {"driftDetection": {"mode": "enabled", "ignore": [rule]}},
    }
    (note,) = found(tmp_path, kept, keeper)
    assert not note.refuses
    rule["target"] = {"kind": "Deployment"}
    (refusal,) = found(tmp_path, kept, keeper)
    assert refusal.refuses
    assert "to its .spec.driftDetection.ignore" in refusal.remedy


def test_what_the_runbook_took_over_is_stated_in_git_all_the_same(tmp_path: Path) -> None:
    taken = autoscaler(labels=FLUX, managedFields=managed("istio-runbook", METRICS))
    (refusal,) = found(tmp_path, taken)
    assert refusal.refuses
    assert refusal.evidence[1] == ".metadata.managedFields: istio-runbook manages spec.metrics"


def test_flux_leaves_an_object_that_is_marked_so(tmp_path: Path) -> None:
    marked = autoscaler(
        labels=FLUX,
        annotations={"kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
        managedFields=managed("kustomize-controller", METRICS),
    )
    (note,) = found(tmp_path, marked)
    assert not note.refuses
    sign = ".metadata.annotations.kustomize.toolkit.fluxcd.io/reconcile: disabled"
    assert sign in note.evidence


def test_fields_that_a_step_does_not_take_over_are_refused_whatever_is_accepted(
    tmp_path: Path,
) -> None:
    (refusal,) = found(tmp_path, tracked(), accept=("set-back",), forced=False)
    assert refusal.refuses
    assert refusal.parameter == ""


def test_a_label_that_git_does_not_state_and_a_restart_are_notes(tmp_path: Path) -> None:
    namespace: Object = {"kind": "Namespace", "metadata": {"name": "xnat", "labels": FLUX}}
    workload = web_workload()
    workload["metadata"]["labels"] = FLUX
    findings = list(preflight.injection_undone(context(tmp_path, namespace, workload)))
    assert [each.where for each in findings] == ["Namespace xnat", "StatefulSet xnat/xnat-xnat-web"]
    assert not any(each.refuses for each in findings)
    label, restart = (each.remedy for each in findings)
    assert "commit the change to Git: metadata.labels.istio-injection: enabled (" in label
    assert "istio-runbook export FOLDER writes it" in label
    assert restart == "nothing: it is needed only once"
    namespace["metadata"]["labels"] = {**FLUX, "istio-injection": "enabled"}
    assert list(preflight.injection_undone(context(tmp_path, namespace, workload))) == []


def test_a_label_that_git_states_otherwise_is_refused(tmp_path: Path) -> None:
    fields = {"f:metadata": {"f:labels": {"f:istio-injection": {}}}}
    namespace: Object = {
        "kind": "Namespace",
        "metadata": {
            "name": "xnat",
            "labels": {**FLUX, "istio-injection": "disabled"},
            "managedFields": managed("kustomize-controller", fields),
        },
    }
    (refusal,) = preflight.injection_undone(context(tmp_path, namespace))
    assert refusal.refuses
    assert "metadata.labels.istio-injection: enabled" in refusal.remedy


def test_a_policy_of_the_runbooks_name_that_git_states_otherwise_is_refused(
    tmp_path: Path,
) -> None:
    policy: Object = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {
            "name": "default",
            "namespace": "istio-system",
            "labels": FLUX,
            "managedFields": managed("kustomize-controller", {"f:spec": {"f:mtls": {}}}),
        },
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    desired = {**policy, "spec": {"mtls": {"mode": "STRICT"}}}
    (refusal,) = preflight.policy_kept(context(tmp_path, policy), lambda: desired)
    assert refusal.refuses
    assert refusal.where == "PeerAuthentication istio-system/default"
    assert refusal.evidence[1].endswith("kustomize-controller manages spec.mtls")
    assert list(preflight.policy_kept(context(tmp_path, policy), lambda: policy)) == []


def test_nothing_is_said_of_the_labs_own_application(tmp_path: Path) -> None:
    items = list(yaml.safe_load_all(APPLICATION.read_text(encoding="utf-8")))
    given = context(tmp_path, *items)
    assert list(preflight.injection_undone(given)) == []
    for item in items:
        assert list(preflight.set_back(given, item, ("spec",), "all", forced=True)) == []
