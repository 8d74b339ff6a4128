"""A plan's digest identifies exactly what was shown, on exactly one cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook_lib.cluster.differences.diff import object_diff
from runbook_lib.lifecycle.interruption import Client, Interruption, Loss
from runbook_lib.lifecycle.plan import Change, Plan

AWAY = Interruption((Client.DEVICE,), Loss.EVERYTHING, "no answer", "it is away", 30)
STRICT = Change.of_text("PeerAuthentication a/b", "create", "+mode: STRICT")
PLAN = Plan("strict", "uid-1", (STRICT,))


def test_equal_plans_have_equal_digests() -> None:
    assert Plan("strict", "uid-1", (STRICT,)).digest == PLAN.digest


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAN, target_uid="uid-2"),
        replace(PLAN, step="exception"),
        replace(PLAN, changes=()),
        replace(PLAN, changes=(STRICT, STRICT)),
        replace(PLAN, changes=(replace(STRICT, action="change"),)),
        replace(PLAN, changes=(replace(STRICT, ref="PeerAuthentication a/c"),)),
        replace(PLAN, changes=(replace(STRICT, digest="other"),)),
        replace(PLAN, unpredictable=("something",)),
        replace(PLAN, interruptions=(AWAY,)),
    ],
)
def test_any_difference_changes_the_digest(other: Plan) -> None:
    assert other.digest != PLAN.digest


def test_a_note_is_no_part_of_what_is_approved() -> None:
    assert replace(PLAN, note="by the way").digest == PLAN.digest


def test_the_order_of_changes_matters() -> None:
    other = Change.of_text("Namespace c", "create", "+kind: Namespace")
    there, back = (replace(PLAN, changes=pair) for pair in ((STRICT, other), (other, STRICT)))
    assert there.digest != back.digest


def test_changes_of_a_secret_that_look_the_same_differ() -> None:
    def secret(value: str) -> dict[str, object]:
        return {"kind": "Secret", "metadata": {"name": "s"}, "data": {"password": value}}

    first, second = (Change.of_object(object_diff(None, secret(v))) for v in ("bm8=", "eWVz"))
    assert first.text == second.text
    assert first.digest != second.digest


def test_what_runs_and_is_removed_is_approved_and_does_not_last() -> None:
    job = Change.of_text("Job a/b", "run", "+kind: Job")
    plan = replace(PLAN, changes=(STRICT, job))
    assert not plan.empty
    assert plan.lasting == (STRICT,)
    assert replace(PLAN, changes=(job,)).lasting == ()
    assert replace(PLAN, changes=(job,)).digest != replace(PLAN, changes=()).digest


def test_no_change_is_not_a_change() -> None:
    same = {"kind": "Namespace", "metadata": {"name": "xnat"}}
    with pytest.raises(ValueError, match="Namespace xnat does not change"):
        Change.of_object(object_diff(same, same))


def test_an_empty_plan_says_so_and_why() -> None:
    plan = Plan("strict", "uid-1", note="A later stage is in force.")
    assert plan.empty
    assert str(plan) == "Nothing to change. A later stage is in force."


def test_the_text_shows_every_change_and_what_is_unknown() -> None:
    text = str(replace(PLAN, unpredictable=("the server's defaults",)))
    assert "create PeerAuthentication a/b\n  +mode: STRICT" in text
    assert "cannot be predicted: the server's defaults" in text
    assert PLAN.summary == "create PeerAuthentication a/b"


def test_an_estimate_that_is_made_anew_does_not_void_an_approval() -> None:
    first, second = (
        replace(PLAN, interruptions=(replace(AWAY, seconds=seconds),)) for seconds in (30, 31)
    )
    assert first.digest == second.digest
    assert "imaging devices: no answer, up to 30 s (it is away)" in str(first)
