"""XNAT in the mesh: shaped as the public chart makes it, and dependent on its database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from runbook_lib.base.wait import State, until
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

DATABASE = "xnat-postgresql.xnat.svc.cluster.local"


@contextmanager
def applied(mesh: Lab, kind: str, namespace: str, spec: dict[str, Any]) -> Iterator[None]:
    """An object of Istio's, for a while."""
    versions = {"PeerAuthentication": "security", "DestinationRule": "networking"}
    item = {
        "apiVersion": f"{versions[kind]}.istio.io/v1",
        "kind": kind,
        "metadata": {"name": "trial", "namespace": namespace},
        "spec": spec,
    }
    mesh.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(item))
    yield
    mesh.run("kubectl", "--namespace", namespace, "delete", kind, "trial")


def log_in(lab: Lab, user: str) -> int:
    """The status that a login gets, on a connection of its own."""
    form = {"username": user, "password": "secret"}
    return httpx.post(f"{lab.state.url}/login", data=form, timeout=10, trust_env=False).status_code


def until_logged_in(lab: Lab, *, works: bool) -> None:
    def observe() -> State:
        status = log_in(lab, "ana")
        return State((status == 302) is works, f"a login is answered with {status}")

    until(f"logins to {'work' if works else 'fail'}", observe, timeout=30, successes=3)


def psql(mesh: Lab, query: str) -> str:
    """Ask the database in its own pod."""
    pod = ("kubectl", "-n", "xnat", "exec", "xnat-postgresql-0", "-c", "postgresql", "--")
    return mesh.run(*pod, "psql", "-h", "127.0.0.1", "-U", "xnat", "-Atc", query).strip()


def test_init_containers_have_run_to_their_end_and_in_order(mesh: Lab) -> None:
    found = json.loads(mesh.run("kubectl", "-n", "xnat", "get", "pod", "xnat-xnat-web-0", "-ojson"))
    states = {each["name"]: each["state"] for each in found["status"]["initContainerStatuses"]}
    assert list(states) == ["istio-init", "istio-proxy", "config", "home"]
    ended = [states[name]["terminated"]["exitCode"] for name in ("istio-init", "config", "home")]
    assert ended == [0, 0, 0]
    logs = ("kubectl", "-n", "xnat", "logs", "xnat-xnat-web-0", "-c", "plugin-logs")
    assert "no plugins" in mesh.run(*logs)


def test_a_login_reaches_the_database_through_both_sidecars(mesh: Lab) -> None:
    """Under STRICT, which takes nothing but mutual TLS; it is lost without, and back with it."""
    strict = {"mtls": {"mode": "STRICT"}}
    selector = {"matchLabels": {"app.kubernetes.io/name": "postgresql"}}
    with applied(mesh, "PeerAuthentication", "xnat", {"selector": selector, **strict}):
        until_logged_in(mesh, works=True)
        assert int(psql(mesh, "SELECT count(*) FROM sessions WHERE username = 'ana'")) >= 3
        plaintext = {"host": DATABASE, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
        with applied(mesh, "DestinationRule", "xnat", plaintext):
            until_logged_in(mesh, works=False)
            assert mesh.request("GET").status_code == 200
        until_logged_in(mesh, works=True)


def test_what_the_database_holds_outlives_its_pod(mesh: Lab) -> None:
    """The next pod mounts the same claim."""
    psql(mesh, "CREATE TABLE kept AS SELECT 42 AS n")
    mesh.run("kubectl", "-n", "xnat", "delete", "pod", "xnat-postgresql-0", "--wait")
    rollout = ("kubectl", "-n", "xnat", "rollout", "status", "statefulset/xnat-postgresql")
    mesh.run(*rollout, "--timeout=60s")
    assert psql(mesh, "SELECT n FROM kept") == "42"
