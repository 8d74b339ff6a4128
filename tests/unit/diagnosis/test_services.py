"""The Services in front: those that the Ingresses name, which need not be the parameters' one."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import Object
from runbook_lib.diagnosis import judge
from tests.unit.diagnosis.test_rules import DATABASE, GONE, WEB, changed, healthy, names, service

HEADLESS = f"{WEB}-headless"
NAMED_BY = f"Ingress xnat/site .spec.rules[0].http.paths[0].backend.service.name: {HEADLESS}"


def ingress(**backends: str) -> Object:
    """An Ingress with a rule for each path."""
    paths = [
        {"path": path, "backend": {"service": {"name": name, "port": {"number": 80}}}}
        for path, name in backends.items()
    ]
    return {
        "kind": "Ingress",
        "metadata": {"name": "site", "namespace": "xnat"},
        "spec": {"rules": [{"http": {"paths": paths}}]},
    }


def front(target: int = 8080, app: str = "xnat-web", name: str = HEADLESS) -> Object:
    item = changed(service(WEB, 80, target, "http"), "spec.selector.app", app)
    return changed(item, "metadata.name", name)


def behind_an_ingress(*fronts: Object, **more: Any) -> dict[str, Any]:
    """The web Service is as it should be, and the Ingress leads to another one."""
    services = (service(WEB, 80, 8080, "http"), service(DATABASE, 5432, 5432, "tcp"), *fronts)
    return {"services": services, "ingresses": (ingress(all=HEADLESS),), **GONE, **more}


def test_a_headless_service_behind_the_ingress_is_fine() -> None:
    endpoints = tuple(
        {
            "metadata": {"labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"conditions": {"ready": True}}],
        }
        for name in (WEB, HEADLESS)
    )
    seen = healthy(**behind_an_ingress(front(), endpoints=endpoints, answers=()))
    assert judge(seen) == ()


@pytest.mark.parametrize(
    ("fronts", "cause", "evidence"),
    [
        ([], "service-missing", f"no Service xnat/{HEADLESS}"),
        (
            [front(app="x")],
            "service-selects-nothing",
            f"Service xnat/{HEADLESS} .spec.selector.app: x",
        ),
        (
            [front(target=9090)],
            "target-port-wrong",
            f"Service xnat/{HEADLESS} .spec.ports[0].targetPort: 9090",
        ),
    ],
)
def test_what_is_wrong_with_it_is_the_cause(
    fronts: list[Object], cause: str, evidence: str
) -> None:
    found = judge(healthy(**behind_an_ingress(*fronts)))[0]
    assert found.name == cause
    assert found.evidence[0] == evidence
    assert NAMED_BY in found.evidence


def test_an_ingress_may_lead_to_another_application_too() -> None:
    viewer = front(app=DATABASE.removeprefix("xnat-"), target=5432, name="viewer")
    seen = behind_an_ingress(viewer, ingresses=(ingress(viewer="viewer"),), answers=())
    assert names(judge(healthy(**seen))) == []


def test_without_the_right_to_see_ingresses_the_parameters_service_is_still_judged() -> None:
    seen = healthy(services=(), unseen={"ingresses": "forbidden"}, **GONE)
    assert names(judge(seen))[:1] == ["service-missing"]


def test_a_default_backend_is_a_front() -> None:
    site = ingress()
    site["spec"] = {"defaultBackend": {"service": {"name": HEADLESS, "port": {"number": 80}}}}
    found = judge(healthy(**behind_an_ingress(ingresses=(site,))))[0]
    assert found.evidence[1] == f"Ingress xnat/site .spec.defaultBackend.service.name: {HEADLESS}"
