from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from runbook_lib.base.errors import ParameterError
from runbook_lib.lifecycle.runs import RUN_DIRECTORY_VARIABLE
from runbook_lib.notebook import kernel
from runbook_lib.notebook.kernel import INTERACTIVE_VARIABLE, interactive


def shell(request: dict[str, Any]) -> Any:
    """An IPython shell whose running cell came with this request."""
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda _channel: request))


@pytest.mark.parametrize("answer", [True, False])
def test_the_front_end_says_whether_somebody_can_answer(
    monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    monkeypatch.setattr(kernel, "_shell", lambda: shell({"content": {"allow_stdin": answer}}))
    assert interactive({}) is answer


def test_nobody_is_there_outside_of_a_kernel() -> None:
    assert interactive({}) is False


def test_a_part_of_a_headless_run_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_shell", lambda: shell({"content": {"allow_stdin": True}}))
    assert interactive({RUN_DIRECTORY_VARIABLE: "/runs/1"}) is False


@pytest.mark.parametrize(("value", "expected"), [("yes", True), ("no", False), (" YES ", True)])
def test_the_environment_overrides_what_is_found(value: str, expected: bool) -> None:
    assert interactive({INTERACTIVE_VARIABLE: value, RUN_DIRECTORY_VARIABLE: "/r"}) is expected


def test_another_value_is_an_error_that_names_both() -> None:
    with pytest.raises(ParameterError, match="set it to yes or no"):
        interactive({INTERACTIVE_VARIABLE: "true"})


def test_what_notebooks_import_does_not_import_widgets() -> None:
    code = "import sys, runbook_lib.notebook.runbook; sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
