from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.notebook import timeline
from runbook_lib.notebook.pictures.timeline import timeline_html
from runbook_lib.notebook.timeline import Answer, Answers, Change

RBAC = "403 RBAC: access denied"


def row(
    method: str, status: str, *, expected: str = "", ok: bool = True, body: str = ""
) -> list[str]:
    return [method, "/", status, body, expected or status, "yes" if ok else "NO"]


def probe(second: float, *rows: list[str], proved: bool = True) -> dict[str, Any]:
    return {"event": "probe", "time": moment(second), "rows": list(rows), "proved": proved}


def applied(second: float, step: str, *changed: str) -> dict[str, Any]:
    return {"event": "step-applied", "time": moment(second), "step": step, "changed": list(changed)}


def moment(second: float) -> str:
    return f"2026-01-02T03:{int(second // 60):02}:{second % 60:06.3f}Z"


STRICT = applied(10, "mutual-tls-strict", "create PeerAuthentication istio-system/default")
STORY: list[dict[str, Any]] = [
    {"event": "notebook-started", "time": moment(0)},
    {"event": "unreadable", "line": 2},
    probe(5, row("GET", "200"), row("POST", "200")),
    applied(8, "already-there"),
    STRICT,
    probe(
        10.1,
        row("GET", "200", expected="502", ok=False),
        row("POST", "502"),
        proved=False,
    ),
    probe(10.2, row("GET", "502"), row("POST", "502"), proved=False),
    probe(10.5, row("GET", "502"), row("POST", "502")),
]


class TestFromEvents:
    def test_rounds_without_a_difference_are_put_together(self) -> None:
        last = timeline.from_events(STORY).entries[-1]

        assert isinstance(last, Answers)
        assert (last.at.microsecond, last.until.microsecond) == (200_000, 500_000)
        assert last.proved

    def test_a_step_that_changed_nothing_is_no_change(self) -> None:
        changes = [e for e in timeline.from_events(STORY).entries if isinstance(e, Change)]

        assert [change.step for change in changes] == ["mutual-tls-strict"]

    def test_a_change_parts_rounds_even_if_they_are_the_same(self) -> None:
        same = row("GET", "200")

        found = timeline.from_events([probe(1, same), STRICT, probe(11, same)])

        assert [type(entry) for entry in found.entries] == [Answers, Change, Answers]

    def test_the_delay_counts_from_the_change_to_the_first_right_answers(self) -> None:
        first, awaited, right = timeline.from_events(STORY).rounds

        assert (first.delay, awaited.delay) == (None, None)
        assert right.delay == pytest.approx(0.2)

    def test_answers_long_after_a_change_that_was_proved_are_not_its_effect(self) -> None:
        later = probe(100, row("GET", "200"), row("POST", "200"))

        assert timeline.from_events([*STORY, later]).rounds[-1].delay is None

    def test_evidence_is_read_from_a_run(self, tmp_path: Path) -> None:
        path = tmp_path / "evidence.jsonl"
        path.write_text("".join(json.dumps(event) + "\n" for event in STORY))

        assert timeline.of_run(path) == timeline.from_events(STORY)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer("GET", "/", "200", "", "200", ok=True), "200"),
        (Answer("GET", "/", "", "connection refused", "200", ok=False), "no answer"),
        (Answer("POST", "/", "403", "RBAC: access denied", "200", ok=False), "403 denied"),
        (Answer("HEAD", "/", "403", "", RBAC, ok=True), "403 denied"),
        (Answer("HEAD", "/", "403", "", "403", ok=True), "403"),
        (Answer("POST", "/", "403", "log in", RBAC, ok=False), "403"),
    ],
)
def test_the_sidecars_no_is_told_from_the_applications(answer: Answer, text: str) -> None:
    assert answer.text == text


class TestText:
    def test_every_answer_and_change_is_on_a_line(self) -> None:
        assert str(timeline.from_events(STORY)).splitlines()[1:] == [
            "time      GET  POST",
            "03:00:05  200  200   proved",
            "03:00:10  * mutual-tls-strict: create PeerAuthentication istio-system/default",
            "03:00:10  200  502   not yet: GET 502",
            "03:00:10  502  502   proved, 0.2 s after the change",
        ]

    def test_nothing_yet_is_said(self) -> None:
        assert "nothing was asked or changed yet" in str(timeline.from_events([]))

    def test_a_request_that_was_not_asked_is_a_dash(self) -> None:
        found = timeline.from_events([probe(1, row("GET", "200")), probe(2, row("POST", "200"))])

        assert str(found).splitlines()[2].split() == ["03:00:01", "200", "-", "proved"]

    def test_paths_are_named_where_they_differ(self) -> None:
        other = ["GET", "/login", "200", "", "200", "yes"]

        assert timeline.from_events([probe(1, row("GET", "200"), other)]).headings == (
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
        words = "\n".join(Words(timeline_html(timeline.from_events(STORY))).words)

        for expected in ("✓ 200", "✕ 502", "mutual-tls-strict", "not yet: GET 502", "03:00:10"):
            assert expected in words

    def test_an_answer_that_stays_is_one_bar(self) -> None:
        html = timeline_html(timeline.from_events(STORY))

        # POST answers 502 in both rounds after the change, GET in the second one only.
        assert Words(html).words.count("✕ 502") == 2

    def test_answers_that_are_not_right_yet_have_a_dashed_frame(self) -> None:
        assert timeline_html(timeline.from_events(STORY)).count('stroke-dasharray="4 3"') == 1

    def test_a_long_pause_is_named(self) -> None:
        events = [probe(1, row("GET", "200")), probe(1801, row("GET", "502"))]

        assert "30 min later" in Words(timeline_html(timeline.from_events(events))).words

    def test_text_is_escaped(self) -> None:
        events = [applied(1, "<b>", "create <script>&'\""), probe(2, row("GET", "200", body="<i>"))]

        tags = Words(timeline_html(timeline.from_events(events))).tags

        assert not {"b", "script", "i"} & set(tags)

    def test_the_alternative_text_tells_the_whole(self) -> None:
        found = timeline.from_events(STORY)

        assert found.summary in Words(timeline_html(found)).words
        assert "GET 502, POST 502 (proved, 0.2 s after the change)" in found.summary

    def test_nothing_yet_is_said(self) -> None:
        words = Words(timeline_html(timeline.from_events([]))).words

        assert words.count("Nothing was asked or changed yet.") == 2
