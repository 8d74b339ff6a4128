from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException

from runbook_lib.base.errors import ClusterRefused, ClusterUnreachable
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.connection import Kubeconfig, api_errors, clock, describe, is_loopback
from tests.outages import api

WHERE = (Kubeconfig.of(Path("/k")), "prod", "get Pod xnat/web-0")


def answer(status: int, reason: str, message: str) -> ApiException:
    body = json.dumps({"kind": "Status", "reason": reason, "message": message})
    return ApiException(status=status, reason="HTTP reason", body=body)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://127.0.0.1:6443", True),
        ("http://127.104.1.6:8080/", True),
        ("https://[::1]:6443", True),
        ("http://localhost", True),
        ("https://10.0.0.1", False),
        ("https://localhost.example.com", False),
        ("not a url", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_the_servers_own_words_are_used() -> None:
    error = answer(403, "Forbidden", "cannot list pods")
    assert describe(error) == (403, "Forbidden", "cannot list pods")


@pytest.mark.parametrize("body", [None, "", "<html>", '"text"', "[]"])
def test_an_answer_that_is_no_status_still_has_a_reason(body: str | None) -> None:
    assert describe(ApiException(status=502, reason="Bad Gateway", body=body)) == (
        502,
        "Bad Gateway",
        "Bad Gateway",
    )


@pytest.mark.parametrize(
    ("status", "reason", "message", "remedy"),
    [
        (403, "Forbidden", "cannot patch namespaces", "kubectl auth can-i"),
        (404, "NotFound", 'namespaces "xnat" not found', "create what is missing"),
        (500, "InternalError", "failed calling webhook x: no endpoints", "ready pods"),
        (400, "BadRequest", 'admission webhook "x" denied the request: no', "a webhook decides"),
        (429, "TooManyRequests", "slow down", "run again"),
        (422, "Invalid", "spec.x: Required value", "correct the object"),
    ],
)
def test_a_refusal_names_what_was_done_and_a_remedy_for_its_cause(
    status: int, reason: str, message: str, remedy: str
) -> None:
    with pytest.raises(ClusterRefused) as caught, api_errors(*WHERE):
        raise answer(status, reason, message)
    assert caught.value.cause == f"get Pod xnat/web-0: {status} {reason}: {message}"
    assert remedy in caught.value.remedy
    assert (caught.value.status, caught.value.reason) == (status, reason)


@pytest.mark.parametrize(
    "error",
    [
        ApiException(status=0, reason="SSLError\ncertificate verify failed"),
        answer(401, "Unauthorized", "Unauthorized"),
        urllib3.exceptions.ReadTimeoutError(None, "", "read timed out"),  # type: ignore[arg-type]
        ConnectionResetError("reset by peer"),
    ],
    ids=["tls", "unauthorized", "timeout", "reset"],
)
def test_no_use_of_the_api_server_is_unreachable_with_a_command_to_check(error: Exception) -> None:
    with pytest.raises(ClusterUnreachable) as caught, api_errors(*WHERE):
        raise error
    assert "get Pod xnat/web-0" in caught.value.cause
    assert "kubectl --kubeconfig /k --context prod get --raw /readyz" in caught.value.remedy


def test_where_credentials_are_refused_a_clock_that_is_wrong_is_named() -> None:
    refused = answer(401, "Unauthorized", "Unauthorized")
    refused.headers = {"Date": "Fri, 02 Jan 2026 03:04:05 GMT"}
    with pytest.raises(ClusterUnreachable) as caught, api_errors(*WHERE):
        raise refused
    assert "this machine's clock is " in caught.value.cause
    assert "ahead of the API server's" in caught.value.cause
    assert caught.value.remedy.startswith("set this machine's clock")


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 2026 03:04:05 GMT"])
def test_a_date_that_is_none_says_nothing_of_clocks(date: str) -> None:
    assert clock.time_in({"Date": date}) is None
    assert clock.time_in(None) is None


@pytest.mark.parametrize(("age", "named"), [(timedelta(), False), (timedelta(days=400), True)])
def test_a_certificate_that_has_expired_by_a_wrong_clock_has_the_clock_named(
    tmp_path: Path, age: timedelta, named: bool
) -> None:
    """A server whose certificate ended a day ago, and whose clock may say that it has not."""
    now = datetime.now(UTC)
    with (
        api.dated(now - age, valid_until=now - timedelta(days=1), folder=tmp_path) as path,
        pytest.raises(ClusterUnreachable, match="certificate has expired") as caught,
    ):
        Cluster(Kubeconfig.of(path), "c").uid()
    assert ("this machine's clock is 400 d ahead of" in caught.value.cause) is named


def test_the_innermost_cause_is_shown() -> None:
    inner = urllib3.exceptions.NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]
    outer = urllib3.exceptions.MaxRetryError(None, "/api", inner)  # type: ignore[arg-type]
    with pytest.raises(ClusterUnreachable, match="refused") as caught, api_errors(*WHERE):
        raise outer
    assert "Max retries" not in caught.value.cause


def test_defects_are_not_dressed_up_as_cluster_errors() -> None:
    with pytest.raises(KeyError), api_errors(*WHERE):
        raise KeyError("defect")
