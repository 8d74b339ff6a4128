"""What is to come of a call from pod to pod follows from both ends and the policies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runbook_lib.mesh.callers import Answer, Asker, Endpoint, Outcome, Question, Speaks, expected
from runbook_lib.mesh.callers.model import speaks
from runbook_lib.mesh.links import End
from runbook_lib.mesh.policy import AUTOMATIC
from runbook_lib.mesh.traffic import Policies

WEB = End("web", sidecars=True, port=8080, http=True, mode="DISABLE", mode_for_all="STRICT")
BOTH = replace(WEB, mode="PERMISSIVE")
DATABASE = End("db", sidecars=True, port=5432, mode="STRICT", mode_for_all="STRICT")
MESHED, BARE = Asker("xnat"), Asker("xnat", sidecar=False)


def to(end: End) -> Endpoint:
    return Endpoint(end, end.name, f"{end.name}.xnat.svc.cluster.local", 80, Speaks.HTTP)


def allowing(end: End, *rules: dict[str, Any]) -> End:
    policy = {
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "xnat"},
        "spec": {"rules": list(rules)},
    }
    return replace(end, policies=Policies(authorization_policies=(policy,)))


GET = {"to": [{"operation": {"methods": ["GET"]}}]}
POST_BY_IMAGING = {
    "from": [{"source": {"namespaces": ["imaging"]}}],
    "to": [{"operation": {"methods": ["POST"]}}],
}
GUARDED = allowing(BOTH, GET, POST_BY_IMAGING)


@pytest.mark.parametrize(
    ("caller", "end", "sends", "method", "said"),
    [
        (MESHED, WEB, AUTOMATIC, "GET", "answered, plaintext"),
        (MESHED, WEB, "DISABLE", "GET", "answered, plaintext"),
        (MESHED, WEB, "ISTIO_MUTUAL", "GET", "closed"),
        (BARE, WEB, "ISTIO_MUTUAL", "GET", "answered, plaintext"),
        (MESHED, BOTH, "ISTIO_MUTUAL", "GET", "answered, mutual TLS"),
        (BARE, BOTH, "ISTIO_MUTUAL", "GET", "answered, plaintext"),
        (MESHED, DATABASE, AUTOMATIC, "", "answered, mutual TLS"),
        (BARE, DATABASE, AUTOMATIC, "", "closed"),
        (MESHED, GUARDED, AUTOMATIC, "GET", "answered, mutual TLS"),
        (MESHED, GUARDED, AUTOMATIC, "DELETE", "denied"),
        (MESHED, GUARDED, AUTOMATIC, "POST", "denied"),
        (Asker("imaging"), GUARDED, AUTOMATIC, "POST", "answered, mutual TLS"),
        # Plaintext carries no identity, whoever sends it.
        (Asker("imaging"), GUARDED, "DISABLE", "POST", "denied"),
        (replace(Asker("imaging"), sidecar=False), GUARDED, AUTOMATIC, "POST", "denied"),
        # What no policy about methods lets in is closed where it is no HTTP.
        (MESHED, allowing(DATABASE, GET), AUTOMATIC, "", "closed"),
        (MESHED, WEB, "SIMPLE", "GET", "cannot be derived"),
    ],
)
def test_what_is_to_come_of_a_call(
    caller: Asker, end: End, sends: str, method: str, said: str
) -> None:
    question = Question(caller, to(end), method, "/" if method else "")
    assert expected(question, sends).text == said


@pytest.mark.parametrize(
    ("answer", "met"),
    [
        (Answer(Outcome.ANSWERED, "200", mutual_tls=True), True),
        (Answer(Outcome.ANSWERED, "200", mutual_tls=None), True),
        # It got in, and not as it should.
        (Answer(Outcome.ANSWERED, "200", mutual_tls=False), False),
        (Answer(Outcome.DENIED, "403"), False),
        (Answer(Outcome.CLOSED, "closed"), False),
        # Silence proves nothing, whatever was expected.
        (Answer(Outcome.SILENT, "no answer"), None),
    ],
)
def test_an_answer_is_as_expected_or_not_or_proves_nothing(
    answer: Answer, met: bool | None
) -> None:
    question = Question(MESHED, to(BOTH), "GET", "/")
    assert expected(question, "ISTIO_MUTUAL").met(answer) is met


def test_silence_is_no_proof_that_a_connection_is_closed() -> None:
    closed = expected(Question(BARE, to(DATABASE)), AUTOMATIC)
    assert closed.met(Answer(Outcome.CLOSED, "closed")) is True
    assert closed.met(Answer(Outcome.SILENT, "no answer")) is None


@pytest.mark.parametrize(
    ("port", "http", "said"),
    [
        ({"port": 80, "name": "http"}, True, Speaks.HTTP),
        ({"port": 5432}, False, Speaks.POSTGRESQL),
        ({"port": 6432, "name": "tcp-postgresql"}, False, Speaks.POSTGRESQL),
        ({"port": 6432, "appProtocol": "postgres"}, False, Speaks.POSTGRESQL),
        ({"port": 6379, "name": "redis"}, False, None),
    ],
)
def test_what_a_server_can_be_asked_in(port: dict[str, Any], http: bool, said: Any) -> None:
    assert speaks(port, http=http) is said
