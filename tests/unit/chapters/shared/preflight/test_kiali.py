"""A Kiali that something else made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.chapters.shared import preflight
from runbook_lib.cluster.objects import Object
from tests.unit.doubles.given_cluster import context


def part(kind: str, **metadata: Any) -> Object:
    return {"kind": kind, "metadata": {"name": "kiali", "namespace": "istio-system", **metadata}}


def resource(name: str = "kiali", namespace: str = "istio-system", **deployment: str) -> Object:
    return {
        "kind": "Kiali",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"deployment": deployment},
    }


def test_a_kiali_of_the_server_chart_is_refused_with_its_release(tmp_path: Path) -> None:
    release = {
        "meta.helm.sh/release-name": "kiali-server",
        "meta.helm.sh/release-namespace": "istio-system",
    }
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    parts = [part(kind, annotations=release, labels=labels) for kind in ("Deployment", "Service")]
    (refusal,) = preflight.kiali_of_others(context(tmp_path, *parts))
    assert refusal.refuses
    assert refusal.where == "Deployment istio-system/kiali, Service istio-system/kiali"
    assert "helm uninstall kiali-server --namespace istio-system" in refusal.remedy
    assert refusal.evidence[0].endswith(".metadata.ownerReferences: no Kiali")
    assert refusal.parameter.startswith("kiali.name: ")


def test_istios_sample_is_refused_also_beside_a_kiali_resource(tmp_path: Path) -> None:
    sample = part("ConfigMap", labels={"app.kubernetes.io/managed-by": "Helm"})
    for given in (context(tmp_path, sample), context(tmp_path, sample, resource())):
        (refusal,) = preflight.kiali_of_others(given)
        assert "kubectl --namespace istio-system delete configmap/kiali" in refusal.remedy


def test_what_the_operator_made_is_the_runbooks_own(tmp_path: Path) -> None:
    owned = part("Deployment", ownerReferences=[{"kind": "Kiali", "name": "kiali"}])
    assert list(preflight.kiali_of_others(context(tmp_path, owned, resource()))) == []
    # An operator may be told not to note what it made.
    assert list(preflight.kiali_of_others(context(tmp_path, part("Service"), resource()))) == []


def test_another_resource_for_a_kiali_of_the_same_name_is_refused(tmp_path: Path) -> None:
    other = resource("site", "operators", instance_name="kiali")
    other["spec"]["deployment"]["namespace"] = "istio-system"
    (refusal,) = preflight.kiali_of_others(context(tmp_path, other))
    assert refusal.refuses
    assert refusal.where == "Kiali operators/site"
    assert refusal.evidence == (".spec.deployment.instance_name: kiali",)


def test_the_same_instance_name_in_another_namespace_is_a_note(tmp_path: Path) -> None:
    (note,) = preflight.kiali_of_others(context(tmp_path, resource("kiali", "other-mesh")))
    assert not note.refuses
    named = resource("kiali", "other-mesh", instance_name="other")
    assert list(preflight.kiali_of_others(context(tmp_path, named))) == []
