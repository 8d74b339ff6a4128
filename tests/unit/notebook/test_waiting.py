from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runbook_lib.base import wait
from runbook_lib.base.errors import WaitFailed, WaitTimeout
from runbook_lib.base.wait import Progress, State
from runbook_lib.notebook import waiting
from runbook_lib.notebook.waiting import WaitingView


class Screen:
    """The outputs of all cells, as one list of their latest texts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outputs: list[str] = []
        self.pages: list[str] = []
        self.updates = 0
        screen = self

        class Output:
            def __init__(self) -> None:
                self.index = -1

            def show(self, text: str, html: str, more: dict[str, Any] | None = None) -> None:
                assert more is None
                screen.updates += 1
                if self.index < 0:
                    self.index = len(screen.outputs)
                    screen.outputs.append("")
                screen.outputs[self.index] = text
                screen.pages.append(html)

        monkeypatch.setattr(waiting, "LiveOutput", Output)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


def look(elapsed: float, text: str = "0 of 1 ready", ended: str = "", what: str = "a") -> Progress:
    return Progress(what, text, elapsed, 60, ended)


def test_one_output_shows_what_is_awaited_its_state_and_the_time(screen: Screen) -> None:
    view = WaitingView(lambda: 1)
    view(look(1, what="pod a/b to be ready"))
    assert screen.outputs == [
        "… Waiting for pod a/b to be ready, 1 s of at most 60 s: 0 of 1 ready"
    ]
    view(look(3, "ErrImagePull: no such image"))
    assert screen.outputs == ["… Waiting for a, 3 s of at most 60 s: ErrImagePull: no such image"]


def test_the_end_is_kept_with_the_time_it_took(screen: Screen) -> None:
    view = WaitingView(lambda: 1)
    view(look(1))
    view(look(4, "1 of 1 ready", "done"))
    view(look(2, "refused", "failed", what="b"))
    assert screen.outputs == [
        "✓ Waited 4 s for a: 1 of 1 ready\n✗ Waited 2 s for b, which failed: refused"
    ]


def test_a_short_wait_is_not_shown(screen: Screen) -> None:
    view = WaitingView(lambda: 1)
    view(look(0.1))
    view(look(0.2, ended="done"))
    assert screen.outputs == []


def test_each_cell_has_an_output_of_its_own(screen: Screen) -> None:
    cells = iter([1, 1, 2])
    view = WaitingView(lambda: next(cells))
    view(look(1))
    view(look(2, ended="done"))
    view(look(1, what="b"))
    assert [text[0] for text in screen.outputs] == ["✓", "…"]


def test_it_is_updated_for_news_and_twice_a_second_at_most_otherwise(screen: Screen) -> None:
    view = WaitingView(lambda: 1)
    for tenth in range(10, 30):
        view(look(tenth / 10))
    assert screen.updates == 4
    view(look(2.91, "news"))
    assert screen.updates == 5


def test_text_from_the_cluster_is_escaped(screen: Screen) -> None:
    WaitingView(lambda: 1)(look(1, "<b>"))
    assert "&lt;b&gt;" in screen.pages[-1]


@pytest.fixture
def looks() -> Iterator[list[Progress]]:
    seen: list[Progress] = []
    wait.shown_by(seen.append)
    yield seen
    wait.shown_by(None)


def test_every_wait_tells_what_it_waits_for_and_how_it_ended(looks: list[Progress]) -> None:
    states = iter([State(False, "n"), State(True, "y")])
    wait.until("x", lambda: next(states), timeout=9, sleep=lambda _seconds: None)
    with pytest.raises(WaitFailed):
        wait.until("z", lambda: State(False, "broken", failed=True), timeout=9)
    with pytest.raises(WaitTimeout):
        wait.until("late", lambda: State(False, "n"), timeout=0)
    assert [(seen.what, seen.text, seen.ended) for seen in looks] == [
        ("x", "n", ""),
        ("x", "y", "done"),
        ("z", "broken", "failed"),
        ("late", "n", "timed out"),
    ]
