"""Istio goes from one version to the next and back, on real control planes, sidecars and a site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib import chapters
from runbook_lib.lifecycle import Verification
from runbook_lib.lifecycle.context import Context
from tests.labs import Lab, take

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(600)]

PODS = ["xnat-postgresql-0", "xnat-xnat-web-0"]


@pytest.fixture(scope="module", autouse=True)
def _installed_by_the_runbook(mesh: Lab) -> None:
    for release in ("istio-base", "istiod"):
        mesh.run(
            *("kubectl", "--namespace", "istio-system", "label", "secret"),
            *("--selector", f"owner=helm,name={release}", "installed-by=istio-runbook"),
        )


@pytest.fixture
def make(mesh: Lab, tmp_path: Path) -> Callable[..., Context]:
    """Contexts for an upgrade to the lab's second version."""
    (newer,) = mesh.state.upgrades

    def made(rollback: str = "06_kiali", **upgrade: str) -> Context:
        return mesh.context(
            tmp_path,
            upgrade={"to": newer, **upgrade},
            rollback={"keep": rollback},
            application={"canary": True},
        )

    return made


def upgrade(context: Context) -> dict[str, Verification]:
    """Take every step of the chapter; what each proved."""
    seen = {}
    for step in chapters.of("08_upgrade", context.parameters):
        _, seen[step.name] = take(context, step.name)
        assert seen[step.name].ok, str(seen[step.name])
    return seen


def take_back(context: Context) -> Verification:
    (step,) = (s for s in chapters.way_back(context.parameters) if s.name == "rollback-upgrade")
    assert list(step.obstacles(context)) == []
    plan = step.plan(context)
    step.apply(context, plan)
    return step.verify(context)


def sidecars(seen: Verification) -> dict[str, tuple[str, str]]:
    """By pod, its sidecar's version and the Deployment of the istiod that it is connected to."""
    (table,) = (each for each in seen.tables if each.title.startswith("Sidecars, as istiod"))
    return {
        pod: (version, istiod.rsplit("-", 2)[0])
        for pod, version, istiod in (row.cells for row in table.rows)
    }


def test_in_place_and_back(mesh: Lab, make: Callable[..., Context]) -> None:
    (newer,), older = mesh.state.upgrades, mesh.state.istio_version
    context = make()
    seen = upgrade(context)
    assert sidecars(seen["upgrade-restart"]) == dict.fromkeys(PODS, (newer, "istiod"))
    assert "had its rights" in str(seen["upgrade-trial"])
    assert all(step.plan(context).empty for step in chapters.of("08_upgrade", context.parameters))
    back = take_back(context)
    assert back.ok, str(back)
    assert sidecars(back) == dict.fromkeys(PODS, (older, "istiod"))
    charts = mesh.run("helm", "--namespace", "istio-system", "list", "--output", "yaml")
    assert f"istiod-{older}" in charts
    assert newer not in charts
