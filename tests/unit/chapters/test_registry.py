"""The chapters: which steps they have, in which order, for both stories."""

from __future__ import annotations

import pytest

from runbook_lib import chapters as steps
from runbook_lib.base.errors import ParameterError
from runbook_lib.base.locations import repository_root
from runbook_lib.lifecycle import Revertible, reverting
from runbook_lib.parameters.loading import Parameters
from tests.unit.samples import lab_parameters

DOCUMENTED = lab_parameters(story="documented")
SAFE = lab_parameters(story="safe")


def names(notebook: str, story: str) -> list[str]:
    return [step.name for step in steps.of(notebook, lab_parameters(story=story))]


def test_the_documented_story_breaks_the_site_before_it_heals_it() -> None:
    assert names("04_mutual_tls", "documented") == [
        "mutual-tls-strict",
        "mutual-tls-exception",
        "mutual-tls-asked",
    ]


def test_the_safe_story_opens_the_door_before_it_locks_the_house() -> None:
    assert names("04_mutual_tls", "safe") == [
        "mutual-tls-exception",
        "mutual-tls-strict",
        "mutual-tls-asked",
    ]


def test_the_documented_story_allows_reading_first() -> None:
    assert names("05_authorization", "documented") == [
        "authorization-destination-rule",
        "authorization-read-only",
        "authorization-dry-run-read",
        "authorization-methods",
        "authorization-asked",
    ]


def test_the_safe_story_tries_the_policy_out_first() -> None:
    assert names("05_authorization", "safe") == [
        "authorization-destination-rule",
        "authorization-dry-run",
        "authorization-dry-run-read",
        "authorization-methods",
        "authorization-asked",
    ]


@pytest.mark.parametrize("notebook", steps.CHAPTERS)
def test_both_stories_have_as_many_steps(notebook: str) -> None:
    assert len(steps.of(notebook, DOCUMENTED)) == len(steps.of(notebook, SAFE))


@pytest.mark.parametrize("parameters", [DOCUMENTED, SAFE])
def test_no_two_steps_have_the_same_name(parameters: Parameters) -> None:
    found = [step.name for notebook in steps.CHAPTERS for step in steps.of(notebook, parameters)]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("parameters", [DOCUMENTED, SAFE])
def test_every_step_says_what_a_person_must_know(parameters: Parameters) -> None:
    for notebook in steps.CHAPTERS:
        for step in steps.of(notebook, parameters):
            assert all([step.title, step.why, step.risk, step.undo]), step.name


def test_every_chapter_has_its_notebook_and_every_notebook_its_chapter() -> None:
    notebooks = {path.stem for path in (repository_root() / "notebooks").glob("*.ipynb")}
    assert notebooks == set(steps.CHAPTERS)


def test_chapters_are_told_in_the_order_of_their_ids() -> None:
    assert list(steps.CHAPTERS) == sorted(steps.CHAPTERS)


def test_an_upgrade_and_the_rollback_wait_to_be_named() -> None:
    assert set(steps.CHAPTERS) - set(steps.regular()) == {"08_upgrade", "90_rollback"}


@pytest.mark.parametrize("notebook", steps.CHAPTERS)
def test_a_chapter_that_changes_something_has_a_way_back(notebook: str) -> None:
    chapter = steps.CHAPTERS[notebook]
    changes = bool(chapter.steps(DOCUMENTED)) and notebook != "90_rollback"
    assert bool(chapter.way_back(DOCUMENTED)) is chapter.has_way_back is changes


def test_the_rollback_takes_every_chapter_back_the_last_one_first() -> None:
    found = [step.chapter for step in steps.way_back(DOCUMENTED)[:-1]]
    assert found == sorted(found, reverse=True)
    assert set(found) == {c.id for c in steps.CHAPTERS.values() if c.has_way_back}


@pytest.mark.parametrize("notebook", ["00_start_here", "90_rollback"])
@pytest.mark.parametrize(
    ("rollback", "message"),
    [
        ({"keep": "4_mutual_tls"}, "rollback.keep: there is no chapter 4_mutual_tls to go back to"),
        ({"keep": "07_troubleshoot"}, "choose from: 00_start_here, .*, 06_kiali, 08_upgrade$"),
        ({"leave_out": ["rollback-x"]}, "there is no step rollback-x\n.*rollback-leftovers"),
    ],
)
def test_a_rollback_to_where_nothing_is_is_found_by_whichever_notebook_is_first(
    notebook: str, rollback: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        steps.of(notebook, lab_parameters(rollback=rollback))


def test_an_unknown_notebook_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="01_install_istio"):
        steps.of("99_nothing", DOCUMENTED)


@pytest.mark.parametrize(
    ("story", "interim"),
    [("documented", {"mutual-tls-strict", "authorization-read-only"}), ("safe", set())],
)
def test_only_policies_and_the_label_go_back_where_they_fail(story: str, interim: set[str]) -> None:
    parameters = lab_parameters(story=story)
    every = [step for notebook in steps.CHAPTERS for step in steps.of(notebook, parameters)]
    first = "authorization-read-only" if story == "documented" else "authorization-dry-run"
    assert {step.name for step in every if isinstance(step, Revertible)} == {
        "injection-label",
        *("mutual-tls-strict", "mutual-tls-exception"),
        *("authorization-destination-rule", first, "authorization-methods"),
    }
    assert reverting.interim(every) == interim
