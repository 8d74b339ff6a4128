"""Findings: what refuses a step, all of it at once, with the way out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook_lib.lifecycle.finding import Finding, Refused, Severity, refusals, require

ISTIOD = Finding(
    "Deployment mesh/istiod",
    "another Istio of the same revision",
    "two control planes take the webhooks from each other",
    "remove it first",
    (".metadata.labels.istio.io/rev: default",),
    parameter="istio.revision",
)
LEAVING = Finding("Namespace xnat", "Terminating", "nothing can be created in it", "wait")


def test_a_note_refuses_nothing() -> None:
    noted = replace(ISTIOD, severity=Severity.NOTE)
    require([noted])
    with pytest.raises(Refused) as refused:
        require([noted, LEAVING])
    assert refused.value.findings == (LEAVING,)


def test_a_refusal_says_what_is_wrong_where_and_both_ways_out() -> None:
    with pytest.raises(Refused) as refused:
        require([ISTIOD])
    assert refused.value.cause == (
        "Deployment mesh/istiod: another Istio of the same revision "
        "(.metadata.labels.istio.io/rev: default); "
        "two control planes take the webhooks from each other"
    )
    assert refused.value.remedy == "remove it first; or set istio.revision"


def test_everything_that_refuses_is_said_at_once_each_with_its_way_out() -> None:
    with pytest.raises(Refused) as refused:
        require([ISTIOD, LEAVING])
    assert refused.value.cause.splitlines() == [
        "2 things are in the way:",
        f"1. {ISTIOD.text}",
        "   → remove it first; or set istio.revision",
        "2. Namespace xnat: Terminating; nothing can be created in it",
        "   → wait",
    ]


def test_what_refuses_an_attempt_can_be_asked_without_an_error() -> None:
    assert refusals(lambda: require([ISTIOD, LEAVING])) == (ISTIOD, LEAVING)
    assert refusals(lambda: require([])) == ()
