"""Pods call pods through real sidecars, and the policies are proved by what these are answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lifecycle import record
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.step import Verification
from runbook_lib.mesh import survey
from runbook_lib.mesh.map import Basis, Link, LinkState
from tests.labs import LOGIN_PAGE, Lab, take

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

MESHED, BARE = "in the mesh, xnat/default", "without a sidecar"
IMPORTER = "in the mesh, xnat/xnat-postgresql"
WEB, DATABASE = "xnat-xnat-web:8080", "xnat-postgresql:5432"
GET, POST, DELETE = f"GET {LOGIN_PAGE}", "POST /login", f"DELETE {LOGIN_PAGE}"
DATABASES = "cluster.local/ns/xnat/sa/xnat-postgresql"
DENIED = "403 RBAC: access denied"

SOURCES = {
    "mutual_tls": {"exception_mode": "PERMISSIVE"},
    "authorization": {
        "methods": ["GET", "HEAD"],
        "rules": [
            {"methods": ["POST"], "principals": ["cluster.local/ns/xnat/sa/xnat-postgresql"]}
        ],
    },
}

MakeContext = Callable[..., Context]


@pytest.fixture
def make(mesh: Lab, tmp_path: Path) -> MakeContext:
    """Contexts on the mesh, with some parameters given."""
    return lambda **given: mesh.context(tmp_path, **given)


def answers(seen: Verification) -> dict[tuple[str, ...], str]:
    """What each call was answered: by caller, server and request."""
    return {row.cells[:3]: row.cells[3] for row in seen.tables[-1].rows}


def links(context: Context) -> list[Link]:
    return list(survey.survey(context, record.of(context.journal.path).asked).links)


def test_who_is_let_in_is_asked_and_the_picture_says_so(make: MakeContext, mesh: Lab) -> None:
    context = make()
    for name in ("mutual-tls-strict", "mutual-tls-exception"):
        take(context, name)
    plan, seen = take(context, "mutual-tls-asked")
    assert seen.ok, str(seen)
    assert answers(seen) == {
        (MESHED, WEB, GET): "200, plaintext",
        (MESHED, DATABASE, "PostgreSQL"): "PostgreSQL answers, mutual TLS",
        (BARE, WEB, GET): "200, plaintext",
        (BARE, DATABASE, "PostgreSQL"): "connection closed",
    }
    # Nothing stays of what the plan said would run.
    assert [change.action for change in plan.changes] == ["run", "run"]
    assert "caller" not in mesh.run("kubectl", "--namespace", "xnat", "get", "jobs,pods")
    drawn = {(link.source, link.end): (link.basis, link.state) for link in links(context)}
    assert drawn["xnat-xnat-web", DATABASE] == (Basis.ASKED, LinkState.MUTUAL_TLS)
    assert drawn["caller without a sidecar", DATABASE] == (Basis.ASKED, LinkState.REFUSED)
    take(context, "authorization-destination-rule")
    assert {link.basis for link in links(context)[1:]} == {Basis.DERIVED}


def test_one_source_may_do_what_another_may_not(make: MakeContext) -> None:
    context = make(**SOURCES)
    for name in ("mutual-tls-exception", "authorization-destination-rule", "authorization-methods"):
        assert take(context, name)[1].ok
    _, seen = take(context, "authorization-asked")
    assert seen.ok, str(seen)
    assert answers(seen) == {
        (MESHED, WEB, GET): "200, mutual TLS",
        (MESHED, WEB, DELETE): DENIED,
        (IMPORTER, WEB, POST): "302, mutual TLS",
        (MESHED, WEB, POST): DENIED,
    }


def test_a_rule_for_callers_that_the_server_contradicts_is_found(make: MakeContext) -> None:
    context = make(timeouts={"policy": 20})
    plan, _ = take(context, "mutual-tls-exception")
    (said,) = plan.unpredictable
    assert "they get 503 until notebook 05_authorization changes it" in said
    assert take(context, "authorization-methods")[1].ok
    # The DestinationRule of the test before is still there, and has callers use mutual TLS.
    _, seen = take(context, "authorization-asked")
    assert not seen.ok
    assert answers(seen)[MESHED, WEB, GET].startswith("503, as the server's end closed")


def test_kubernetes_removes_a_caller_that_a_killed_run_has_left(
    make: MakeContext, mesh: Lab
) -> None:
    from runbook_lib.mesh.callers import Asker, job

    context = make()
    (like,) = context.cluster.list("v1", "Pod", "xnat", {"app": "xnat-web"})
    left = job(Asker("xnat", sidecar=False), [], like, seconds=2, revision="default")
    context.cluster.apply(left)

    def observe() -> State:
        found = mesh.run("kubectl", "--namespace", "xnat", "get", "jobs,pods", "--output=name")
        return State("caller" not in found, found)

    until("the caller to be gone", observe, timeout=60, interval=1)
