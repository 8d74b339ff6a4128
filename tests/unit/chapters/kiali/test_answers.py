"""How an add-on is asked until it answers as it should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpx
import pytest

from runbook_lib.chapters.kiali import addons
from runbook_lib.lifecycle import Context
from tests.unit.samples import lab_parameters


class Ways:
    """Stands in for a context: opens ways to a Service, and counts them."""

    parameters = lab_parameters(timeouts={"policy": 10})

    def __init__(self) -> None:
        self.opened = self.closed = 0

    @contextmanager
    def forwarded(self, _to: str, _namespace: str, *_ports: int) -> Iterator[tuple[str, ...]]:
        self.opened += 1
        yield (f"http://way-{self.opened}",)
        self.closed += 1

    def waiting(self, _text: str) -> None:
        """Nobody is told."""


def test_the_way_to_an_addon_stays_open_while_it_answers_and_is_opened_anew_when_it_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: Iterator[object] = iter(
        [(False, "not yet"), (False, "not yet"), httpx.ReadError("reset"), (True, "answers")]
    )
    asked: list[str] = []

    def ask(_context: Context, _addon: object, url: str) -> object:
        asked.append(url)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(addons, "_ask", ask)
    ways = Ways()
    check = addons._answer_check(cast(Context, ways), addons._PROMETHEUS)
    assert (check.ok, check.found) == (True, "answers")
    assert asked == ["http://way-1"] * 3 + ["http://way-2"]
    assert (ways.opened, ways.closed) == (2, 2)
