"""Whom selectors select, however they say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared import checks
from tests.unit.doubles.given_cluster import WEB, context, pod, web_workload


@pytest.mark.parametrize(
    ("selector", "shown"),
    [
        ({"matchLabels": WEB}, "app=xnat-web"),
        (
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["xnat-web", "x"]}]},
            "app in (xnat-web,x)",
        ),
        (
            {"matchLabels": WEB, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
            "app=xnat-web, !tier",
        ),
    ],
)
def test_a_workload_selects_by_labels_by_expressions_or_by_both(
    tmp_path: Path, selector: dict[str, Any], shown: str
) -> None:
    workload = web_workload()
    workload["spec"]["selector"] = selector
    rows = checks.selections(context(tmp_path, workload, pod())).rows
    (row,) = (each for each in rows if each.cells[0] == "StatefulSet xnat/xnat-xnat-web")
    assert row.cells[1:] == (shown, "xnat-xnat-web-0")
    assert row.ok
