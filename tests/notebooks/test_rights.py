"""The runbook as accounts that have its roles and nothing else, judged by the audit log.

One chapter and its plan; with RUNBOOK_RIGHTS=all (`make test-rights`) all, and the way back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from runbook_lib import chapters
from runbook_lib.chapters.shared.rights import (
    DRY_RUN,
    LOOKING,
    AccountRole,
    Right,
    missing,
)
from runbook_lib.cluster import Cluster
from runbook_lib.lifecycle import Revertible, target
from runbook_lib.parameters import Parameters
from tests.accounts import account
from tests.audited import account_of, audited_lab, grant, requests, unused
from tests.labs import Lab, named
from tests.notebooks.headless import run
from tests.unit.samples import from_mapping

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(1200),
]

GIVEN: dict[str, Any] = {
    "target": {"kind": "lab"},
    "story": "safe",
    "application": {"canary": True},
    "kiali": {"readers": ["ana"]},
    "rollback": {"kinds": True},
}
"""Parameters by which every step has something to do."""

TAKEN_BACK = {
    "04_mutual_tls": ("mutual-tls-exception", "mutual-tls-strict"),
    "05_authorization": ("authorization-destination-rule", "authorization-methods"),
}
"""Steps that put back what was there before if they fail."""

NOT_HERE = (
    # There is the kind and no Kiali yet only within chapter 06.
    ("dry-run", "istio-system", "kiali.io", "kialis", "create", "kiali"),
    # For an exposure by Ingress, and a change of it, of which tests of their own take every one.
    ("looking", "istio-system", "networking.k8s.io", "ingresses", "get", ""),
    ("06_kiali", "istio-system", "", "services", "delete", "kiali"),
    ("06_kiali", "istio-system", "networking.k8s.io", "ingresses", "delete", "kiali"),
)
"""Rules that these runs have no occasion to use."""

MADE_ONCE = ("kube-system", "coordination.k8s.io", "leases", "create", "")
"""The Lease by which runs take turns is made by whichever account is the first."""

ALL = os.environ.get("RUNBOOK_RIGHTS") == "all"
TAKEN = [each for each in chapters.regular() if each[:2] in "01 02 03 04 05 06"]
RUNS = (
    (LOOKING, ("--plan",)),
    *((each, ("--only", each)) for each in TAKEN[:3]),
    (LOOKING, ("--plan", *(word for each in TAKEN[3:] for word in ("--only", each)))),
    *((each, ("--only", each)) for each in TAKEN[3:]),
    (LOOKING, ("--plan", "--only", "00_start_here", "--only", "07_troubleshoot")),
    ("90_rollback", ("--plan", "--only", "90_rollback")),
    ("90_rollback", ("--only", "90_rollback")),
)
FEW = (
    (LOOKING, ("--plan", "--only", "01_install_istio")),
    ("01_install_istio", ("--only", "01_install_istio")),
)
"""Account by account, what it runs."""


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return from_mapping(GIVEN)


@pytest.fixture(scope="module")
def audited(parameters: Parameters) -> Iterator[Lab]:
    """A lab that logs what it is asked, and where the roles are granted."""
    with audited_lab(parameters) as lab:
        yield lab


def put_back(lab: Lab, name: str, folder: Path) -> None:
    """Take a step and put back what was there before, as is done where it fails."""
    context = lab.context(folder, **GIVEN)
    step = named(context, name)
    assert isinstance(step, Revertible)
    plan = step.plan(context)
    before = step.before(context, plan)
    step.apply(context, plan)
    step.restore(context, before)


def test_each_role_is_enough_for_its_chapter_and_has_nothing_that_is_not_used(
    audited: Lab, parameters: Parameters, tmp_path: Path
) -> None:
    (tmp_path / "given.yaml").write_text(json.dumps(GIVEN))
    for role, options in RUNS if ALL else FEW:
        with account_of(audited, role) as allowed:
            for step in TAKEN_BACK.get(role, ()):
                put_back(allowed, step, tmp_path)
            done = run(allowed, tmp_path / "runs", "-f", str(tmp_path / "given.yaml"), *options)
        assert done.code == 0, done.output
    seen = list(requests(audited))
    assert [each for each in seen if each.status == 403] == []
    roles = chapters.roles(parameters)
    for name in roles if ALL else ("01_install_istio",):
        users = {name.replace("_", "-")} if name not in (LOOKING, DRY_RUN) else {LOOKING}
        if name == LOOKING:
            users = {each.role for each in seen}
        own = [each for each in seen if each.role in users]
        idle = [each for each in unused(roles[name], own) if each not in NOT_HERE]
        assert [each for each in idle if name == TAKEN[0] or each[1:] != MADE_ONCE] == []


def test_who_looks_may_try_a_change_and_not_make_it(audited: Lab) -> None:
    with account(audited, "account-trying", [f"istio-runbook:{LOOKING}"]) as looking:
        label = ("kubectl", "label", "namespace", "xnat", "istio-injection=enabled")
        assert "labeled" in looking.run(*label, "--dry-run=server")
        refused = looking.run(*label, check=False)
    assert "may try this, and not do it" in refused
    assert "istio-injection" not in audited.run("kubectl", "get", "namespace", "xnat", "-o", "yaml")


def without(right: Right, resource: str, verb: str) -> tuple[Right, ...]:
    """The same right without one rule."""
    others = tuple(each for each in right.resources if each != resource)
    verbs = tuple(each for each in right.verbs if each != verb)
    rest = (replace(right, resources=others), replace(right, resources=(resource,), verbs=verbs))
    return tuple(each for each in rest if each.resources and each.verbs)


def test_preflight_names_each_rule_that_is_taken_away_and_the_step_that_needs_it(
    audited: Lab, parameters: Parameters
) -> None:
    roles = chapters.roles(parameters)
    lacking: list[tuple[AccountRole, Right, str, str, AccountRole]] = []
    for role in roles.values() if ALL else (roles["03_autoscaling"], roles["04_mutual_tls"]):
        for place, right in enumerate(role.rights):
            for resource, verb in product(right.resources, right.verbs):
                rights = (*role.rights[:place], *role.rights[place + 1 :])
                rest = AccountRole(
                    f"lacking-{len(lacking)}", (*without(right, resource, verb), *rights)
                )
                lacking.append((role, right, resource, verb, rest))
    every = [each[-1] for each in lacking]
    grant(audited, {each.name: each for each in every})
    cluster = Cluster.of(target.resolve(from_mapping({**GIVEN, "target": {"lab": audited.name}})))
    client = cluster.dynamic.client
    client.set_default_header("Impersonate-User", "somebody")
    for role, right, resource, verb, less in lacking:
        client.set_default_header("Impersonate-Group", f"istio-runbook:{less.name}")
        found = list(missing(cluster, role))
        assert right in [each for each, _ in found], (role.name, resource, verb)
        for each, finding in found:
            assert each.group == right.group
            assert resource.partition("/")[0] in finding.what
            assert verb in finding.what
            assert all(step in finding.effect for step in each.steps)
            assert f"--role {role.name}" in finding.remedy
