"""Only GET, HEAD and OPTIONS are asked by themselves; what is not known is marked."""

from __future__ import annotations

from runbook_lib.init import asking
from runbook_lib.init.address import Address
from runbook_lib.site import Observed

HTTP, HTTPS = Address("http://x", "the host"), Address("https://x", "the host")
PAGE = "/login"


class Site:
    """Answers, and remembers what it was asked."""

    def __init__(self, **statuses: int) -> None:
        self.statuses = statuses
        self.asked: list[str] = []

    def __call__(self, method: str, url: str, path: str) -> Observed:
        assert path == PAGE
        self.asked.append(f"{method} {url}")
        status = self.statuses.get(method, 405)
        return Observed(method, status or None, error=None if status else "unknown host name")


def test_by_itself_it_asks_what_changes_nothing_and_marks_the_rest() -> None:
    site = Site(GET=200, HEAD=200, OPTIONS=204)
    found = asking.look([HTTP], PAGE, others=False, asking=site)
    assert site.asked == ["GET http://x", "HEAD http://x", "OPTIONS http://x"]
    known = {each.method: each.status for each in found.answers if not each.change}
    assert known == {"GET": 200, "HEAD": 200, "OPTIONS": 204}
    marked = [each for each in found.answers if each.change]
    assert [each.method for each in marked] == ["POST", "PUT", "DELETE", "PATCH"]
    assert all(f"-X {each.method} 'http://x/login'" in each.change for each in marked)


def test_after_a_yes_every_method_is_asked_and_nothing_is_marked() -> None:
    found = asking.look([HTTP], PAGE, others=True, asking=Site(GET=200, PATCH=501))
    assert not any(each.change for each in found.answers)
    assert {each.method: each.status for each in found.answers}["PATCH"] == 501


def test_an_address_that_sends_its_callers_elsewhere_gives_way_to_one_that_answers() -> None:
    def ask(method: str, url: str, _path: str) -> Observed:
        return Observed(method, 301 if url == HTTP.url else 200)

    assert asking.look([HTTP, HTTPS], PAGE, others=False, asking=ask).url == HTTPS.url


def test_a_site_that_does_not_answer_is_marked_with_why() -> None:
    found = asking.look([HTTP], PAGE, others=True, asking=Site(GET=0))
    assert "unknown host name" in found.reason
    assert found.change
    assert all(each.change for each in found.answers)


def test_without_an_address_nothing_is_asked() -> None:
    site = Site()
    found = asking.look([], PAGE, others=True, asking=site)
    assert (site.asked, bool(found.change)) == ([], True)


def test_a_load_balancers_own_error_is_marked_as_no_answer_of_the_application() -> None:
    found = asking.look([HTTP], PAGE, others=False, asking=Site(GET=503))
    assert found.answers[0].change
    assert "load balancer" in found.answers[0].reason
