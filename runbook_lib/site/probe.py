"""HTTP from outside: the table that shows who gets which answer.

Every request uses a connection of its own. After a policy change Envoy lets connections that were
open before keep the old rules while it drains them (45 s), so a reused one proves nothing.
"""

from __future__ import annotations

import functools
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from runbook_lib.base import VerificationFailed, WaitTimeout, wait
from runbook_lib.base.redact import redact
from runbook_lib.cluster import is_loopback
from runbook_lib.site import front

OWN_HEADER = "x-istio-runbook"
"""Marks every request of the runbook's own."""

BYPASS = (
    "name an address that bypasses what answers there in application.url: of a CDN its origin; of "
    "a login an internal load balancer, or a rule for this machine's address; of a firewall or "
    "cache one that leaves the paths of application.probes alone. A port-forward is none: it goes "
    "past the sidecar. From inside the mesh, notebooks 04 and 05 prove the same where "
    "application.ask_from_pods is true"
)
"""What to do where something in front answers in place of the pods."""

_WHO = "something in front answers in place of the pods, or may have"
_RESET = "connection reset"
_EXCERPT = 60
_INTERVAL = 0.1


@dataclass(frozen=True)
class Expectation:
    """The answer that proves a policy.

    Attributes:
        status: HTTP status; None if the pods are to give no answer, see `CLOSED`.
        body_contains: Text that the body must contain; not judged for HEAD, which has none.
        by_sidecar: Whether a sidecar passes the application's own answers on.
    """

    status: int | None
    body_contains: str | None = None
    by_sidecar: bool = field(default=False, compare=False)

    @property
    def text(self) -> str:
        """The answer in a few words."""
        return f"{self.status or 'closed'} {self.body_contains or ''}".strip()


CLOSED = Expectation(None)
"""The sidecar closes the connection. What callers see of it depends on what stands in front: a page
with 502, 503 or 504, a reset, or silence."""


@dataclass(frozen=True)
class Probe:
    """One request, and the answer expected."""

    method: str
    path: str
    expected: Expectation


@dataclass(frozen=True)
class Observed:
    """The answer to one request.

    Attributes:
        method: The request's method.
        status: HTTP status; None if there was no answer.
        excerpt: Start of the body on one line, redacted.
        error: Why there was no answer, in words.
        dropped: Whether there was a connection, on which no answer came.
        headers: Those that show who answered, see `front.telling`.
        url: What was asked, without a path.
        body: The whole body, to be judged and not shown.
    """

    method: str
    status: int | None
    excerpt: str = ""
    error: str | None = None
    dropped: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    url: str = ""
    body: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """The answer in a few words."""
        return self.error or f"{self.status} {self.excerpt}".strip()

    @property
    def unanswered(self) -> bool:
        """Whether there was no answer, or only that of something in front which got none."""
        return self.status is None or self.status in front.GATEWAY_ERRORS

    @property
    def closed(self) -> bool:
        """Whether this is what callers see of a connection that a sidecar closes."""
        by_proxy = self.status in front.GATEWAY_ERRORS and not front.is_sidecars(self.headers)
        return self.dropped or by_proxy


@dataclass(frozen=True)
class ProbeRow:
    """A probe beside its answer."""

    probe: Probe
    observed: Observed

    @property
    def ok(self) -> bool:
        """Whether the answer is the expected one, and the pods' own."""
        return self._fits and not self.hidden

    @property
    def hidden(self) -> str:
        """The response header by which the answer proves nothing; empty if there is none.

        It shows that something in front answered in place of the pods, or may have.
        """
        expected, observed = self.probe.expected, self.observed
        headers = observed.headers
        if observed.unanswered:  # whoever says so, the pods did not answer
            return front.from_cache(headers)
        shown = front.in_place(
            headers, observed.status, observed.url, by_sidecar=expected.by_sidecar or not self._fits
        )
        bodiless = self.probe.method == "HEAD" and expected.body_contains is not None
        return shown or (front.between(headers) if bodiless or not self._fits else "")

    @property
    def _fits(self) -> bool:
        """Whether the answer looks like the expected one, whoever gave it."""
        expected = self.probe.expected
        if expected == CLOSED:
            return self.observed.closed
        if self.observed.status != expected.status:
            return False
        if expected.body_contains is None or self.probe.method == "HEAD":
            return True
        return expected.body_contains in self.observed.body


