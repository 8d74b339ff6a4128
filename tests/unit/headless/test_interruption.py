"""An interrupted run says where it left the cluster, and how the site answers now."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_lib.base.journal import Journal
from runbook_lib.headless import interruption
from runbook_lib.lifecycle import runs
from tests.unit.events import (
    APPLYING,
    APPROVED,
    TAKEN_BACK,
    applied,
    applying,
    planned,
    started,
    verified,
)
from tests.unit.samples import lab_parameters


class Site(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the status that the server was told."""

    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined] # set below
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.status = 200  # type: ignore[attr-defined] # for the handler
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def begun(folder: Path, site: http.server.ThreadingHTTPServer) -> Journal:
    journal = runs.open_journal(folder, "04_mutual_tls")
    journal.record(started(url=f"http://127.0.0.1:{site.server_port}"))
    return journal.of_step("mutual-tls-strict")


def described(folder: Path) -> str:
    return "\n".join(interruption.describe(runs.record_of(folder), lab_parameters()))


def test_a_site_that_is_away_is_said_in_plain_words_with_both_ways_out(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    site.status = 502  # type: ignore[attr-defined] # for the handler
    step = begun(tmp_path, site)
    for event in (planned("X"), APPROVED, APPLYING, applied("create X")):
        step.record(event)
    text = described(tmp_path)
    assert "Interrupted after mutual-tls-strict was applied and before it was verified." in text
    assert "The site answers GET / with 502, and should with 200: users cannot work." in text
    assert "Run again to go on, or take mutual-tls-strict back: set its mode to PERMISSIVE" in text


def test_a_site_that_works_is_said_to_work(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    step = begun(tmp_path, site)
    for event in (planned("X"), APPROVED, APPLYING):
        step.record(event)
    text = described(tmp_path)
    assert "Interrupted while mutual-tls-strict was being applied: its state is unknown." in text
    assert "The site answers GET / with 200, as it should. Run again to go on." in text


def test_a_site_that_does_not_answer_is_no_reason_to_hang(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    step = begun(tmp_path, site)
    for event in (planned("X"), APPROVED, APPLYING, applied("create X"), verified()):
        step.record(event)
    site.socket.close()
    text = described(tmp_path)
    assert "after mutual-tls-strict was verified" in text
    assert "users cannot work" in text


def test_steps_that_found_nothing_to_do_do_not_count(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    step = begun(tmp_path, site)
    for event in (planned(), applied(), verified()):
        step.record(event)
    assert "before this run changed anything" in described(tmp_path)


def test_an_approval_alone_changed_nothing(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    step = begun(tmp_path, site)
    for event in (planned("X"), APPROVED):
        step.record(event)
    assert "before this run changed anything" in described(tmp_path)


def test_what_was_taken_back_is_not_offered_again(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    site.status = 502  # type: ignore[attr-defined] # for the handler
    step = begun(tmp_path, site)
    for event in (planned("X"), APPROVED, applying(), TAKEN_BACK):
        step.record(event)
    text = described(tmp_path)
    assert "Interrupted and taken back: mutual-tls-strict." in text
    assert "should with 200: users cannot work. Run again to go on." in text


def test_what_an_earlier_run_left_and_this_one_took_back_was_changed_by_this_one(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    step = begun(tmp_path, site)
    for event in (planned(), applied(), verified(), TAKEN_BACK):
        step.record(event)
    assert "Interrupted and taken back: mutual-tls-strict." in described(tmp_path)


def left_at_502(folder: Path, site: http.server.ThreadingHTTPServer) -> Journal:
    step = begun(folder, site)
    for event in (planned("X"), APPROVED, applying(), applied("create X"), verified()):
        step.record(event)
    return step


def test_where_a_run_is_to_stop_the_command_is_printed_and_recorded(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    left_at_502(tmp_path, site)
    parameters = lab_parameters(on_failure="stop")
    said = interruption.go_back(tmp_path, parameters)
    assert said == (
        "Not taken back: on_failure is stop. This takes it back:\n  kubectl delete Thing a/b"
    )
    assert runs.record_of(tmp_path).steps[0].left is not None
    assert interruption.go_back(tmp_path, parameters) == "", "it is said once"


def test_what_a_run_has_proved_stays_whatever_ends_it(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    exception = left_at_502(tmp_path, site).of_step("mutual-tls-exception")
    for event in (planned(), verified()):
        exception.record(event)
    assert interruption.go_back(tmp_path, lab_parameters(on_failure="revert")) == ""


def test_a_cluster_that_cannot_be_reached_leaves_the_command(
    tmp_path: Path, site: http.server.ThreadingHTTPServer
) -> None:
    left_at_502(tmp_path, site)
    gone = lab_parameters(on_failure="revert", target={"lab": "no-such-lab"})
    said = interruption.go_back(tmp_path, gone)
    assert "Not taken back: lab 'no-such-lab' is not running" in said
    assert "kubectl delete Thing a/b" in said


def test_a_run_without_evidence_changed_nothing(tmp_path: Path) -> None:
    assert "before this run changed anything" in described(tmp_path)
