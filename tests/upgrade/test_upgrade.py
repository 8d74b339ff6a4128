"""Istio goes from one version to the next and back, on real control planes, sidecars and a site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib import chapters
from runbook_lib.lifecycle import Verification
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.finding import Refused
from tests.labs import Lab, take

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(600)]

UNTIL_RESTARTED = ("upgrade-base", "upgrade-istiod", "upgrade-move", "upgrade-restart")

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: tried, namespace: xnat}
spec: {mtls: {mode: STRICT}}
"""
"""Refused where the webhook that checks policies calls an istiod which is gone."""

PODS = ["xnat-postgresql-0", "xnat-xnat-web-0"]


@pytest.fixture(scope="module", autouse=True)
def _installed_by_the_runbook(mesh: Lab) -> None:
    for release in ("istio-base", "istiod"):
        mesh.run(
            *("kubectl", "--namespace", "istio-system", "label", "secret"),
            *("--selector", f"owner=helm,name={release}", "installed-by=istio-runbook"),
        )


@pytest.fixture(scope="module", autouse=True)
def _labelled_by_the_runbook(mesh: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    mesh.run("kubectl", "label", "namespace", "xnat", "istio-injection-")
    take(mesh.context(tmp_path_factory.mktemp("label")), "injection-label")


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


def test_a_canary_moves_over_goes_back_and_in_the_end_stays_alone(
    mesh: Lab, make: Callable[..., Context]
) -> None:
    (newer,), older = mesh.state.upgrades, mesh.state.istio_version
    context = make(strategy="canary", revision="next")
    *_, restart, old = chapters.of("08_upgrade", context.parameters)
    for name in UNTIL_RESTARTED:
        assert take(context, name)[1].ok
    seen = restart.verify(context)
    assert sidecars(seen) == dict.fromkeys(PODS, (newer, "istiod-next"))
    assert context.istioctl.proxies("default") == []
    back = take_back(context)
    assert back.ok, str(back)
    assert sidecars(back) == dict.fromkeys(PODS, (older, "istiod"))
    with pytest.raises(Refused, match="proxies are connected to it"):
        old.plan(context)
    seen_again = upgrade(context)
    assert sidecars(seen_again["upgrade-old"]) == dict.fromkeys(PODS, (newer, "istiod-next"))
    assert all(step.plan(context).empty for step in chapters.of("08_upgrade", context.parameters))
    istiods = mesh.run("kubectl", "--namespace", "istio-system", "get", "deployments", "-o", "name")
    assert istiods.split() == ["deployment.apps/istiod-next"]
    policy = mesh.run("kubectl", "apply", "--dry-run=server", "--filename", "-", stdin=STRICT)
    assert "created (server dry run)" in policy
