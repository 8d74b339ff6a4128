"""What is left on disk by labs of other versions must not be in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.locations import lab_state_file
from runbook_lib.lab.foundation.state import State, read_state, write_state

STATE = State(
    name="one",
    state="ready",
    kubeconfig="k",
    context="c",
    server="s",
    url="u",
    bin="b",
    charts={},
    addons={},
    istio_version="1",
    pid=1,
)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The file of a lab as this version writes it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = lab_state_file("one")
    file.parent.mkdir(parents=True)
    write_state("one", STATE)
    content: dict[str, Any] = json.loads(file.read_text())
    return content


@pytest.mark.usefixtures("written")
def test_a_state_is_read_as_it_was_written() -> None:
    assert read_state("one") == STATE
    assert read_state("two") is None


def test_a_newer_version_may_have_written_more(written: dict[str, Any]) -> None:
    lab_state_file("one").write_text(json.dumps({**written, "surprise": 1}))
    assert read_state("one") == STATE


def test_an_older_versions_lab_is_none_of_ours(written: dict[str, Any]) -> None:
    del written["charts"]
    lab_state_file("one").write_text(json.dumps(written))
    assert read_state("one") is None
