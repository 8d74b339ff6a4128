"""Preflight asks for each right, and says what is missing, for which step, and how to grant it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib.base import ClusterRefused
from runbook_lib.chapters.shared.rights import AccountRole, Right, missing
from runbook_lib.cluster import Cluster, accounts
from runbook_lib.cluster.accounts import Access
from runbook_lib.lifecycle import Finding

POLICIES = Right(
    ("peerauthentications",),
    ("create", "patch"),
    "security.istio.io",
    "xnat",
    ("default", "other"),
    ("mutual-tls-strict",),
)
CLUSTER = Cluster(Path("nowhere"), "nobody")


def found(
    right: Right, monkeypatch: pytest.MonkeyPatch, may: Callable[[Access], bool]
) -> tuple[list[Finding], set[Access]]:
    """What is said of a right, and what was asked."""
    asked: set[Access] = set()

    def answer(_cluster: Cluster, access: Access) -> bool:
        asked.add(access)
        return may(access)

    monkeypatch.setattr(accounts, "may_i", answer)
    role = AccountRole("04_mutual_tls", (right,))
    return [finding for _, finding in missing(CLUSTER, role)], asked


def test_a_right_that_is_missing_is_named_with_its_step_and_with_what_grants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (finding,), _ = found(
        POLICIES, monkeypatch, lambda access: access.verb == "create" and access.name == "default"
    )
    assert finding.refuses
    assert finding.text == (
        "Right of 04_mutual_tls: this account may not create, patch "
        "peerauthentications.security.istio.io named default, other in namespace xnat; "
        "mutual-tls-strict would end with 403 half-way"
    )
    assert "runbook_lib rights --role 04_mutual_tls --parameters FILE | kubectl" in finding.remedy
    assert finding.remedy.endswith(
        "kubectl auth can-i create peerauthentications.security.istio.io/other --namespace=xnat"
    )


def test_what_is_allowed_for_all_names_is_not_asked_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings, asked = found(POLICIES, monkeypatch, lambda _: True)
    assert findings == []
    assert {access.name for access in asked} == {""}


def test_a_part_of_a_pod_is_asked_for_as_kubectl_does(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,), _ = found(Right(("pods/log",), ("get",)), monkeypatch, lambda _: False)
    assert "may not get pods/log in the whole cluster; every step" in finding.text
    assert finding.remedy.endswith("can-i get pods --subresource=log --all-namespaces")


def test_where_the_api_server_does_not_say_that_is_said_and_nothing_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: Access) -> bool:
        raise ClusterRefused("ask: 500", "ask its owner", status=500, reason="InternalError")

    (finding,), _ = found(POLICIES, monkeypatch, broken)
    assert not finding.refuses
    assert "cannot tell whether this account has it: ask: 500" in finding.text
