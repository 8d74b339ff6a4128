"""The safe story: the same final state, without an answer that users should not see."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lifecycle import Table
from tests.chapters import changed, parameters_for, take_chapter
from tests.labs import Lab
from tests.notebooks.headless import Run, run, start

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(600),
]

PROJECT, SUBJECT, SESSION = "Confidential", "Lovelace-Ada", "5E55104C00C1E"
"""What clients send, and what nothing of the runbook's may show."""

CHAPTERS = ("04_mutual_tls", "05_authorization")
READ = "authorization-dry-run-read"
WEB = "xnat-xnat-web-0"
NAMED = """
authorization:
  refuse:
    - {method: PUT, path: /data/projects/*}
    - {method: DELETE, path: /data/JSESSION}
"""
POLICIES = "peerauthentications,authorizationpolicies,destinationrules"


@contextmanager
def visitor(lab: Lab) -> Iterator[list[str]]:
    """Somebody who keeps using the site, each time over a new connection."""
    answers: list[str] = []
    leaving = threading.Event()

    def visit() -> None:
        while not leaving.wait(0.03):
            for method in ("GET", "HEAD", "POST"):
                try:
                    answers.append(f"{method} {lab.request(method).status_code}")
                except httpx.HTTPError as error:
                    answers.append(f"{method} {error!r}")

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield answers
    finally:
        leaving.set()
        thread.join()


@contextmanager
def clients(lab: Lab) -> Iterator[None]:
    """Programs that use XNAT's REST interface, five times a second, with names and a cookie."""
    leaving = threading.Event()
    path = f"{lab.state.url}/data/projects/{PROJECT}/subjects/{SUBJECT}?label={SUBJECT}"
    cookie = {"Cookie": f"JSESSIONID={SESSION}"}

    def work() -> None:
        while not leaving.wait(0.2):
            for method, url in (("PUT", path), ("DELETE", f"{lab.state.url}/data/JSESSION")):
                with suppress(httpx.HTTPError):
                    httpx.request(method, url, headers=cookie, timeout=10, trust_env=False)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join()


def shown(done: Run, step: str) -> Table:
    """The first table that proved a step."""
    verified = done.record.step("05_authorization", step).verified
    assert verified is not None, done.output
    return verified.tables[0]


def access_logs(lab: Lab) -> str:
    return lab.run("kubectl", "-n", "xnat", "get", "envoyfilters", "-o", "name")


def delete_policies(lab: Lab) -> None:
    for namespace in ("xnat", "istio-system"):
        lab.run("kubectl", "--namespace", namespace, "delete", POLICIES, "--all")
    assert policies(lab) == []


def policies(lab: Lab) -> list[dict[str, Any]]:
    """The policies of all namespaces, without what the cluster writes by itself."""
    found = json.loads(lab.run("kubectl", "get", POLICIES, "--all-namespaces", "-o", "json"))
    return [
        {
            "kind": item["kind"],
            "name": (item["metadata"]["namespace"], item["metadata"]["name"]),
            "annotations": item["metadata"].get("annotations"),
            "spec": item["spec"],
        }
        for item in found["items"]
        if item["metadata"]["namespace"] in ("istio-system", "xnat")
    ]


def test_the_safe_story_ends_as_the_documented_one_and_nobody_notices(
    mesh: Lab, tmp_path: Path
) -> None:
    (tmp_path / "safe.yaml").write_text("target: {kind: lab}\nstory: safe\n")
    chapters = [option for chapter in CHAPTERS for option in ("--only", chapter)]
    with visitor(mesh) as answers:
        done = run(mesh, tmp_path / "s", "-f", str(tmp_path / "safe.yaml"), *chapters)
    assert done.code == 0, done.output
    assert list(done.changed) == [
        "mutual-tls-exception",
        "mutual-tls-strict",
        "authorization-destination-rule",
        "authorization-dry-run",
        "authorization-methods",
    ]
    read = shown(done, READ)
    assert {row.cells[0] for row in read.rows} == {"GET", "HEAD", "POST"}
    assert {row.cells[3] for row in read.rows} == {"allowed"}
    assert len(answers) > 30
    assert set(answers) == {"GET 200", "HEAD 200", "POST 200"}
    safe = policies(mesh)
    assert len(safe) == 4

    for chapter in CHAPTERS:
        again = parameters_for(mesh, story="safe")
        assert changed(take_chapter(again, chapter, tmp_path / f"again-{chapter}")) == []

    delete_policies(mesh)
    for chapter in CHAPTERS:
        take_chapter(parameters_for(mesh), chapter, tmp_path / chapter)
    assert policies(mesh) == safe


