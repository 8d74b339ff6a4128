"""What the site itself answers: GET, HEAD and OPTIONS are asked, others only after a yes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runbook_lib.init.address import Address
from runbook_lib.site import BYPASS, Expectation, Observed, Probe, front, probe

HARMLESS = ("GET", "HEAD", "OPTIONS")
"""Methods that are safe by RFC 9110, section 9.2.1: they ask for nothing to be changed."""

OTHERS = ("POST", "PUT", "DELETE", "PATCH")

_TIMEOUT = 10.0
_ELSEWHERE = (301, 308)

Ask = Callable[[str, str, str], Observed]
"""Send one request: method, URL without a path, path."""


@dataclass(frozen=True)
class Answer:
    """What was answered to a method, or is guessed.

    Attributes:
        method: The method.
        status: HTTP status.
        reason: How it is known.
        change: What a person has to do about it; empty if it was answered.
    """

    method: str
    status: int
    reason: str
    change: str = ""


@dataclass(frozen=True)
class Site:
    """The web part as it is reached from here.

    Attributes:
        url: Scheme, host and port; empty if none is known.
        reason: How it is known.
        answers: For each method.
        change: What a person has to do about the address; empty if it answered.
    """

    url: str
    reason: str
    answers: tuple[Answer, ...]
    change: str = ""


def send(method: str, url: str, path: str) -> Observed:
    """Ask over a connection of its own, verifying the certificate."""
    return probe.send(url, Probe(method, path, Expectation(200)), timeout=_TIMEOUT)


def look(addresses: Sequence[Address], path: str, *, others: bool, asking: Ask = send) -> Site:
    """Find the address that answers, and ask it.

    Args:
        addresses: Where the site may be, the likeliest first.
        path: A page that no method can write or delete, such as the one to log in at.
        others: Whether methods that are not harmless may be asked as well.
        asking: Sends a request.
    """
    tried = [(each, asking("GET", each.url, path)) for each in addresses]
    answered = [(each, seen) for each, seen in tried if seen.status is not None]
    direct = [each for each in answered if each[1].status not in _ELSEWHERE]
    if not answered:
        return _unknown(tried, path)
    address, first = (direct or answered)[0]
    answers = []
    for method in (*HARMLESS, *OTHERS):
        if method in HARMLESS or others:
            seen = first if method == "GET" else asking(method, address.url, path)
            answers.append(_answer(method, address.url, path, seen, first))
        else:
            answers.append(_guess(method, address.url, path, first.status, "it was not asked"))
    return Site(address.url, f"{address.reason}; it answers", tuple(answers))


def _answer(method: str, url: str, path: str, seen: Observed, first: Observed) -> Answer:
    if seen.status is None:
        return _guess(method, url, path, first.status, f"it was not answered: {seen.error}")
    if seen.unanswered:
        why = f"{seen.status} is a load balancer's word for no answer: is the web part well?"
        return Answer(method, seen.status, why, _remedy(method, url, path))
    if shown := front.in_place(seen.headers, seen.status, url):
        why = f"it seems that something in front answered in place of the web part ({shown})"
        return Answer(method, seen.status, why, f"{BYPASS}; then {_remedy(method, url, path)}")
    return Answer(method, seen.status, "asked and answered just now, from here")


def _guess(method: str, url: str, path: str, page: int | None, why: str) -> Answer:
    """Guess: a page that is shown is often posted to as well, and cannot be written."""
    status = 405 if method in ("PUT", "DELETE", "PATCH") else page or 200
    return Answer(method, status, f"a guess, as {why}", _remedy(method, url, path))


def _remedy(method: str, url: str, path: str) -> str:
    return (
        "write the status that this shows: "
        f"curl -s -o /dev/null -w '%{{http_code}}\\n' -X {method} '{url}{path}'"
    )


def _unknown(tried: Sequence[tuple[Address, Observed]], path: str) -> Site:
    url = tried[0][0].url if tried else "https://change.invalid"
    why = "; ".join(f"{each.url}: {seen.error}" for each, seen in tried)
    reason = f"nothing answered from here ({why})" if tried else "no address was found"
    answers = tuple(
        _guess(method, url, path, None, "the site did not answer")
        for method in (*HARMLESS, *OTHERS)
    )
    change = (
        "find the address that users open and that is reached from here, and give it to init as "
        "--url; or write it here, and what it answers below. A certificate of a private CA needs "
        "application.ca_file"
    )
    return Site(url, reason, answers, change)
