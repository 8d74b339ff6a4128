"""Upgrades and their way back, as accounts that have the roles for them and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runbook_lib import chapters
from runbook_lib.chapters.shared.rights import AccountRole
from runbook_lib.lab.build.versions import next_version
from tests.audited import account_of, audited_lab, requests, unused
from tests.labs import take
from tests.notebooks.headless import run
from tests.unit.samples import from_mapping

pytestmark = [pytest.mark.lab, pytest.mark.notebooks, pytest.mark.timeout(900)]

UPGRADE, BACK = "08_upgrade", "90_rollback"


@pytest.mark.parametrize("strategy", ["in-place", "canary"])
def test_an_upgrade_and_its_way_back_need_what_their_roles_have(
    tmp_path: Path, strategy: str
) -> None:
    canary = {"strategy": "canary", "revision": "next"} if strategy == "canary" else {}
    given: dict[str, Any] = {
        "target": {"kind": "lab"},
        "application": {"canary": True},
        "upgrade": {"to": next_version(), **canary},
        "rollback": {"keep": "06_kiali"},
    }
    parameters = from_mapping(given)
    steps = chapters.of(UPGRADE, parameters)
    with audited_lab(parameters) as lab:
        for chapter in ("01_install_istio", "02_label_namespace"):
            for step in chapters.of(chapter, parameters):
                take(lab.context(tmp_path, **given), step.name)
        with account_of(lab, UPGRADE) as allowed:
            # All but the last, after which there would be no way back from a canary.
            for step in steps[:-1] if canary else steps:
                assert take(allowed.context(tmp_path, **given), step.name)[1].ok
        with account_of(lab, BACK) as allowed:
            context = allowed.context(tmp_path, **given)
            (back,) = (s for s in chapters.way_back(parameters) if s.name == "rollback-upgrade")
            plan = back.plan(context)
            assert not plan.empty
            back.apply(context, plan)
            assert back.verify(context).ok
        (tmp_path / "given.yaml").write_text(json.dumps(given))
        with account_of(lab, UPGRADE) as allowed:
            options = ("-f", str(tmp_path / "given.yaml"), "--notebook", UPGRADE)
            done = run(allowed, tmp_path / "runs", *options)
        assert done.code == 0, done.output
        seen = list(requests(lab))
    assert [each for each in seen if each.status == 403] == []
    for name, rights in (
        (UPGRADE, chapters.roles(parameters)[UPGRADE].rights),
        (BACK, chapters.CHAPTERS[UPGRADE].rights_back(parameters)),
    ):
        own = [each for each in seen if each.role == name.replace("_", "-")]
        idle = [each for each in unused(AccountRole(name, rights), own) if not _may_be_new(each)]
        assert idle == [], "\n".join(map(str, idle))


def _may_be_new(rule: tuple[str, ...]) -> bool:
    """Whether it is for objects that another version of Istio may have and this one has not.

    The lab's two versions differ in nothing but their number.
    """
    *_, verb, _name = rule
    return verb == "create"
