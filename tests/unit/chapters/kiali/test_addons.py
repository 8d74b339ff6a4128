"""Manifests of add-ons: from a file or the web, and moved to Istio's namespace."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.chapters.kiali import addon_manifests as addons
from runbook_lib.chapters.kiali.addons import judge_targets

REMEDY = "name it in kiali.prometheus_manifest"
MANIFEST = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: istio-system}
---
# Source: nothing
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: istio-system}]
---
apiVersion: v1
kind: Service
metadata: {name: prometheus}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: dashboards, namespace: monitoring}
"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server with `good.yaml`, `large.yaml`, and nothing else."""
    (tmp_path / "good.yaml").write_text(MANIFEST)
    (tmp_path / "large.yaml").write_text("# " + "x" * 2_000_001)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def read(location: str) -> list[str]:
    return [item["kind"] for item in addons.read(location, timeout=5, remedy=REMEDY)]


KINDS = ["ServiceAccount", "ClusterRoleBinding", "Service", "ConfigMap"]


def test_a_file_holds_several_documents(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MANIFEST)
    assert read(str(tmp_path / "m.yaml")) == KINDS


def test_so_does_a_page(web: str) -> None:
    assert read(f"{web}/good.yaml") == KINDS


def test_a_page_that_is_not_there_is_an_error_with_a_remedy(web: str) -> None:
    with pytest.raises(RunbookError, match=r"missing\.yaml answers 404") as caught:
        read(f"{web}/missing.yaml")
    assert caught.value.remedy == REMEDY


def test_a_page_without_end_is_not_read_to_it(web: str) -> None:
    with pytest.raises(RunbookError, match="is larger than"):
        read(f"{web}/large.yaml")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(RunbookError, match=r"cannot download http://127\.0\.0\.1:1/x\.yaml"):
        read("http://127.0.0.1:1/x.yaml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not valid YAML: line 1"),
        ("- a list", "no Kubernetes object"),
        ("<html>Not found</html>", "no Kubernetes object"),
        ("kind: Service\nmetadata: {}", "no Kubernetes object"),
        ("# nothing", "holds no objects"),
    ],
)
def test_what_holds_no_objects_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(RunbookError, match=problem) as caught:
        read(str(tmp_path / "m.yaml"))
    assert caught.value.remedy == REMEDY


def test_objects_move_and_what_refers_to_them_follows(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MANIFEST)
    objects = addons.read(str(tmp_path / "m.yaml"), timeout=5, remedy=REMEDY)
    account, binding, service, dashboards = addons.moved(objects, "mesh")
    assert account["metadata"]["namespace"] == "mesh"
    assert binding["subjects"][0]["namespace"] == "mesh"
    assert "namespace" not in binding["metadata"]
    assert service["metadata"]["namespace"] == "mesh"
    assert dashboards["metadata"]["namespace"] == "monitoring"
    assert objects[0]["metadata"]["namespace"] == "istio-system"


def test_labels_are_added_to_a_copy() -> None:
    item = {"kind": "Service", "metadata": {"name": "x", "labels": {"a": "1"}}}
    found = addons.labelled(item, {"b": "2"})
    assert found["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert item["metadata"] == {"name": "x", "labels": {"a": "1"}}


WANTED = {"istiod": ("istio-system", "istiod"), "the sidecars of xnat": ("xnat", "")}


def scraped(namespace: str, pod: str | None, health: str = "up", error: str = "") -> dict[str, Any]:
    labels = {"__meta_kubernetes_namespace": namespace}
    if pod:
        labels["__meta_kubernetes_pod_name"] = pod
    return {"discoveredLabels": labels, "health": health, "lastError": error}


def test_prometheus_must_read_istiod_and_the_sidecars() -> None:
    targets = [scraped("istio-system", "istiod-7d9"), scraped("xnat", "xnat-web-0")]
    assert judge_targets(targets, WANTED) == (
        True,
        "answers, and reads istiod and the sidecars of xnat",
    )


def test_other_targets_that_are_up_are_no_proof() -> None:
    targets = [
        scraped("default", None),
        scraped("istio-system", "prometheus-5c"),
        scraped("istio-system", "istiod-7d9", "down", "connection refused"),
        scraped("xnat", "xnat-web-0", "unknown"),
    ]
    assert judge_targets(targets, WANTED) == (
        False,
        "does not read istiod: connection refused, the sidecars of xnat: not read yet",
    )
    ok, found = judge_targets(targets[:1], WANTED)
    assert not ok
    assert "istiod: not among its targets" in found
