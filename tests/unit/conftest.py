"""What every unit test starts with."""

from __future__ import annotations

import pytest

from runbook_lib.base import redact


@pytest.fixture(autouse=True)
def no_secrets_from_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered secrets last as long as the process; here, as long as the test."""
    monkeypatch.setattr(redact, "_registered", set())


@pytest.fixture(autouse=True)
def no_lab_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults are those of someone who set nothing."""
    monkeypatch.delenv("RUNBOOK_LAB", raising=False)