def test_a_policy_that_would_lock_clients_out_is_not_enforced_unless_they_are_named(
    mesh: Lab, tmp_path: Path
) -> None:
    """Also after a run was killed while it read: what has sidecars log is gone with the next."""
    delete_policies(mesh)
    (tmp_path / "safe.yaml").write_text("target: {kind: lab}\nstory: safe\n")
    safe = ("-f", str(tmp_path / "safe.yaml"), "--notebook", CHAPTERS[1])
    before = access_logs(mesh)
    with clients(mesh):
        with (tmp_path / "killed.log").open("w") as log:
            killed = start(mesh, tmp_path / "k", log, *safe, "--set", "authorization.observe=600")

            def observe() -> State:
                return State(access_logs(mesh) != before, "", failed=killed.poll() is not None)

            until("the sidecars to be told to log", observe, timeout=120)
            # With its kernel, which would remove it otherwise.
            for each in (*psutil.Process(killed.pid).children(recursive=True), killed):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            killed.wait()
        assert "xnat-all-dry-run" in access_logs(mesh)

        refused = run(mesh, tmp_path / "r", *safe)
        assert access_logs(mesh) == before
        assert refused.outcomes["authorization-methods"] == "refused"
        seen = {row.cells[:2]: row.cells[2:] for row in shown(refused, READ).rows}
        for request in (("PUT", "/data/projects/*/subjects/*"), ("DELETE", "/data/JSESSION")):
            count, decision, named = seen[request]
            assert int(count) > 5
            assert (decision, named) == ("would be refused", "no")
        assert {decision for _, decision, _ in seen.values()} == {"would be refused", "allowed"}
        failed = refused.record.step("05_authorization", "authorization-methods").failed
        assert failed is not None
        assert "authorization.refuse: [{method: " in failed.remedy
        assert "{method: PUT, path: /data/projects/*/subjects/*}" in failed.remedy
        assert "{method: DELETE, path: /data/JSESSION}" in failed.remedy
        (policy,) = (p for p in policies(mesh) if p["kind"] == "AuthorizationPolicy")
        assert policy["annotations"] == {"istio.io/dry-run": "true"}

        with (tmp_path / "safe.yaml").open("a") as parameters:
            parameters.write(NAMED)
        enforced = run(mesh, tmp_path / "e", *safe)
        assert enforced.code == 0, enforced.output
        assert list(enforced.changed) == ["authorization-methods"]
        assert {row.cells[4] for row in shown(enforced, READ).rows} == {"yes", "-"}
        planned = enforced.record.step("05_authorization", "authorization-methods").planned
        assert planned is not None
        assert "PUT /data/projects/*/subjects/*: " in planned.changes[0].text

    assert access_logs(mesh) == before
    lines = mesh.run("kubectl", "-n", "xnat", "logs", WEB, "--container=istio-proxy").splitlines()
    logged = [json.loads(line) for line in lines if "istio-runbook/dry-run" in line]
    assert any(line["own"] for line in logged)
    read = [shown(done, READ) for done in (refused, enforced)]
    counted = sum(int(row.cells[2]) for table in read for row in table.rows)
    assert 0 < counted <= sum(line["own"] is None for line in logged)
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    for name in (PROJECT, SUBJECT, SESSION):
        assert [text for text in ("\n".join(lines), *texts) if name in text] == []
