from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from runbook_lib.base.journal import Entry, Event
from runbook_lib.lifecycle import record
from runbook_lib.lifecycle.events import Answered, Probed
from runbook_lib.notebook import timeline
from runbook_lib.notebook.pictures.timeline import timeline_html
from runbook_lib.notebook.timeline import Answers, StepChange, Timeline, answer_text
from tests.unit.events import (
    APPLYING,
    APPROVED,
    TAKEN_BACK,
    applied,
    applying,
    failed,
    planned,
    started,
)

RBAC = "403 RBAC: access denied"


def row(
    method: str,
    status: int,
    *,
    expected: str = "",
    ok: bool = True,
    body: str = "",
    path: str = "/",
) -> Answered:
    return Answered(method, path, status, body, expected or str(status), ok)


def probe(second: float, *rows: Answered, proved: bool = True) -> Entry:
    return entry(second, Probed("http://x", rows, proved))


def changed(second: float, step: str, *changes: str) -> list[Entry]:
    events = (planned(*changes), *((APPLYING,) if changes else ()), applied(*changes))
    return [entry(second, event, step) for event in events]


def entry(second: float, event: Event, step: str = "") -> Entry:
    at = datetime(2026, 1, 2, 3, tzinfo=UTC) + timedelta(seconds=second)
    return Entry(at, "r1", event, "04_mutual_tls", step)


def of(*entries: Entry) -> Timeline:
    return timeline.of(record.fold(entries))


STRICT = changed(10, "mutual-tls-strict", "create PeerAuthentication istio-system/default")
STORY = [
    entry(0, started()),
    probe(5, row("GET", 200), row("POST", 200)),
    *changed(8, "already-there"),
    *STRICT,
    probe(
        10.1,
        row("GET", 200, expected="502", ok=False),
        row("POST", 502),
        proved=False,
    ),
    probe(10.2, row("GET", 502), row("POST", 502), proved=False),
    probe(10.5, row("GET", 502), row("POST", 502)),
]


class TestFromRecord:
    def test_rounds_without_a_difference_are_put_together(self) -> None:
        last = of(*STORY).entries[-1]

        assert isinstance(last, Answers)
        assert (last.at.microsecond, last.until.microsecond) == (200_000, 500_000)
        assert last.proved

    def test_a_step_that_changed_nothing_is_no_change(self) -> None:
        changes = [e for e in of(*STORY).entries if isinstance(e, StepChange)]

        assert [change.step for change in changes] == ["mutual-tls-strict"]

    def test_a_change_parts_rounds_even_if_they_are_the_same(self) -> None:
        same = row("GET", 200)

        found = of(probe(1, same), *STRICT, probe(11, same))

        assert [type(entry) for entry in found.entries] == [Answers, StepChange, Answers]

    def test_the_delay_counts_from_the_change_to_the_first_right_answers(self) -> None:
        first, awaited, right = of(*STORY).rounds

        assert (first.delay, awaited.delay) == (None, None)
        assert right.delay == pytest.approx(0.2)

    def test_answers_long_after_a_change_that_was_proved_are_not_its_effect(self) -> None:
        later = probe(100, row("GET", 200), row("POST", 200))

        assert of(*STORY, later).rounds[-1].delay is None

    @pytest.mark.parametrize(
        ("last", "what"),
        [
            ((), "interrupted while applying: state unknown, run again"),
            ((failed(),), "failed"),
            ((applied("create X"),), "create X"),
        ],
    )
    def test_a_step_that_began_is_a_change_however_it_ended(
        self, last: tuple[Event, ...], what: str
    ) -> None:
        events = (planned("X"), APPROVED, APPLYING, *last)
        found = of(*(entry(second, event, "strict") for second, event in enumerate(events)))

        assert [each.text for each in found.entries if isinstance(each, StepChange)] == [
            f"strict: {what}"
        ]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (row("GET", 200), "200"),
        (
            Answered("GET", "/", None, "connection refused", "200", ok=False),
            "no answer",
        ),
        (row("POST", 403, body="RBAC: access denied", expected="200", ok=False), "403 denied"),
        (row("HEAD", 403, expected=RBAC), "403 denied"),
        (row("HEAD", 403), "403"),
        (row("POST", 403, body="log in", expected=RBAC, ok=False), "403"),
    ],
)
def test_the_sidecars_no_is_told_from_the_applications(answer: Answered, text: str) -> None:
    assert answer_text(answer) == text


