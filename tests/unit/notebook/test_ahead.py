"""What is in the way of later steps is looked for once, and again when somebody asks again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_lib.chapters.shared.rights import AccountRole, Right
from runbook_lib.cluster import Cluster
from runbook_lib.lifecycle.finding import Finding
from runbook_lib.lifecycle.table import Table
from runbook_lib.notebook import ahead
from tests.unit.doubles.given_cluster import context


def outlook(notebook: str) -> ahead.Outlook:
    return ahead.Outlook(notebook, "a-step", (Finding(notebook, "is broken", "", "mend it"),))


def test_what_has_just_been_seen_is_shown_and_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def look(_context: object, notebooks: list[str]) -> list[ahead.Outlook]:
        looked.extend(notebooks)
        return [outlook(each) for each in notebooks]

    monkeypatch.setattr(ahead, "look", look)
    monkeypatch.setattr(
        ahead.preflight, "table", lambda _: Table("Preflight", ("", "", "", ""), ())
    )
    found = context(tmp_path)
    shown = ahead.table(found, [outlook("01_install_istio"), outlook("04_mutual_tls")])
    assert "01_install_istio" not in looked
    assert "02_label_namespace" in looked
    assert {row.cells[1] for row in shown.rows} >= {
        "01_install_istio: is broken",
        "02_label_namespace: is broken",
        "04_mutual_tls: is broken",
    }
    ahead.table(found)
    assert "01_install_istio" in looked


def test_a_right_that_is_missing_refuses_the_first_step_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_restarts(_cluster: Cluster, role: AccountRole) -> Iterator[tuple[Right, Finding]]:
        for right in role.rights:
            if "statefulsets" in right.resources and "patch" in right.verbs:
                yield right, Finding(f"Right of {role.name}", "is missing", "403", "grant it")

    monkeypatch.setattr(ahead, "missing", without_restarts)
    (found,) = ahead.look(context(tmp_path), ["90_rollback"])
    assert (found.notebook, found.step) == ("90_rollback", "rollback-autoscaling")
    assert [each.where for each in found.refusals] == ["Right of 90_rollback"]


def test_notebooks_without_steps_need_no_rights_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "missing", lambda *_: pytest.fail("nothing is to be asked"))
    assert list(ahead.look(context(tmp_path), ["00_start_here", "07_troubleshoot"])) == []
