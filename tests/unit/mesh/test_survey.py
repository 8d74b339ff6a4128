from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from runbook_lib.base.errors import KindNotInstalled
from runbook_lib.base.journal import Journal
from runbook_lib.cluster import pods
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.mesh import ends
from runbook_lib.mesh import survey as mesh_survey
from runbook_lib.mesh.map import LinkState, MeshMap, Role, Sidecar
from runbook_lib.site import probe
from runbook_lib.site.probe import Observed, Probe
from tests.unit.samples import LAB, lab_parameters

READY = [{"type": "Ready", "status": "True"}]


def pod(name: str, app: str, *, sidecar: bool = True, **status: Any) -> Object:
    names = [app, "istio-proxy"] if sidecar else [app]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "xnat",
            "labels": {"app": app.removeprefix("xnat-")},
            "ownerReferences": [{"kind": "StatefulSet", "name": app, "controller": True}],
        },
        "spec": {"containers": [{"name": n} for n in names]},
        "status": {
            "phase": "Running",
            "conditions": READY,
            "containerStatuses": [{"name": n, "ready": True} for n in names],
            **status,
        },
    }


def istiod() -> Object:
    found = pod("istiod-5d-x", "istiod", sidecar=False)
    found["metadata"].update(
        namespace="istio-system",
        labels={"app": "istiod", "pod-template-hash": "5d"},
        ownerReferences=[{"kind": "ReplicaSet", "name": "istiod-5d", "controller": True}],
    )
    return found


def thing(kind: str, name: str, namespace: str | None = None, **more: Any) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, **more}


def service(app: str, port: int, target: int | str, name: str = "") -> Object:
    ports = [{"port": port, "targetPort": target, "name": name}]
    return thing(
        "Service",
        app,
        "xnat",
        spec={"selector": {"app": app.removeprefix("xnat-")}, "ports": ports},
    )


STRICT = thing("PeerAuthentication", "default", "istio-system", spec={"mtls": {"mode": "STRICT"}})
SERVICES = (service("xnat-postgresql", 5432, 5432), service("xnat-xnat-web", 80, 8080, "http"))
NAMESPACES = (
    {"kind": "Namespace", "metadata": {"name": "xnat", "labels": {"istio-injection": "enabled"}}},
    {"kind": "Namespace", "metadata": {"name": "istio-system"}},
)
MESHED = (pod("xnat-xnat-web-0", "xnat-xnat-web"), pod("xnat-postgresql-0", "xnat-postgresql"))


