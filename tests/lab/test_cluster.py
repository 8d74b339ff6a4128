"""Cluster and Helm against a real API server."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import (
    ApplyConflict,
    ClusterRefused,
    ClusterUnreachable,
    KindNotInstalled,
    RunbookError,
    WaitTimeout,
)
from runbook_lib.base.wait import State, until
from runbook_lib.cluster import pods
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.connection import Kubeconfig
from runbook_lib.cluster.differences.diff import object_diff
from runbook_lib.cluster.names import RESTART_REASON, RESTARTED_AT, TLS_SECRET
from runbook_lib.cluster.objects import Object
from runbook_lib.cluster.objects import reference as ref
from runbook_lib.cluster.secrets import type_of_secret
from runbook_lib.lifecycle import target
from runbook_lib.lifecycle.target import Target
from runbook_lib.tools import programs as tools
from runbook_lib.tools.helm import Helm
from runbook_lib.tools.releases import Chart
from tests.labs import Lab
from tests.unit.samples import from_mapping

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab]

CONFIG: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "default", "labels": {"test": "yes"}},
    "data": {"mode": "a"},
}


@pytest.fixture(scope="module")
def pinned(lab: Lab) -> Target:
    return target.resolve(from_mapping({"target": {"lab": lab.name}}))


@pytest.fixture
def cluster(pinned: Target) -> Iterator[Cluster]:
    cluster = Cluster.of(pinned)
    yield cluster
    cluster.delete("v1", "ConfigMap", "settings", "default")


@pytest.fixture(scope="module")
def helm(pinned: Target) -> Helm:
    programs = tools.find(pinned.tools)
    return Helm(programs.helm, kubeconfig=pinned.kubeconfig, context=pinned.context)


def config(mode: str, **metadata: Any) -> Object:
    return {**CONFIG, "metadata": {**CONFIG["metadata"], **metadata}, "data": {"mode": mode}}


def get(cluster: Cluster) -> Object | None:
    return cluster.get("v1", "ConfigMap", "settings", "default")


def test_the_target_is_pinned_to_the_cluster(pinned: Target, cluster: Cluster) -> None:
    pinned.verify_same(cluster)
    assert cluster.server_version().startswith("v1.")


def test_a_dry_run_predicts_and_changes_nothing(cluster: Cluster) -> None:
    predicted = cluster.apply(CONFIG, dry_run=True)
    assert get(cluster) is None
    assert cluster.apply(CONFIG)["data"] == predicted["data"] == {"mode": "a"}


def test_applying_again_is_no_change(cluster: Cluster) -> None:
    cluster.apply(CONFIG)
    assert object_diff(get(cluster), cluster.apply(CONFIG, dry_run=True)).action == "none"
    assert object_diff(get(cluster), cluster.apply(config("b"), dry_run=True)).action == "change"


def test_a_field_that_is_left_out_is_given_up(cluster: Cluster) -> None:
    cluster.apply({**CONFIG, "data": {"mode": "a", "extra": "x"}})
    assert cluster.apply(CONFIG)["data"] == {"mode": "a"}


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_field_of_another_manager_is_a_conflict_and_force_takes_it(
    cluster: Cluster, lab: Lab, dry_run: bool
) -> None:
    lab.run("kubectl", "create", "--filename=-", stdin=json.dumps(config("theirs")))
    with pytest.raises(ApplyConflict) as caught:
        cluster.apply(CONFIG, dry_run=dry_run)
    assert caught.value.managers == ("kubectl-create",)
    assert caught.value.fields == (".data.mode",)
    assert cluster.apply(CONFIG, force=True, dry_run=dry_run)["data"] == {"mode": "a"}


def test_deleting_says_whether_there_was_something(cluster: Cluster) -> None:
    cluster.apply(CONFIG)
    assert cluster.delete("v1", "ConfigMap", "settings", "default")
    assert not cluster.delete("v1", "ConfigMap", "settings", "default")


def test_a_list_is_selected_by_labels_and_complete(cluster: Cluster) -> None:
    cluster.apply(CONFIG)
    (found,) = cluster.list("v1", "ConfigMap", "default", labels={"test": "yes"})
    assert (found["kind"], found["apiVersion"]) == ("ConfigMap", "v1")
    assert cluster.list("v1", "ConfigMap", "default", labels={"test": "no"}) == []


def test_a_missing_namespace_is_a_refusal_that_says_so(cluster: Cluster) -> None:
    with pytest.raises(ClusterRefused, match='namespaces "nowhere" not found') as caught:
        cluster.apply(config("a", namespace="nowhere"), dry_run=True)
    assert caught.value.status == 404


def test_an_invalid_object_is_a_refusal_that_names_the_field(cluster: Cluster) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {"ports": [{"port": 99999}]},
    }
    with pytest.raises(ClusterRefused, match=r"spec\.ports\[0\]\.port") as caught:
        cluster.apply(service)
    assert (caught.value.status, caught.value.reason) == (422, "Invalid")


def test_a_kind_becomes_known_when_its_definition_is_installed(cluster: Cluster) -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "potatoes.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Potato", "plural": "potatoes"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    with pytest.raises(KindNotInstalled):
        cluster.list("example.com/v1", "Potato")
    cluster.apply(definition)

    def served() -> State:
        try:
            return State(cluster.list("example.com/v1", "Potato") == [], "served")
        except KindNotInstalled as error:
            return State(False, error.cause)

    until("the kind Potato", served, timeout=20)


def test_a_watch_sees_every_change_without_polling(cluster: Cluster, pinned: Target) -> None:
    other = Cluster.of(pinned)
    seen: list[str] = []
    started = threading.Event()

    def change() -> None:
        started.wait(20)
        for mode in "abc":
            other.apply(config(mode))
        other.delete("v1", "ConfigMap", "settings", "default")

    def observe(items: list[Object]) -> State:
        started.set()
        text = items[0]["data"]["mode"] if items else "none"
        return State("c" in seen and not items, text)

    thread = threading.Thread(target=change)
    thread.start()
    cluster.watch_until(
        "the end",
        "v1",
        "ConfigMap",
        "default",
        observe,
        name="settings",
        timeout=20,
        on_change=seen.append,
    )
    thread.join()
    assert seen == ["none", "a", "b", "c", "none"]


def test_a_watch_that_waits_in_vain_ends_in_time_with_its_last_state(cluster: Cluster) -> None:
    with pytest.raises(WaitTimeout, match="last seen: 0 objects") as caught:
        cluster.watch_until(
            "a miracle",
            "v1",
            "ConfigMap",
            "default",
            lambda items: State(False, f"{len(items)} objects"),
            labels={"never": "there"},
            timeout=1,
        )
    assert caught.value.elapsed < 5


def test_a_restart_replaces_the_pods_and_says_why(cluster: Cluster) -> None:
    def pod() -> Object:
        (found,) = cluster.list("v1", "Pod", "xnat", labels={"app": "xnat-web"})
        return found

    before = pod()["metadata"]["uid"]
    restarted = cluster.restart("StatefulSet", "xnat-xnat-web", "xnat", "testing restarts")
    annotations = restarted["spec"]["template"]["metadata"]["annotations"]
    assert annotations[RESTART_REASON] == "testing restarts"
    assert annotations[RESTARTED_AT].endswith("Z")
    cluster.watch_until(
        "the new pod",
        "v1",
        "Pod",
        "xnat",
        lambda items: State(
            any(pods.is_ready(item) and item["metadata"]["uid"] != before for item in items),
            "; ".join(map(pods.describe, items)),
        ),
        labels={"app": "xnat-web"},
        timeout=60,
    )
    events = cluster.events("xnat", "xnat-xnat-web", kind="StatefulSet")
    assert any(event.reason == "SuccessfulCreate" for event in events)


def test_a_restart_of_nothing_creates_nothing(cluster: Cluster) -> None:
    with pytest.raises(ClusterRefused, match="there is no such workload"):
        cluster.restart("StatefulSet", "nothing", "xnat", "testing")


def test_credentials_that_are_not_accepted_are_named(pinned: Target, tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "clusters": [
            {"name": "c", "cluster": {"server": pinned.server, "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "u", "user": {"token": "not-a-real-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(data))
    with pytest.warns(match="certificate"), pytest.raises(ClusterUnreachable) as caught:
        Cluster(Kubeconfig.of(path), "x").uid()
    assert "does not accept the credentials" in caught.value.cause


def test_what_a_user_may_not_read_and_an_api_that_is_dead_are_named(
    cluster: Cluster, lab: Lab
) -> None:
    service = {"name": "nowhere", "namespace": "default"}
    dead = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.dead.example.com"},
        "spec": {
            "group": "dead.example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": service,
            "insecureSkipTLSVerify": True,
        },
    }
    cluster.apply(CONFIG)
    viewer = Cluster(Kubeconfig.of(lab.viewer()), "viewer")
    everybody = {ref(item) for item in cluster.everything("default").objects}
    cluster.apply(dead)
    try:
        until(
            "the dead API to be listed",
            lambda: State("all kinds of dead.example.com/v1" in viewer.everything().unread, ""),
            timeout=20,
        )
        found = viewer.everything("default")
        assert found.unread["all kinds of dead.example.com/v1"].status == 503
        assert found.unread["Secret (v1)"].status == 403
        assert "ConfigMap default/settings" in set(map(ref, found.objects)) <= everybody
    finally:
        cluster.delete(dead["apiVersion"], "APIService", "v1.dead.example.com")


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    """A chart whose one Deployment is on no node, so that waiting for it does not end."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sample", "labels": {"mode": "{{ .Values.mode }}"}},
        "spec": {
            "selector": {"matchLabels": {"app": "sample"}},
            "template": {
                "metadata": {"labels": {"app": "sample"}},
                "spec": {
                    "nodeSelector": {"no": "node"},
                    "containers": [{"name": "c", "image": "i"}],
                },
            },
        },
    }
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "deployment.yaml").write_text(json.dumps(deployment))
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: sample\nversion: 1.0.0-rc.1\n")
    (tmp_path / "values.yaml").write_text("mode: a\n")
    return Chart(tmp_path)