class TestText:
    def test_every_answer_and_change_is_on_a_line(self) -> None:
        assert str(of(*STORY)).splitlines()[1:] == [
            "time      GET  POST",
            "03:00:05  200  200   proved",
            "03:00:10  * mutual-tls-strict: create PeerAuthentication istio-system/default",
            "03:00:10  200  502   not yet: GET 502",
            "03:00:10  502  502   proved, 0.2 s after the change",
        ]

    def test_nothing_yet_is_said(self) -> None:
        assert "nothing was asked or changed yet" in str(of())

    def test_a_request_that_was_not_asked_is_a_dash(self) -> None:
        found = of(probe(1, row("GET", 200)), probe(2, row("POST", 200)))

        assert str(found).splitlines()[2].split() == ["03:00:01", "200", "-", "proved"]

    def test_paths_are_named_where_they_differ(self) -> None:
        other = row("GET", 200, path="/login")

        assert of(probe(1, row("GET", 200), other)).headings == (
            "GET /",
            "GET /login",
        )


class Words(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


class TestPicture:
    def test_it_says_what_the_text_says(self) -> None:
        words = "\n".join(Words(timeline_html(of(*STORY))).words)

        for expected in ("✓ 200", "✕ 502", "mutual-tls-strict", "not yet: GET 502", "03:00:10"):
            assert expected in words

    def test_an_answer_that_stays_is_one_bar(self) -> None:
        html = timeline_html(of(*STORY))

        # POST answers 502 in both rounds after the change, GET in the second one only.
        assert Words(html).words.count("✕ 502") == 2

    def test_answers_that_are_not_right_yet_have_a_dashed_frame(self) -> None:
        assert timeline_html(of(*STORY)).count('stroke-dasharray="4 3"') == 1

    def test_a_long_pause_is_named(self) -> None:
        events = [probe(1, row("GET", 200)), probe(1801, row("GET", 502))]

        assert "30 min later" in Words(timeline_html(of(*events))).words

    def test_text_is_escaped(self) -> None:
        events = [*changed(1, "<b>", "create <script>&'\""), probe(2, row("GET", 200, body="<i>"))]

        tags = Words(timeline_html(of(*events))).tags

        assert not {"b", "script", "i"} & set(tags)

    def test_the_alternative_text_tells_the_whole(self) -> None:
        found = of(*STORY)

        assert found.summary in Words(timeline_html(found)).words
        assert "GET 502, POST 502 (proved, 0.2 s after the change)" in found.summary

    def test_nothing_yet_is_said(self) -> None:
        words = Words(timeline_html(of())).words

        assert words.count("Nothing was asked or changed yet.") == 2


def test_taking_a_change_back_is_a_change_of_its_own() -> None:
    events = (planned("X"), applying(), applied("create X"), failed(phase="verify"), TAKEN_BACK)
    found = of(*(entry(second, event, "strict") for second, event in enumerate(events)))
    assert [
        (each.at.second, each.text) for each in found.entries if isinstance(each, StepChange)
    ] == [
        (2, "strict: create X"),
        (4, "strict: taken back: Thing a/b (there was none)"),
    ]


def test_what_an_earlier_run_changed_and_this_one_took_back_is_one_change_here() -> None:
    found = of(entry(3, planned(), "strict"), entry(4, TAKEN_BACK, "strict"))
    assert [str(each.text) for each in found.entries if isinstance(each, StepChange)] == [
        "strict: taken back: Thing a/b (there was none)"
    ]