class FakeCluster:
    def __init__(self, *objects: Object, istio_kinds: bool = True) -> None:
        self.objects = objects
        self.istio_kinds = istio_kinds

    def get(
        self, _version: str, kind: str, name: str, _namespace: str | None = None
    ) -> Object | None:
        found = (o for o in self.objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
        return next(found, None)

    def list(
        self, version: str, kind: str, namespace: str, labels: dict[str, str] | None = None
    ) -> list[Object]:
        if "istio.io" in version and not self.istio_kinds:
            raise KindNotInstalled(version, kind)
        return [
            o
            for o in self.objects
            if (o["kind"], o["metadata"].get("namespace")) == (kind, namespace)
            and (labels or {}).items() <= (o["metadata"].get("labels") or {}).items()
        ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods asked; each is answered with 200."""
    methods: list[str] = []

    def send(_url: str, wanted: Probe, **_options: Any) -> Observed:
        methods.append(wanted.method)
        return Observed(wanted.method, 200)

    monkeypatch.setattr(probe, "send", send)
    return methods


def survey(cluster: FakeCluster, **given: Any) -> MeshMap:
    evidence = cast(Journal, None)  # nothing is recorded
    context = Context(lab_parameters(**given), LAB, cast(Cluster, cluster), evidence)
    return mesh_survey.survey(context)


def states(mesh: MeshMap) -> dict[str, LinkState]:
    return {f"{link.source} -> {link.end}": link.state for link in mesh.links}


class TestSurvey:
    def test_before_the_mesh_everything_is_plaintext(self, asked: list[str]) -> None:
        pods = [pod("xnat-xnat-web-0", "xnat-xnat-web", sidecar=False)]
        pods += [pod("xnat-postgresql-0", "xnat-postgresql", sidecar=False)]

        mesh = survey(FakeCluster(NAMESPACES[0], *pods, *SERVICES, istio_kinds=False))

        assert set(states(mesh).values()) == {LinkState.PLAINTEXT}
        assert not mesh.istio.exists
        assert asked == ["GET", "HEAD", "POST", "DELETE"]

    @pytest.mark.usefixtures("asked")
    def test_strict_with_the_exception_lets_outsiders_reach_the_web_port_only(self) -> None:
        exception = thing(
            "PeerAuthentication",
            "default",
            "xnat",
            spec={
                "selector": {"matchLabels": {"app": "xnat-web"}},
                "mtls": {"mode": "STRICT"},
                "portLevelMtls": {"8080": {"mode": "DISABLE"}},
            },
        )

        mesh = survey(FakeCluster(*NAMESPACES, *MESHED, istiod(), *SERVICES, STRICT, exception))

        assert states(mesh) == {
            "load balancer -> xnat-xnat-web:8080": LinkState.PLAINTEXT,
            "xnat-xnat-web -> xnat-postgresql:5432": LinkState.MUTUAL_TLS,
            "caller without a sidecar -> xnat-xnat-web:8080": LinkState.PLAINTEXT,
            "caller without a sidecar -> xnat-postgresql:5432": LinkState.REFUSED,
            "istiod -> xnat": LinkState.CONFIGURES,
        }
        assert mesh.application.injects
        assert mesh.application.policies == (
            "PeerAuthentication default: STRICT, port 8080 DISABLE",
        )
        assert mesh.istio.policies == ("PeerAuthentication default: STRICT",)

    @pytest.mark.usefixtures("asked")
    @pytest.mark.parametrize(
        ("web", "database", "calls", "outsiders"),
        [
            ({}, {}, LinkState.MUTUAL_TLS, LinkState.REFUSED),
            # No policy holds past the sidecar; who speaks mutual TLS there is not understood.
            ({}, {"excludeInboundPorts": "5432"}, LinkState.REFUSED, LinkState.PLAINTEXT),
            ({"excludeOutboundPorts": "5432"}, {}, LinkState.REFUSED, LinkState.REFUSED),
            (
                {"excludeOutboundPorts": "5432"},
                {"excludeInboundPorts": "5432"},
                LinkState.PLAINTEXT,
                LinkState.PLAINTEXT,
            ),
        ],
    )
    def test_connections_past_a_sidecar_are_told_from_those_through_it(
        self,
        web: dict[str, str],
        database: dict[str, str],
        calls: LinkState,
        outsiders: LinkState,
    ) -> None:
        pods = copy.deepcopy(MESHED)
        for each, said in zip(pods, (web, database), strict=True):
            each["metadata"]["annotations"] = {
                f"traffic.sidecar.istio.io/{key}": value for key, value in said.items()
            }

        found = states(survey(FakeCluster(*NAMESPACES, *pods, *SERVICES, STRICT)))

        assert found["xnat-xnat-web -> xnat-postgresql:5432"] is calls
        assert found["caller without a sidecar -> xnat-postgresql:5432"] is outsiders

    @pytest.mark.usefixtures("asked")
    def test_the_web_workload_is_said_to_go_by_the_rule_that_holds(self) -> None:
        def rule(name: str, host: str, mode: str) -> Object:
            spec = {"host": host, "trafficPolicy": {"tls": {"mode": mode}}}
            return thing("DestinationRule", name, "xnat", spec=spec)

        wide = rule("wide", "*.local", "DISABLE")
        exact = rule("exact", "xnat-postgresql", "ISTIO_MUTUAL")

        found = states(survey(FakeCluster(*NAMESPACES, *MESHED, *SERVICES, STRICT, wide, exact)))

        assert found["xnat-xnat-web -> xnat-postgresql:5432"] is LinkState.MUTUAL_TLS

    @pytest.mark.usefixtures("asked")
    def test_a_policy_in_dry_run_is_listed_as_such(self) -> None:
        policy = thing("AuthorizationPolicy", "xnat-all", "xnat")
        policy["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
        policy["spec"] = {"rules": [{"to": [{"operation": {"methods": ["GET", "HEAD"]}}]}]}

        mesh = survey(FakeCluster(*NAMESPACES, *MESHED, *SERVICES, policy))

        assert mesh.application.policies == (
            "AuthorizationPolicy xnat-all: ALLOW GET, HEAD (dry run)",
        )

    @pytest.mark.usefixtures("asked")
    def test_workloads_have_roles_and_are_listed_even_without_pods(self) -> None:
        backup = pod("backup-x", "backup")
        ended = pod("backup-y", "backup", phase="Succeeded")

        mesh = survey(FakeCluster(*NAMESPACES, istiod(), backup, ended))

        assert [(w.name, w.role, len(w.pods)) for w in mesh.application.workloads] == [
            ("xnat-xnat-web", Role.WEB, 0),
            ("xnat-postgresql", Role.DEPENDENCY, 0),
            ("backup", Role.OTHER, 1),
        ]
        assert [(w.kind, w.name, w.role) for w in mesh.istio.workloads] == [
            ("Deployment", "istiod", Role.CONTROL_PLANE)
        ]

    @pytest.mark.usefixtures("asked")
    def test_pods_that_are_not_ready_come_first(self) -> None:
        slow = pod("xnat-xnat-web-1", "xnat-xnat-web", conditions=[])

        web = survey(FakeCluster(*NAMESPACES, *MESHED, slow)).application.workloads[0]

        assert [view.name for view in web.pods] == ["xnat-xnat-web-1", "xnat-xnat-web-0"]

    @pytest.mark.usefixtures("asked")
    def test_only_some_pods_with_sidecars_leave_the_link_unknown(self) -> None:
        rest = pod("xnat-xnat-web-1", "xnat-xnat-web", sidecar=False)

        mesh = survey(FakeCluster(*NAMESPACES, *MESHED, rest, *SERVICES))

        assert states(mesh)["xnat-xnat-web -> xnat-postgresql:5432"] is LinkState.UNKNOWN

    @pytest.mark.usefixtures("asked")
    def test_no_link_is_drawn_to_what_has_no_service(self) -> None:
        mesh = survey(FakeCluster(*NAMESPACES, *MESHED))

        assert not any(link.target == "xnat-postgresql" for link in mesh.links)


class TestPodView:
    def test_the_sidecars_own_readiness_counts(self) -> None:
        statuses = [{"name": "w", "ready": True}, {"name": "istio-proxy", "ready": False}]

        view = mesh_survey.pod_view(pod("w-0", "w", containerStatuses=statuses, conditions=[]))

        assert (view.ready, view.sidecar) == ("1/2", Sidecar.NOT_READY)
        assert "istio-proxy" in view.problem

    def test_a_pod_on_its_way_out_is_not_ready(self) -> None:
        leaving = pod("w-0", "w")
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

        assert mesh_survey.pod_view(leaving).problem == "terminating"


def test_a_pod_without_a_controller_is_its_own_workload() -> None:
    alone = pod("alone", "x")
    del alone["metadata"]["ownerReferences"]

    assert pods.workload_of(alone) == ("Pod", "alone")


@pytest.mark.parametrize(
    ("found", "port", "http"),
    [
        (service("w", 80, 8080, "http"), 8080, True),
        (service("w", 80, "web", "http-alt"), 9090, True),
        (service("w", 80, "other", "tcp-x"), None, False),
        (service("w", 5432, 5432), 5432, False),
    ],
)
def test_the_containers_port_is_found_behind_a_service(
    found: Object, port: int | None, http: bool
) -> None:
    container = {"name": "w", "ports": [{"name": "web", "containerPort": 9090}]}

    seen = ends.service_port(found, {"spec": {"containers": [container]}})

    assert seen == (port, http)