@dataclass(frozen=True)
class ProbeTable:
    """All probes of one round."""

    rows: tuple[ProbeRow, ...]

    @property
    def ok(self) -> bool:
        """Whether every answer is the expected one."""
        return all(row.ok for row in self.rows)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The headers by which answers prove nothing."""
        return tuple(dict.fromkeys(row.hidden for row in self.rows if row.hidden))

    @property
    def summary(self) -> str:
        """The answers on one line."""
        return ", ".join(f"{row.probe.method} {row.observed.text}" for row in self.rows)


class UnexpectedAnswers(VerificationFailed):
    """The answers from outside were not the expected ones in time.

    Attributes:
        answers: The last round.
    """

    def __init__(self, cause: str, answers: ProbeTable) -> None:
        self.answers = answers
        if answers.hidden:
            cause += f".\nWhether policies hold cannot be told from this URL: {_WHO} ("
            cause += f"{'; '.join(answers.hidden)})"
        remedy = "compare with the policies in force: istioctl x describe pod POD.NAMESPACE"
        super().__init__(cause, BYPASS if answers.hidden else remedy)


def send(
    url: str,
    probe: Probe,
    *,
    timeout: float,
    verify: bool | Path = True,
    headers: Mapping[str, str] | None = None,
) -> Observed:
    """Send one request over a new connection; redirects are answers, not followed.

    Args:
        url: The application from outside, without a path.
        probe: What to ask.
        timeout: Seconds for the whole exchange to make progress.
        verify: Whether to verify the TLS certificate; a file of CA certificates to do so with.
        headers: Further headers of the request.
    """
    try:
        with httpx.Client(
            verify=url.startswith("https") and _tls(verify),
            timeout=timeout,
            trust_env=not is_loopback(url),
        ) as client:
            answer = client.request(
                probe.method,
                url.rstrip("/") + probe.path,
                headers={**(headers or {}), OWN_HEADER: "yes", "Connection": "close"},
            )
    except httpx.HTTPError as error:
        text = _explain(error, timeout)
        silent = isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)
        return Observed(probe.method, None, error=text, dropped=silent or text == _RESET, url=url)
    return Observed(
        probe.method,
        answer.status_code,
        _excerpt(answer.text),
        headers=front.telling(answer.headers),
        url=url,
        body=answer.text,
    )


def prove(
    url: str,
    probes: Sequence[Probe],
    *,
    timeout: float,
    successes: int = 3,
    probe_timeout: float = 10.0,
    verify: bool | Path = True,
    on_change: Callable[[str], None] | None = None,
    on_answers: Callable[[ProbeTable], object] | None = None,
) -> ProbeTable:
    """Send all probes until every answer is as expected `successes` times in a row.

    Args:
        url: The application from outside, without a path.
        probes: What to ask, and the answers expected.
        timeout: Seconds in all.
        successes: How many rounds in a row must be right.
        probe_timeout: Seconds for one request.
        verify: As for `send`.
        on_change: Told the round's answers in words whenever they differ.
        on_answers: Told the round's answers whenever they differ.

    Raises:
        UnexpectedAnswers: Not proved in time; the error holds the last round.
    """
    table = ProbeTable(())
    ask = functools.partial(send, url, timeout=probe_timeout, verify=verify)

    def observe() -> wait.State:
        nonlocal table
        before = table.summary
        table = ProbeTable(tuple(map(ProbeRow, probes, pool.map(ask, probes))))
        if on_answers is not None and table.summary != before:
            on_answers(table)
        return wait.State(table.ok, table.summary)

    try:
        # At once, because each may take all of its time until it is known to be closed.
        with ThreadPoolExecutor(max_workers=max(len(probes), 1)) as pool:
            wait.until(
                f"the expected answers from {url}",
                observe,
                timeout=timeout,
                interval=_INTERVAL,
                successes=successes,
                on_change=on_change,
            )
    except WaitTimeout as error:
        raise UnexpectedAnswers(
            f"{url} did not give the expected answers {successes} times in a row "
            f"within {timeout:g} s",
            table,
        ) from error
    return table


@functools.cache
def _tls(verify: bool | Path) -> ssl.SSLContext:
    """Make the TLS settings once: loading the CA certificates takes longer than a request."""
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return ssl.create_default_context(cafile=str(verify) if isinstance(verify, Path) else None)


def _excerpt(body: str) -> str:
    title = re.search(r"<title>(.*?)</title>", body, re.S | re.I)
    line = " ".join(redact(title.group(1) if title else body).split())
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 1]}…"


def _explain(error: httpx.HTTPError, timeout: float) -> str:
    """Name the cause: httpx's own messages are terse and differ between platforms."""
    causes = " ".join(_chain(error)).lower()
    if isinstance(error, httpx.TimeoutException):
        return f"timeout: no answer within {timeout:g} s"
    if "eof occurred" in causes or "unexpected_eof" in causes:
        return _RESET
    if "certificate" in causes or "ssl" in causes or "tls" in causes:
        return f"TLS error: {error}"
    if "name or service not known" in causes or "getaddrinfo" in causes or "nodename" in causes:
        return "unknown host name"
    if "refused" in causes:
        return "connection refused"
    if "reset" in causes or "disconnected" in causes or "broken pipe" in causes:
        return _RESET
    return f"no answer: {error or type(error).__name__}"


def _chain(error: BaseException | None) -> list[str]:
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__} {error}")
        error = error.__cause__ or error.__context__
    return texts
