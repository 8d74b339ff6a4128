"""Which notebooks a command takes: some by name or number, or a range of them."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib import chapters
from runbook_lib.base import ParameterError
from runbook_lib.headless.run import choose


def test_a_notebook_is_named_by_its_number_its_name_or_its_file() -> None:
    for name in ("03", "03_autoscaling", "03_autoscaling.ipynb", "notebooks/03_autoscaling.ipynb"):
        assert choose([name]) == ["03_autoscaling"]
    assert choose(["90", "04"]) == ["04_mutual_tls", "90_rollback"], "in the runbook's order"


@pytest.mark.parametrize(
    ("first", "last", "chosen"),
    [
        (None, "01", ["00_start_here", "01_install_istio"]),
        ("06", None, ["06_kiali", "07_troubleshoot"]),
        ("02_label_namespace", "03", ["02_label_namespace", "03_autoscaling"]),
        ("05", "05", ["05_authorization"]),
        (None, None, chapters.regular()),
    ],
)
def test_a_range_has_both_of_its_ends(
    first: str | None, last: str | None, chosen: list[str]
) -> None:
    assert choose([], first, last) == chosen


@pytest.mark.parametrize("arguments", [(["3"],), ([], "09"), ([], None, "05_autorisation")])
def test_a_name_that_there_is_not_is_answered_with_those_that_there_are(
    arguments: tuple[Any, ...],
) -> None:
    with pytest.raises(ParameterError, match="there is no notebook") as refused:
        choose(*arguments)
    assert ", ".join(chapters.CHAPTERS) in refused.value.remedy


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([], "05", "02"), "--from 05_authorization comes after --to 02_label_namespace"),
        (([], "08"), "08_upgrade is in no range: it runs only when it is named"),
        (([], None, "90"), "90_rollback is in no range"),
        ((["03"], "02"), "--only goes with neither --from nor --to"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        choose(*arguments)
