"""A Kiali that something else made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.chapters.kiali.steps import steps
from runbook_lib.chapters.shared import preflight
from runbook_lib.cluster.objects import Object
from runbook_lib.lab import standins
from runbook_lib.lifecycle.finding import Refused
from tests.unit.doubles.given_cluster import context

APPLICATION = Path(standins.__file__).parent / "application.yaml"


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


def test_the_same_instance_name_in_another_namespace_is_refused_where_both_see_the_cluster(
    tmp_path: Path,
) -> None:
    (refusal,) = preflight.kiali_of_others(context(tmp_path, resource("kiali", "other-mesh")))
    assert refusal.where == "Kiali other-mesh/kiali"
    named = resource("kiali", "other-mesh", instance_name="other")
    assert list(preflight.kiali_of_others(context(tmp_path, named))) == []
    narrow = resource("kiali", "other-mesh")
    narrow["spec"]["deployment"]["cluster_wide_access"] = False
    assert list(preflight.kiali_of_others(context(tmp_path, narrow))) == []


def test_a_binding_of_a_kiali_in_another_namespace_is_refused(tmp_path: Path) -> None:
    account = {"kind": "ServiceAccount", "name": "kiali", "namespace": "other-mesh"}
    binding: Object = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kiali"},
        "subjects": [account],
    }
    (refusal,) = preflight.kiali_of_others(context(tmp_path, binding))
    assert refusal.where == "ClusterRoleBinding kiali"
    assert refusal.evidence == (".subjects: ServiceAccount other-mesh/kiali",)
    account["namespace"] = "istio-system"
    assert list(preflight.kiali_of_others(context(tmp_path, binding))) == []


def test_chapter_06_does_not_describe_a_kiali_beside_one_of_others(tmp_path: Path) -> None:
    given = context(tmp_path, part("Deployment"))
    (step,) = (s for s in steps(given.parameters) if s.name == "kiali-instance")
    with pytest.raises(Refused, match="a Kiali that no Kiali resource describes"):
        step.plan(given)


def test_nothing_is_said_of_the_labs_own_application(tmp_path: Path) -> None:
    items = yaml.safe_load_all(APPLICATION.read_text(encoding="utf-8"))
    assert list(preflight.kiali_of_others(context(tmp_path, *items))) == []
