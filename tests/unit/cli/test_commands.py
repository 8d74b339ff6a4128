"""What commands are asked for, and what the old spellings are called now."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib import chapters, cli
from runbook_lib.base import OutputFormat, ParameterError
from runbook_lib.cli import running
from runbook_lib.cli.carrying_out import Order


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """What would have been carried out."""
    seen: list[Order] = []
    monkeypatch.setattr(running, "carry_out", seen.append)
    return seen


def command(*arguments: str) -> None:
    cli.app([*arguments], standalone_mode=False)


def test_plan_is_a_run_that_changes_nothing(orders: list[Order]) -> None:
    command("plan", "--from", "03", "--to", "04", "--detailed-exitcode", "-o", "json")
    (order,) = orders
    assert order.given.parameters.mode == "plan"
    assert order.notebooks == ["03_autoscaling", "04_mutual_tls"]
    assert (order.detailed, order.output) == (True, OutputFormat.JSON)


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        ("plan", "run"),
        ("plan --from 02 --to 03", "run --from 02 --to 03"),
        ("plan --only 04 --set timeouts.policy=70", "run --set timeouts.policy=70 --only 04"),
        ("run --plan --notebook 04", "run --only 04"),
        ("run --set mode=plan", "run"),
        (
            "plan --only 90 --set rollback.keep=03_autoscaling",
            "rollback --set rollback.keep=03_autoscaling",
        ),
        (
            "plan --set istio.istiod.values.pilot.env.DB_PASSWORD=hunter22",
            "run --set istio.istiod.values.pilot.env.DB_PASSWORD=…",
        ),
    ],
)
def test_a_plan_names_the_command_that_carries_it_out(
    orders: list[Order], asked: str, again: str
) -> None:
    command(*asked.split())
    assert " ".join(orders[0].again) == again


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("run --plan", "run --plan still works; it is now called: plan"),
        ("run --notebook 03_autoscaling", "--notebook still works; it is now called: --only"),
        ("run --output somewhere", "--output FOLDER still works; it is now called: --runs FOLDER"),
        ("run --output s3://bucket/x", "--output FOLDER still works"),
        (
            "run --notebook 90_rollback",
            "run of 90_rollback still works; it is now called: rollback",
        ),
    ],
)
def test_old_spellings_work_with_a_word_on_standard_error(
    orders: list[Order], capsys: pytest.CaptureFixture[str], asked: str, word: str
) -> None:
    command(*asked.split())
    said = capsys.readouterr()
    assert word in said.err
    assert said.out == ""
    (order,) = orders
    assert (order.given.parameters.mode == "plan") is ("--plan" in asked)
    assert order.runs == (asked.split()[-1] if "--output" in asked else None)
    if "--notebook" in asked:
        assert order.notebooks == [asked.split()[-1]]


def test_new_spellings_have_no_word(
    orders: list[Order], capsys: pytest.CaptureFixture[str]
) -> None:
    command("run", "--only", "03", "--runs", "somewhere", "--output", "json")
    assert capsys.readouterr().err == ""
    (order,) = orders
    assert (order.runs, order.output) == ("somewhere", OutputFormat.JSON)


@pytest.mark.parametrize("options", [("-o", "yaml"), ("--runs", "x", "-o", "y")])
def test_a_format_that_there_is_not_is_no_folder(
    orders: list[Order], options: tuple[str, ...]
) -> None:
    with pytest.raises(ParameterError, match="there is no such format") as refused:
        command("run", *options)
    assert "--runs" in refused.value.remedy
    assert orders == []


@pytest.mark.parametrize(
    ("options", "keep"),
    [
        (("--to", "04"), "04_mutual_tls"),
        (("--all",), "00_start_here"),
        (("--set", "rollback.keep=03_autoscaling"), "03_autoscaling"),
        (("--approve-plan", "runs/x"), "00_start_here"),
    ],
)
def test_rollback_goes_as_far_back_as_it_is_told(
    orders: list[Order], options: tuple[str, ...], keep: str
) -> None:
    command("rollback", *options)
    (order,) = orders
    assert order.notebooks == ["90_rollback"]
    assert order.given.parameters.rollback.keep == keep


def test_a_rollback_that_does_not_say_how_far_is_refused_with_the_choice(
    orders: list[Order],
) -> None:
    with pytest.raises(ParameterError, match="does not say how far") as refused:
        command("rollback")
    assert ", ".join(chapters.kept()) in refused.value.remedy
    assert "--all" in refused.value.remedy
    with pytest.raises(ParameterError, match="--all goes without --to"):
        command("rollback", "--all", "--to", "04")
    assert orders == []


def test_a_file_says_how_far_to_go_back(orders: list[Order], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("target: {kind: lab}\nrollback: {keep: 05_authorization}\n")
    command("rollback", "-f", str(file))
    assert orders[0].given.parameters.rollback.keep == "05_authorization"
