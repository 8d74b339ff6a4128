"""What reading the dry run means for enforcing the policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.base.errors import VerificationFailed
from runbook_lib.chapters.policies.observing import ReadDryRun
from runbook_lib.chapters.policies.rollback import authorization_steps
from runbook_lib.cluster import FIELD_MANAGER
from runbook_lib.lifecycle import Change, Context, Plan, Refused
from runbook_lib.mesh.dry_run import Decided, Decision, PodRead, Reading, access_log
from tests.unit.doubles.given_cluster import WEB, context
from tests.unit.samples import lab_parameters

PUT = Decided("PUT", "/data/projects/*", Decision.REFUSED)
DELETE = Decided("DELETE", "/data/JSESSION", Decision.REFUSED)
GET = Decided("GET", "/data/*", Decision.ALLOWED)
PAGE = Decided("GET", "/app/template/*", Decision.ALLOWED)
NAMED = [{"method": "PUT", "path": "/data/*"}, {"method": "DELETE", "path": "/data/JSESSION"}]
ENFORCING = Plan(
    "authorization-methods",
    "uid",
    (Change.of_text("AuthorizationPolicy xnat/xnat-all", "change", "- dry-run"),),
)


def reading(*pods: PodRead, **counts: int) -> Reading:
    """A reading of so many requests of each kind."""
    kinds = {"put": PUT, "delete": DELETE, "get": GET, "page": PAGE}
    found = {kinds[name]: count for name, count in counts.items()}
    return Reading(600, found, 1, pods or (PodRead("web-0", sum(counts.values())),))


def read(given: Context, found: Reading | None) -> ReadDryRun:
    """The step after it has read this."""
    step = ReadDryRun(given.parameters)
    step._reading = found
    return step


@pytest.fixture
def given(tmp_path: Path) -> Context:
    return context(tmp_path, story="safe")


def naming(folder: Path, *refuse: dict[str, str]) -> Context:
    return context(folder, story="safe", authorization={"refuse": list(refuse)})


def test_enforcing_is_refused_while_it_would_refuse_what_is_not_named(given: Context) -> None:
    with pytest.raises(Refused) as caught:
        read(given, reading(get=9, delete=2, put=5)).weighed(given, ENFORCING)
    (finding,) = caught.value.findings
    assert finding.where == "AuthorizationPolicy xnat/xnat-all"
    assert finding.evidence == (
        "PUT /data/projects/*: 5 in 600 s",
        "DELETE /data/JSESSION: 2 in 600 s",
    )
    assert finding.parameter == (
        "authorization.refuse: [{method: PUT, path: /data/projects/*}, "
        "{method: DELETE, path: /data/JSESSION}]"
    )
    assert "authorization.methods" in finding.remedy


def test_what_is_named_is_not_in_the_way_and_the_rest_still_is(tmp_path: Path) -> None:
    given = naming(tmp_path, NAMED[0])
    with pytest.raises(Refused) as caught:
        read(given, reading(delete=2, put=5)).weighed(given, ENFORCING)
    assert caught.value.findings[0].evidence == ("DELETE /data/JSESSION: 2 in 600 s",)


def test_what_people_approve_says_whom_it_refuses(tmp_path: Path) -> None:
    given = naming(tmp_path, *NAMED)
    plans = [
        read(given, reading(get=9, delete=count, put=5)).weighed(given, ENFORCING)
        for count in (2, 3)
    ]
    assert plans[0].changes[0].text == (
        "- dry-run\n\n"
        "In 600 s the dry run would have refused 7 of 16 requests.\n"
        "PUT /data/projects/*: 5 times, as authorization.refuse says\n"
        "DELETE /data/JSESSION: 2 times, as authorization.refuse says"
    )
    assert len({plan.digest for plan in (*plans, ENFORCING)}) == 3


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "who is refused by it. No dry run was read."),
        (reading(), "In 600 s no one but the runbook itself asked for anything"),
    ],
)
def test_what_was_not_seen_is_not_taken_as_fine(
    given: Context, found: Reading | None, said: str
) -> None:
    (unknown,) = read(given, found).weighed(given, ENFORCING).unpredictable
    assert said in unknown


def test_where_nothing_changes_nothing_is_weighed(given: Context) -> None:
    empty = Plan("authorization-methods", "uid")
    assert read(given, reading(put=1)).weighed(given, empty) == empty


def test_it_shows_paths_of_what_would_be_refused_and_methods_of_the_rest(tmp_path: Path) -> None:
    given = naming(tmp_path, NAMED[0])
    decided, pods = read(given, reading(get=9, page=1, delete=2, put=5)).verify(given).tables
    assert [row.cells for row in decided.rows] == [
        ("PUT", "/data/projects/*", "5", "would be refused", "yes"),
        ("DELETE", "/data/JSESSION", "2", "would be refused", "no"),
        ("GET", "any", "10", "allowed", "-"),
    ]
    assert [(row.cells, row.ok) for row in pods.rows] == [(("web-0", "17", "whole"), True)]


def test_a_log_of_which_a_part_is_missing_is_not_verified(given: Context) -> None:
    found = reading(PodRead("web-0", 3), PodRead("web-1", 1, "it ended meanwhile"), get=4)
    with pytest.raises(VerificationFailed, match=r"web-1 +1 +it ended meanwhile +NO") as caught:
        read(given, found).verify(given)
    assert "run this step again" in caught.value.remedy


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"story": "documented"}, "the documented story has no dry run"),
        ({"story": "safe", "authorization": {"observe": 0}}, "authorization.observe is 0"),
        ({"story": "safe"}, "There is no dry run to read"),
    ],
)
def test_without_a_dry_run_nothing_is_planned_and_that_is_said(
    tmp_path: Path, parameters: dict[str, object], said: str
) -> None:
    given = context(tmp_path, **parameters)
    step = ReadDryRun(given.parameters)
    plan = step.plan(given)
    assert plan.empty
    assert said in plan.note
    step.apply(given, plan)
    assert said in step.verify(given).headline


def test_a_log_that_a_killed_run_left_goes_with_the_next_run_and_with_the_rollback(
    tmp_path: Path,
) -> None:
    left = access_log(lab_parameters(), WEB)
    left["metadata"]["managedFields"] = [{"manager": FIELD_MANAGER, "fieldsV1": {}}]
    given = context(tmp_path, left, story="documented")
    (back,) = authorization_steps(given.parameters)
    for plan in (ReadDryRun(given.parameters).plan(given), back.plan_removal(given)):
        assert plan.summary == "delete EnvoyFilter xnat/xnat-all-dry-run"
