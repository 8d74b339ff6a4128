"""Kiali's API, against a server that answers as Kiali's handlers do."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from runbook_lib.base import redact
from runbook_lib.chapters.kiali.client import Kiali, KialiAnswer, Validation

SESSION = "c2Vzc2lvbi1vZi1raWFsaQ=="
CHECK = {"code": "KIA0207", "message": "DestinationRule not found", "severity": "error"}
ANSWERS: dict[str, Any] = {
    "/kiali/api/istio/status": [{"name": "istiod", "status": "Healthy", "is_core": True}],
    "/kiali/api/mesh/tls": {"status": "MTLS_ENABLED"},
    "/kiali/api/mesh/tls?revision=canary": {"status": "MTLS_NOT_ENABLED"},
    "/kiali/api/namespaces": [{"name": "xnat"}, {"name": "default"}],
    "/kiali/api/namespaces/xnat/istio?validate=true": {
        "validations": {
            "peerauthentication": {
                "default.xnat": {"name": "default", "valid": False, "checks": [CHECK]},
                "fine.xnat": {"name": "fine", "valid": True, "checks": []},
            }
        }
    },
    "/kiali/api/namespaces/none/istio?validate=true": {"validations": None},
}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the server calls it so
        if self.path == "/kiali/healthz":
            self._answer(200, "")
        elif SESSION not in self.headers.get("Cookie", ""):
            self._answer(401, "Unauthorized")
        elif self.path in ANSWERS:
            self._answer(200, json.dumps(ANSWERS[self.path]))
        else:
            self._answer(500, json.dumps({"error": "no such thing", "detail": "at all"}))

    def do_POST(self) -> None:  # the server calls it so
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form.get("token") != ["right"]:
            self._answer(401, json.dumps({"error": "token is not valid or is expired"}))
            return
        cookie = f"kiali-token-Kubernetes={SESSION}; Path=/kiali; HttpOnly; Secure; SameSite=Strict"
        self._answer(200, "{}", {"Set-Cookie": cookie})

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def kiali() -> Iterator[Kiali]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Kiali(f"http://127.0.0.1:{server.server_port}", "/kiali", timeout=5)
        server.shutdown()
        thread.join()


def test_nobody_is_let_in_without_the_right_token(kiali: Kiali) -> None:
    kiali.healthy()
    assert kiali.status_without_session() == 401
    assert kiali.log_in("wrong") == 401
    with pytest.raises(KialiAnswer, match="/api/namespaces answers 401"):
        kiali.namespaces()


def test_a_session_holds_although_its_cookie_is_for_https_only(kiali: Kiali) -> None:
    assert kiali.log_in("right") == 200
    assert kiali.namespaces() == ["default", "xnat"]
    assert kiali.components() == {"istiod": "Healthy"}


def test_a_session_is_a_secret(kiali: Kiali) -> None:
    kiali.log_in("right")
    assert SESSION not in redact.redact(f"Cookie: {SESSION}")


def test_a_session_is_not_sent_where_none_shall_be(kiali: Kiali) -> None:
    kiali.log_in("right")
    assert kiali.status_without_session() == 401


def test_the_meshs_mutual_tls_is_asked_for_by_revision(kiali: Kiali) -> None:
    kiali.log_in("right")
    assert kiali.mesh_tls("default") == "MTLS_ENABLED"
    assert kiali.mesh_tls("canary") == "MTLS_NOT_ENABLED"


def test_findings_name_object_code_and_message(kiali: Kiali) -> None:
    kiali.log_in("right")
    found = kiali.findings("xnat")
    assert found == [Validation("default", "error", "KIA0207", "DestinationRule not found")]
    assert kiali.findings("none") == []


def test_an_error_has_kialis_own_words(kiali: Kiali) -> None:
    kiali.log_in("right")
    with pytest.raises(KialiAnswer, match="answers 500: no such thing at all"):
        kiali.findings("nowhere")


def test_nobody_there_is_an_answer_too() -> None:
    with pytest.raises(KialiAnswer, match=r"no answer \(ConnectError\)"):
        Kiali("http://127.0.0.1:1", "/kiali", timeout=1).healthy()
