from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from runbook_lib.mesh.map import (
    EDGE,
    OUTSIDER,
    Basis,
    Link,
    LinkState,
    MeshMap,
    NamespaceView,
    PodView,
    Role,
    Sidecar,
    WorkloadView,
)
from runbook_lib.notebook.pictures.marks import LOOKS, arrow, icon
from runbook_lib.notebook.pictures.mesh import mesh_html

WEB = WorkloadView("StatefulSet", "web", Role.WEB, (PodView("web-0", "2/2", "", Sidecar.READY),))
DATABASE = WorkloadView("StatefulSet", "database", Role.DEPENDENCY, (PodView("database-0", "1/1"),))
ISTIOD = WorkloadView("Deployment", "istiod", Role.CONTROL_PLANE, (PodView("istiod-5-x", "1/1"),))


def link(source: str, target: str, state: LinkState, basis: Basis = Basis.DERIVED) -> Link:
    return Link(source, target, 8080, state, basis, ("because",))


MESH = MeshMap(
    target="lab-default",
    url="http://127.0.0.1:8080",
    seen_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    application=NamespaceView(
        "xnat", injects=True, workloads=(WEB, DATABASE), policies=("PeerAuthentication a: STRICT",)
    ),
    istio=NamespaceView("istio-system", workloads=(ISTIOD,)),
    links=(
        replace(
            link(EDGE, "web", LinkState.PLAINTEXT, Basis.ASKED),
            answers=("GET 200", "POST 403 denied"),
        ),
        link("web", "database", LinkState.MUTUAL_TLS),
        link(OUTSIDER, "web", LinkState.PLAINTEXT),
        link(OUTSIDER, "database", LinkState.REFUSED),
        replace(link("istiod", "xnat", LinkState.CONFIGURES), port=None),
    ),
)


def with_workloads(*workloads: WorkloadView) -> MeshMap:
    return replace(MESH, application=replace(MESH.application, workloads=workloads))


def with_web_pods(*pods: PodView) -> MeshMap:
    return with_workloads(replace(WEB, pods=pods), DATABASE)


def texts(mesh: MeshMap) -> list[str]:
    """What is written in the picture, pointer texts and alternative text left out."""
    picture = ET.fromstring(mesh_html(mesh))
    return [
        (node.text or "").replace("\xa0", " ")
        for node in picture.iter()
        if node.tag.endswith("}text")
    ]


class TestText:
    def test_it_says_everything(self) -> None:
        text = str(MESH)

        assert text.splitlines()[0] == "Mesh on lab-default, seen 2026-01-02 03:04:05 UTC"
        for expected in (
            "load balancer http://127.0.0.1:8080",
            "namespace xnat: sidecar injection on",
            "    web-0  2/2  ready  sidecar ready",
            "  policy PeerAuthentication a: STRICT",
            "  load balancer -> web:8080  plaintext (GET 200, POST 403 denied)  [asked: because]",
            "  web -> database:8080  mTLS  [derived: because]",
            "  istiod -> xnat  configures  [derived: because]",
        ):
            assert expected in text.splitlines()

    def test_a_missing_namespace_is_said_to_be_missing(self) -> None:
        mesh = replace(MESH, istio=NamespaceView("istio-system", exists=False))

        assert "namespace istio-system: does not exist" in str(mesh).splitlines()
        assert "Namespace istio-system: does not exist" in mesh.summary

    def test_a_workload_without_pods_says_so(self) -> None:
        assert "    no pods" in str(with_web_pods()).splitlines()


