"""Sidecars of another revision, without an istiod, or much older than theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.chapters.policies import authorization, mutual_tls, stale
from runbook_lib.cluster.objects import Object
from runbook_lib.lab import standins
from tests.unit.doubles.given_cluster import context, pod, web_workload

APPLICATION = Path(standins.__file__).parent / "application.yaml"


def istiod(revision: str = "default", version: str = "1.27.0") -> Object:
    image = {"name": "discovery", "image": f"docker.io/istio/pilot:{version}"}
    return {
        "kind": "Deployment",
        "metadata": {
            "name": "istiod",
            "namespace": "istio-system",
            "labels": {"app": "istiod", "istio.io/rev": revision},
        },
        "spec": {"template": {"spec": {"containers": [image]}}},
    }


def meshed(revision: str = "default", version: str = "1.27.0", **metadata: Any) -> Object:
    status = {"sidecar.istio.io/status": json.dumps({"revision": revision})}
    web = pod(**{"annotations": status, **metadata})
    web["spec"]["containers"][1]["image"] = f"docker.io/istio/proxyv2:{version}-distroless"
    return web


def test_a_sidecar_whose_istiod_is_gone_is_refused(tmp_path: Path) -> None:
    (refusal,) = stale.sidecars(context(tmp_path, istiod(), meshed("1-20")))
    assert refusal.refuses
    assert refusal.where == "Pod xnat/xnat-xnat-web-0"
    assert refusal.evidence == (
        ".metadata.annotations.sidecar.istio.io/status: revision 1-20",
        "no Deployment with the labels app=istiod, istio.io/rev=1-20",
    )
    command = "kubectl --namespace xnat rollout restart statefulset xnat-xnat-web"
    assert command in refusal.remedy


def test_an_istiod_that_01_installs_is_not_missed_yet(tmp_path: Path) -> None:
    (note,) = stale.sidecars(context(tmp_path, meshed()))
    assert not note.refuses
    assert "01_install_istio" in note.remedy


def test_a_sidecar_of_another_revision_with_its_istiod_is_a_note(tmp_path: Path) -> None:
    (note,) = stale.sidecars(context(tmp_path, istiod(), istiod("canary"), meshed("canary")))
    assert not note.refuses
    assert note.parameter.startswith("istio.revision: canary")


def test_the_injectors_status_comes_before_a_label_that_may_be_a_tag(tmp_path: Path) -> None:
    labels = {"app": "xnat-web", "istio.io/rev": "prod"}
    assert list(stale.sidecars(context(tmp_path, istiod(), meshed(labels=labels)))) == []
    (refusal,) = stale.sidecars(context(tmp_path, istiod(), meshed(labels=labels, annotations={})))
    assert refusal.evidence[0] == ".metadata.labels.istio.io/rev: prod"


def test_a_sidecar_is_stale_from_the_second_minor_version_on(tmp_path: Path) -> None:
    assert list(stale.sidecars(context(tmp_path, istiod(), meshed(version="1.26.4")))) == []
    (note,) = stale.sidecars(context(tmp_path, istiod(), meshed(version="1.25.1")))
    assert not note.refuses
    assert "1.25, 2 minor versions behind the 1.27" in note.what
    assert "image of istio-proxy: docker.io/istio/proxyv2:1.25.1-distroless" in note.evidence


def test_images_without_a_version_are_not_judged(tmp_path: Path) -> None:
    digest = meshed()
    digest["spec"]["containers"][1]["image"] = "registry:5000/istio/proxyv2@sha256:0a1b"
    assert list(stale.sidecars(context(tmp_path, istiod(), digest))) == []


def test_pods_that_leave_or_have_no_sidecar_are_not_looked_at(tmp_path: Path) -> None:
    leaving = meshed("1-20", deletionTimestamp="now")
    bare = pod("db-0", sidecar=False, labels={"app": "db"})
    assert list(stale.sidecars(context(tmp_path, istiod(), leaving, bare))) == []


def test_chapters_04_and_05_refuse_a_sidecar_that_no_policy_reaches(tmp_path: Path) -> None:
    given = context(tmp_path, istiod(), meshed("1-20"), web_workload())
    first, second, _ = mutual_tls.steps(given.parameters)
    _, dry_run, _read, last, _ = authorization.steps(given.parameters)
    for step in (first, second, dry_run, last):
        assert "stale-sidecar" in [each.name for each in step.obstacles(given) if each.refuses]


def test_nothing_is_said_of_the_labs_own_application(tmp_path: Path) -> None:
    items = list(yaml.safe_load_all(APPLICATION.read_text(encoding="utf-8")))
    assert list(stale.sidecars(context(tmp_path, istiod(), meshed(), *items))) == []
