"""What every unit test starts with."""

from __future__ import annotations

import pytest

from runbook_lib import redact


@pytest.fixture(autouse=True)
def no_secrets_from_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered secrets last as long as the process; here, as long as the test."""
    monkeypatch.setattr(redact, "_registered", set())
