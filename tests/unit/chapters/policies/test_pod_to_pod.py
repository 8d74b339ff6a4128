"""Asking from pod to pod: by whom, and what counts as proved."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.chapters.policies import authorization, mutual_tls
from runbook_lib.chapters.policies.asking import Exchange
from runbook_lib.lifecycle.finding import Refused
from runbook_lib.mesh.callers import Answer, Asker, Endpoint, Expected, Outcome, Question, Speaks
from runbook_lib.mesh.links import End
from tests.unit.doubles.given_cluster import context, pod
from tests.unit.samples import lab_parameters

SERVER = Endpoint(End("web", sidecars=True, port=8080), "web", "web.xnat", 80, Speaks.HTTP)
ASKED = Question(Asker("xnat"), SERVER, "GET", "/")
CLOSED = Expected(Outcome.CLOSED, False, "")


@pytest.mark.parametrize(
    ("exchange", "ok", "settled"),
    [
        (Exchange(ASKED, CLOSED, Answer(Outcome.CLOSED, "")), True, True),
        (Exchange(ASKED, CLOSED, Answer(Outcome.ANSWERED, "200")), False, False),
        # Silence is waited for, and what stays silent is not verified.
        (Exchange(ASKED, CLOSED, Answer(Outcome.SILENT, "")), None, False),
        (Exchange(ASKED, CLOSED), None, False),
        # What the runbook cannot ask or derive is shown, and proves nothing.
        (Exchange(ASKED, None), None, True),
        (Exchange(ASKED, Expected(None, False, ""), Answer(Outcome.ANSWERED, "")), None, True),
    ],
)
def test_what_was_not_asked_never_counts_as_fine(
    exchange: Exchange, ok: bool | None, settled: bool
) -> None:
    assert (exchange.ok, exchange.settled) == (ok, settled)


def test_where_it_is_left_out_nothing_is_made_and_the_verification_says_so(tmp_path: Path) -> None:
    found = context(tmp_path, pod(), application={"ask_from_pods": False})
    for step in (
        mutual_tls.steps(found.parameters)[-1],
        authorization.steps(found.parameters)[-1],
    ):
        assert step.plan(found).empty
        seen = step.verify(found)
        assert seen.ok
        assert "ask_from_pods is false" in seen.headline


def test_before_there_are_sidecars_a_plan_says_what_will_be_made(tmp_path: Path) -> None:
    found = context(tmp_path, pod(sidecar=False), mode="plan")
    plan = mutual_tls.steps(found.parameters)[-1].plan(found)
    assert plan.summary == (
        "run Job xnat/istio-runbook-caller-as-default, "
        "run Job xnat/istio-runbook-caller-without-sidecar"
    )
    assert plan.lasting == ()


def test_before_there_are_sidecars_nothing_is_in_the_way_of_a_whole_run(tmp_path: Path) -> None:
    found = context(tmp_path, pod(sidecar=False))
    step = mutual_tls.steps(found.parameters)[-1]
    assert list(step.obstacles(found)) == []
    with pytest.raises(Refused, match="none of them has a sidecar"):
        step.plan(found)


def test_a_rule_that_nobody_at_hand_is_outside_of_is_said_to_be_proved_by_half() -> None:
    everywhere = {"methods": ["POST"], "namespaces": ["xnat", "default", "istio-system"]}
    parameters = lab_parameters(
        mutual_tls={"exception_mode": "PERMISSIVE"},
        authorization={"methods": ["GET", "HEAD"], "rules": [everywhere]},
    )
    step = authorization.steps(parameters)[-1]
    (said,) = step.unasked(parameters)  # type: ignore[attr-defined]
    assert said.startswith("That others may not POST is not proved")


@pytest.mark.parametrize(
    ("sources", "allowed", "refused"),
    [
        ({"namespaces": ["imaging"]}, Asker("imaging"), Asker("xnat")),
        ({"namespaces": ["xnat"]}, Asker("xnat"), Asker("default")),
        (
            {"principals": ["cluster.local/ns/xnat/sa/importer"], "namespaces": ["imaging"]},
            Asker("xnat", "importer"),
            Asker("xnat"),
        ),
    ],
)
def test_a_rule_is_proved_by_one_of_its_sources_and_by_somebody_else(
    sources: dict[str, list[str]], allowed: Asker, refused: Asker
) -> None:
    parameters = lab_parameters(
        mutual_tls={"exception_mode": "PERMISSIVE"},
        authorization={"methods": ["GET", "HEAD"], "rules": [{"methods": ["POST"], **sources}]},
    )
    step = authorization.steps(parameters)[-1]
    questions = step.questions(parameters, (SERVER,))  # type: ignore[attr-defined]
    assert [(q.caller, q.method) for q in questions] == [
        (Asker("xnat"), "GET"),
        (Asker("xnat"), "DELETE"),
        (allowed, "POST"),
        (refused, "POST"),
    ]
