"""A page that shows a secret once, to whoever knows its address, and for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from runbook_lib.notebook.views.token_page import TokenPage

SECRET = "eyJhbGciOi.eyJzdWIi.c2ln"


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=5, trust_env=False)


@pytest.fixture
def page() -> Iterator[TokenPage]:
    shown = TokenPage(SECRET, "Token for <ana>", seconds=60)
    yield shown
    shown.close()


def test_it_shows_the_secret_once(page: TokenPage) -> None:
    first = get(page.url)
    assert (first.status_code, first.text.count(SECRET)) == (200, 1)
    again = get(page.url)
    assert again.status_code == 410
    assert SECRET not in again.text
    assert "shown once" in again.text


def test_nothing_keeps_a_copy_on_the_way(page: TokenPage) -> None:
    answer = get(page.url)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_address_holds_no_secret_and_cannot_be_guessed(page: TokenPage) -> None:
    assert SECRET not in page.url
    assert get(page.url[:-1]).status_code == 404
    assert get(page.url.rsplit("/", 1)[0] + "/").status_code == 404
    assert get(page.url).status_code == 200


def test_a_foreign_page_that_points_its_name_here_gets_nothing(page: TokenPage) -> None:
    assert get(page.url, Host="attacker.example.com").status_code == 404
    assert get(page.url).status_code == 200


def test_the_title_is_no_markup(page: TokenPage) -> None:
    assert "Token for &lt;ana&gt;" in get(page.url).text


def test_it_listens_on_this_machine_alone(page: TokenPage) -> None:
    assert page._server.server_address[0] == "127.0.0.1"


def test_it_ends_by_itself_and_says_so() -> None:
    ended = threading.Event()
    page = TokenPage(SECRET, "Token", seconds=1, ended=ended.set)
    assert ended.wait(10)
    with pytest.raises(httpx.ConnectError):
        get(page.url)
    assert page._secret is None


def test_closing_twice_does_no_harm(page: TokenPage) -> None:
    page.close()
    page.close()
    with pytest.raises(httpx.ConnectError):
        get(page.url)
