"""Roles: of the steps that there are, without gaps or repetitions, as the documents show them."""

from __future__ import annotations

from itertools import product

import pytest
import yaml

from runbook_lib import chapters
from runbook_lib.base.locations import repository_root
from runbook_lib.chapters.shared.rights import DRY_RUN, LOOKING, Right, manifests, merged, page
from runbook_lib.parameters import Parameters, loading
from tests.unit.samples import lab_parameters

DOCUMENTED = loading.load(repository_root() / "parameters" / "cluster.example.yaml").parameters
OUTDATED = "make rights writes it anew"
GIVEN = [
    lab_parameters(),
    lab_parameters(story="safe", rollback={"kinds": True}, kiali={"readers": ["ana"]}),
    lab_parameters(autoscaling={"remedy": "sidecar-requests"}, application={"canary": True}),
]


@pytest.mark.parametrize("parameters", GIVEN)
def test_rights_are_for_steps_that_their_chapter_can_have(parameters: Parameters) -> None:
    stories = [parameters.model_copy(update={"story": each}) for each in ("safe", "documented")]
    for name, role in chapters.roles(parameters).items():
        known = {s.name for p in stories for s in chapters.of(name, p)} if name[0].isdigit() else {}
        known = chapters.CHAPTERS if name == LOOKING else known
        assert {step for right in role.rights for step in right.steps} <= set(known)
        for_all = {right.resources for right in role.rights if not right.steps}
        assert name in (LOOKING, DRY_RUN) or for_all <= {("leases",)}


@pytest.mark.parametrize("parameters", GIVEN)
def test_no_rule_of_a_role_stands_there_twice(parameters: Parameters) -> None:
    for role in chapters.roles(parameters).values():
        rules = [
            (right.group, right.namespace, right.names, *rule)
            for right in role.rights
            for rule in product(right.resources, right.verbs)
        ]
        assert len(rules) == len(set(rules)), role.name


def test_merged_rights_keep_every_step() -> None:
    one = Right(("secrets",), ("update", "delete"), steps=("a",))
    two = Right(("secrets", "leases"), ("delete",), steps=("b",), tried=True)
    assert set(merged([one, two])) == {
        Right(("secrets",), ("update",), steps=("a",)),
        Right(("secrets",), ("delete",), steps=("a", "b"), tried=True),
        Right(("leases",), ("delete",), steps=("b",), tried=True),
    }


def test_a_role_for_looking_changes_nothing_but_what_it_asks_with() -> None:
    changing = {
        (resource, verb)
        for right in chapters.roles(DOCUMENTED)[LOOKING].rights
        for resource, verb in product(right.resources, right.verbs)
        if verb not in ("get", "list", "watch")
    }
    assert changing == {("pods/portforward", "create"), ("serviceaccounts/token", "create")}


def test_in_plan_mode_nothing_is_asked_for_that_only_changes_need() -> None:
    planning = lab_parameters(mode="plan")
    found = chapters.needed(["04_mutual_tls", "90_rollback"], planning)
    assert [role.name for role in found] == [LOOKING, DRY_RUN, "90_rollback"]
    assert not any("delete" in right.verbs for role in found for right in role.rights)
    applying = chapters.needed(["00_start_here", "04_mutual_tls"], lab_parameters())
    assert [role.name for role in applying] == [LOOKING, "04_mutual_tls"]


def test_whoever_has_a_chapter_looks_and_whoever_looks_may_only_try() -> None:
    roles = chapters.roles(DOCUMENTED)
    groups: dict[str, set[str]] = {}
    for item in manifests(roles.values(), roles):
        if item["kind"].endswith("RoleBinding"):
            named = {each["name"] for each in item["subjects"]}
            groups.setdefault(item["roleRef"]["name"], set()).update(named)
    assert groups.pop("istio-runbook:dry-run") == {"istio-runbook:looking"}
    looking = groups.pop("istio-runbook:looking")
    assert looking == {"istio-runbook:looking", *groups}
    assert all(given == {role} for role, given in groups.items())


def test_the_documented_manifests_are_those_of_the_example() -> None:
    written = (repository_root() / "docs" / "rights.yaml").read_text()
    roles = chapters.roles(DOCUMENTED)
    made = list(manifests(roles.values(), roles))
    assert list(yaml.safe_load_all(written)) == made, OUTDATED


def test_the_documented_tables_are_those_of_the_example() -> None:
    written = (repository_root() / "docs" / "rights.md").read_text()
    made = "\n".join(page(chapters.roles(DOCUMENTED).values()))
    assert written.endswith(f"-->\n{made}\n"), OUTDATED
