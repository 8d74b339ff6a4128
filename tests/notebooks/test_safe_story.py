"""The safe story: the same final state, without an answer that users should not see."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.labs import Lab
from tests.notebooks.headless import run

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(600),
]

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
    chapters = ("--notebook", "04_mutual_tls", "--notebook", "05_authorization")
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
    assert len(answers) > 30
    assert set(answers) == {"GET 200", "HEAD 200", "POST 200"}
    safe = policies(mesh)
    assert len(safe) == 4

    again = run(mesh, tmp_path / "s", "-f", str(tmp_path / "safe.yaml"), *chapters)
    assert (again.code, again.changed) == (0, {})

    for namespace in ("xnat", "istio-system"):
        mesh.run("kubectl", "--namespace", namespace, "delete", POLICIES, "--all")
    assert policies(mesh) == []
    documented = run(mesh, tmp_path / "d", *chapters)
    assert documented.code == 0, documented.output
    assert policies(mesh) == safe
