"""The file that is drafted passes its checks, and each of its lines says why it is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base import ParameterError
from runbook_lib.cluster import Object, name_of
from runbook_lib.init import draft, save
from runbook_lib.init.drafting import Draft
from runbook_lib.lifecycle import Context
from runbook_lib.parameters import Parameters, loading
from runbook_lib.site import Observed
from tests.unit.doubles.applications import Change, objects, on_cluster

STATUSES = {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 200, "PATCH": 501}


def answer(method: str, url: str, _path: str) -> Observed:
    if url.startswith("http:"):
        return Observed(method, 301)
    return Observed(method, STATUSES.get(method, 405))


def with_host(item: Object) -> Object:
    if item["kind"] == "Ingress":
        item["spec"]["rules"][0]["host"] = "xnat.example.org"
    return item


def made(
    change: Change = with_host, *more: Object, other_methods: bool = True, **options: Any
) -> Draft:
    context = on_cluster(*objects(change=change), *more)
    return draft(context, other_methods=other_methods, ask=answer, **options)


def checked(found: Draft, folder: Path) -> Parameters:
    path = folder / "my-cluster.yaml"
    save(found, path)
    return loading.load(path).parameters


def test_the_public_chart_gives_a_file_with_nothing_left_to_do(tmp_path: Path) -> None:
    found = made()
    assert found.changes == ()
    assert "CHANGE:" not in found.text
    parameters = checked(found, tmp_path)
    application = parameters.application
    assert application.url == "https://xnat.example.org"
    assert (application.web.name, application.web.service) == ("xnat-xnat-web",) * 2
    assert application.web.port == 8080
    assert application.web.labels is None
    assert application.plaintext_ports == (8104,)
    assert application.dicom is not None
    assert application.restart_order == (
        "StatefulSet/xnat-postgresql",
        "StatefulSet/xnat-xnat-web",
    )
    assert {each.method: each.status for each in application.probes} == {
        **STATUSES,
        "PUT": 405,
        "DELETE": 405,
    }
    assert parameters.target.production
    assert (parameters.story, parameters.kiali.exposure) == ("safe", "cluster")
    assert parameters.istio.version is not None


def test_every_value_has_a_comment_above_it() -> None:
    above = ""
    for line in made().text.splitlines():
        key, _, value = line.strip().partition(":")
        if (value or key.startswith("- ")) and not line.strip().startswith("#"):
            assert above.strip().startswith("#"), line
        above = line


def test_methods_that_were_not_asked_are_marked_and_the_file_passes_its_checks(
    tmp_path: Path,
) -> None:
    found = made(other_methods=False)
    assert len(found.changes) == 4
    assert found.text.count("# CHANGE:") == 4
    assert checked(found, tmp_path).authorization.denied_method == "PATCH"


def test_an_address_that_is_not_known_is_marked_and_the_file_passes_its_checks(
    tmp_path: Path,
) -> None:
    found = made(lambda item: item)
    assert found.changes[0].startswith("application.url: find the address that users open")
    assert checked(found, tmp_path).application.url == "https://change.invalid"


def test_an_address_that_a_person_names_is_asked_in_place_of_the_ingresss(tmp_path: Path) -> None:
    found = made(url="https://cdn.example.org")
    assert found.changes == ()
    assert checked(found, tmp_path).application.url == "https://cdn.example.org"


def test_the_portal_is_described_by_its_own_facts(tmp_path: Path) -> None:
    def change(item: Object) -> Object:
        if item["kind"] == "Ingress":
            item["status"] = {"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}}
        return item

    context = on_cluster(*objects("portal.yaml", change), namespace="portal")
    parameters = checked(draft(context, other_methods=True, ask=answer), tmp_path)
    application = parameters.application
    assert (application.web.kind, application.web.name) == ("Deployment", "front")
    assert (application.web.port, application.plaintext_ports) == (9090, ())
    assert application.dicom is None
    assert application.restart_order == ("Deployment/front",)
    assert application.probes[0].path == "/index.html"


def test_a_selector_of_expressions_alone_has_its_pods_labels_written(tmp_path: Path) -> None:
    def expressions(item: Object) -> Object:
        if item["kind"] == "StatefulSet" and name_of(item) == "xnat-xnat-web":
            key = "app.kubernetes.io/name"
            item["spec"]["selector"] = {
                "matchExpressions": [{"key": key, "operator": "In", "values": ["xnat-web"]}]
            }
        return with_host(item)

    found = made(expressions)
    labels = checked(found, tmp_path).application.web.labels
    assert labels is not None
    assert labels["app"] == "xnat-web"
    assert found.changes == ()


def test_an_istio_that_is_there_is_kept_at_its_version(tmp_path: Path) -> None:
    istiod = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "istiod-1-29",
            "namespace": "mesh",
            "labels": {"app": "istiod", "istio.io/rev": "1-29"},
        },
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "d", "image": "docker.io/istio/pilot:1.29.2"}]}
            }
        },
    }
    istio = checked(made(with_host, istiod), tmp_path).istio
    assert (istio.namespace, istio.version, istio.revision) == ("mesh", "1.29.2", "1-29")


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "my-cluster.yaml"
    path.write_text("mine")
    with pytest.raises(ParameterError, match="--force"):
        save(made(), path)
    assert path.read_text() == "mine"
    save(made(), path, force=True)
    assert yaml.safe_load(path.read_text())["story"] == "safe"
    assert [each.name for each in tmp_path.iterdir()] == ["my-cluster.yaml"]


def test_a_namespace_that_there_is_not_is_said() -> None:
    with pytest.raises(ParameterError, match="prod has no namespace xnt"):
        draft(on_cluster(*objects(), namespace="xnt"), ask=answer)


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028"])
def test_what_is_quoted_from_the_cluster_stays_a_comment(end: str) -> None:
    def change(item: Object) -> Object:
        if item["kind"] == "Ingress":
            item["metadata"]["name"] = f"x{end}mode: plan"
        return with_host(item)

    assert "mode" not in yaml.safe_load(made(change).text)


def test_no_secret_is_read() -> None:
    context: Context = on_cluster(*objects(change=with_host))
    kinds: list[str] = []
    read = context.cluster.list

    def listed(version: str, kind: str, *rest: Any) -> list[Object]:
        kinds.append(kind)
        return read(version, kind, *rest)

    context.cluster.list = listed  # type: ignore[method-assign, assignment]
    draft(context, ask=answer)
    assert "Service" in kinds
    assert "Secret" not in kinds


def test_an_address_with_a_path_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ParameterError, match="has a path or query"):
        made(url="https://xnat.example.org/login")