class TestPicture:
    def test_the_alternative_text_names_pods_and_links(self) -> None:
        picture = ET.fromstring(mesh_html(MESH))[0]

        assert picture.get("role") == "img"
        assert picture[0].text == MESH.title
        assert picture[1].text == MESH.summary
        assert "2 pods, 2 ready, 1 with sidecars" in MESH.summary
        assert "load balancer to web:8080 plaintext (GET 200, POST 403 denied)" in MESH.summary

    def test_it_shows_answers_reasons_and_policies(self) -> None:
        shown = texts(MESH)

        for expected in (
            "GET 200 · POST 403 denied",
            "asked: because",
            "derived: because",
            "to database:8080",
            "PeerAuthentication a: STRICT",
            "configures: because",
        ):
            assert expected in shown

    @pytest.mark.parametrize("state", list(LinkState))
    def test_the_state_of_a_link_is_written_beside_it_and_in_the_legend(
        self, state: LinkState
    ) -> None:
        first, second, third, fourth, _ = MESH.links
        changed = tuple(replace(link, state=state) for link in (first, second, third, fourth))

        # Four links and the legend.
        assert texts(replace(MESH, links=changed)).count(state) == 5

    @pytest.mark.parametrize("sidecar", list(Sidecar))
    def test_every_pod_says_whether_it_has_a_sidecar(self, sidecar: Sidecar) -> None:
        pod = PodView("web-0", "1/2", sidecar=sidecar)

        assert sidecar in texts(with_web_pods(pod))

    def test_a_pod_that_is_not_ready_says_why(self) -> None:
        pod = PodView("web-0", "1/2", "istio-proxy: ErrImagePull", Sidecar.NOT_READY)

        assert "1/2 not ready: istio-proxy: ErrImagePull" in texts(with_web_pods(pod))

    def test_a_simulated_pod_says_so(self) -> None:
        assert "1/1 ready, simulated" in texts(
            with_web_pods(PodView("web-0", "1/1", simulated=True))
        )

    def test_of_many_pods_some_are_drawn_and_the_rest_counted(self) -> None:
        pods = [PodView(f"web-{n}", "2/2", "" if n % 10 else "slow") for n in range(5, 55)]

        shown = texts(with_web_pods(*pods))

        assert "and 45 more pods: 40 ready, 5 not" in shown
        assert sum(text.startswith("web-") for text in shown) == 5

    def test_names_are_escaped(self) -> None:
        name = "<script>&\"'"
        mesh = replace(
            with_web_pods(PodView(name, "1/1")),
            target=name,
            url=f"http://{name}",
            links=tuple(replace(link, reasons=(name,), answers=(name,)) for link in MESH.links),
        )

        picture = ET.fromstring(mesh_html(mesh))

        assert "<script>" not in mesh_html(mesh)
        assert name in [node.text for node in picture.iter()]

    def test_long_names_are_shortened_and_whole_where_the_pointer_rests(self) -> None:
        name = "release-" + "x" * 200 + "-0"
        picture = ET.fromstring(mesh_html(with_web_pods(PodView(name, "2/2"))))

        drawn = [t for t in (n.text or "" for n in picture.iter()) if t.startswith("release-")]
        hints = [n.text or "" for n in picture.iter() if n.tag.endswith("}title")]

        assert any("…" in text and text.endswith("-0") and len(text) < 50 for text in drawn)
        assert f"{name}  2/2  ready  no sidecar" in hints

    def test_several_dependencies_have_a_line_each(self) -> None:
        cache = WorkloadView("Deployment", "cache", Role.DEPENDENCY, (PodView("cache-0", "1/1"),))
        other = WorkloadView("Job", "backup", Role.OTHER, (PodView("backup-0", "1/1"),))
        mesh = replace(
            with_workloads(WEB, DATABASE, cache, other),
            links=(*MESH.links, link("web", "cache", LinkState.UNKNOWN)),
        )

        shown = texts(mesh)

        assert shown.count("derived: because") == 2
        assert {"cache", "backup", "backup-0"} <= set(shown)

    @pytest.mark.parametrize("exists", [True, False])
    def test_there_is_a_picture_before_there_is_a_mesh(self, exists: bool) -> None:
        mesh = replace(
            MESH,
            istio=NamespaceView("istio-system", exists=exists),
            links=MESH.links[:4],
        )

        assert any("no mesh" in text for text in texts(mesh))


class TestMarks:
    def test_no_two_states_share_line_style_or_icon(self) -> None:
        lines = {(look.width, look.dash) for look in LOOKS.values()}
        icons = {icon(0, 0, state) for state in LinkState}

        assert len(lines) == len(icons) == len(LinkState)

    def test_only_traffic_that_gets_through_reaches_the_target(self) -> None:
        def last_x(state: LinkState) -> float:
            path = ET.fromstring(arrow([(0, 0), (100, 0)], state)[0]).get("d") or ""
            return float(path.split("L")[1].split()[0])

        assert last_x(LinkState.REFUSED) < last_x(LinkState.PLAINTEXT)