def test_a_release_is_installed_changed_and_removed(helm: Helm, chart: Chart) -> None:
    assert helm.status("sample", namespace="default") is None
    first = helm.upgrade_install("sample", chart, namespace="default", values={}, timeout=20)
    assert (first.revision, first.status, first.chart_version) == (1, "deployed", "1.0.0-rc.1")
    (installed,) = helm.get_manifest("sample", namespace="default")
    assert installed["metadata"]["labels"] == {"mode": "a"}
    assert helm.status("sample", namespace="default") == first
    second = helm.upgrade_install(
        "sample", chart, namespace="default", values={"mode": "b"}, timeout=20
    )
    assert helm.get_values("sample", namespace="default") == {"mode": "b"}
    assert [item.revision for item in helm.history("sample", namespace="default")] == [1, 2]
    assert helm.status("sample", namespace="default") == second
    helm.uninstall("sample", namespace="default", timeout=20)
    helm.uninstall("sample", namespace="default", timeout=20)
    assert helm.status("sample", namespace="default") is None


@pytest.mark.parametrize("installed_before", [False, True])
def test_an_interrupted_helm_is_noticed_and_a_rollback_to_itself_completes_it(
    helm: Helm, chart: Chart, lab: Lab, installed_before: bool
) -> None:
    if installed_before:
        helm.upgrade_install("sample", chart, namespace="default", values={}, timeout=20)
    process = subprocess.Popen(
        ["helm", "upgrade", "--install", "sample", str(chart.reference), "--wait"],
        env=lab.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def pending() -> State:
        history = helm.history("sample", namespace="default")
        status = history[-1].status if history else "nothing"
        return State(status.startswith("pending-"), status)

    until("Helm to be at work", pending, timeout=30)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    stuck = helm.status("sample", namespace="default")
    assert stuck is not None
    assert stuck.stuck
    with pytest.raises(RunbookError, match="another Helm began to work"):
        helm.upgrade_install("sample", chart, namespace="default", values={}, timeout=20)
    helm.rollback("sample", stuck.revision, namespace="default", timeout=20)
    (deployment,) = helm.get_manifest("sample", namespace="default")
    assert "sample" in lab.run("kubectl", "get", "deployments", "--output", "name")
    assert deployment["kind"] == "Deployment"
    release = helm.upgrade_install("sample", chart, namespace="default", values={}, timeout=20)
    assert release.deployed
    helm.uninstall("sample", namespace="default", timeout=20)


def test_a_secrets_type_is_told_without_its_content(lab: Lab, cluster: Cluster) -> None:
    """And the API server sees to it that one of type TLS has certificate and key."""
    data = {"tls.crt": "Y2VydGlmaWNhdGU=", "tls.key": "a2V5"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TLS_SECRET,
        "metadata": {"name": "certificate", "namespace": "default"},
        "data": data,
    }
    create = ("kubectl", "create", "--filename", "-")
    assert type_of_secret(cluster, "certificate", "default") is None
    without = {**secret, "data": {"tls.crt": data["tls.crt"]}}
    assert "data[tls.key]: Required" in lab.run(*create, check=False, stdin=json.dumps(without))
    lab.run(*create, stdin=json.dumps(secret))
    assert type_of_secret(cluster, "certificate", "default") == TLS_SECRET
    lab.run("kubectl", "--namespace", "default", "delete", "secret", "certificate")
