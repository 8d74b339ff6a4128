"""What is in the way of later steps is looked for once, and again when somebody asks again."""

from __future__ import annotations

from pathlib import Path

import pytest

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
