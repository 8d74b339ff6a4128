"""A canary and its way back, as accounts that have the roles for them and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook_lib import chapters
from runbook_lib.chapters.shared.rights import AccountRole
from runbook_lib.lab.build.versions import next_version
from tests.audited import account_of, audited_lab, requests, unused
from tests.labs import take
from tests.notebooks.headless import run
from tests.unit.samples import from_mapping

pytestmark = [pytest.mark.lab, pytest.mark.notebooks, pytest.mark.timeout(600)]

GIVEN = {
    "target": {"kind": "lab"},
    "application": {"canary": True},
    "upgrade": {"to": next_version(), "strategy": "canary", "revision": "next"},
}


def test_a_canary_and_its_way_back_need_what_their_roles_have(tmp_path: Path) -> None:
    parameters = from_mapping(GIVEN)
    with audited_lab(parameters) as lab:
        context = lab.context(tmp_path, **GIVEN)
        for chapter in ("01_install_istio", "02_label_namespace"):
            for step in chapters.of(chapter, parameters):
                take(context, step.name)
        with account_of(lab, "08_upgrade") as allowed:
            for step in chapters.of("08_upgrade", parameters)[:-1]:
                assert take(allowed.context(tmp_path, **GIVEN), step.name)[1].ok
        with account_of(lab, "90_rollback") as allowed:
            context = allowed.context(tmp_path, **GIVEN)
            (back,) = (s for s in chapters.way_back(parameters) if s.name == "rollback-upgrade")
            back.apply(context, back.plan(context))
            assert back.verify(context).ok
        (tmp_path / "given.yaml").write_text(json.dumps(GIVEN))
        with account_of(lab, "08_upgrade") as allowed:
            options = ("-f", str(tmp_path / "given.yaml"), "--notebook", "08_upgrade")
            done = run(allowed, tmp_path / "runs", *options)
        assert done.code == 0, done.output
        seen = list(requests(lab))
    assert [each for each in seen if each.status == 403] == []
    upgrade = chapters.CHAPTERS["08_upgrade"]
    for name, rights in (
        ("08_upgrade", chapters.roles(parameters)["08_upgrade"].rights),
        ("90_rollback", upgrade.rights_back(parameters)),
    ):
        own = [each for each in seen if each.role == name.replace("_", "-")]
        assert list(unused(AccountRole(name, rights), own)) == []
