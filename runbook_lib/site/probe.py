"""HTTP from outside: the table that shows who gets which answer.

Every request uses a connection of its own. After a policy change Envoy lets connections that were
open before keep the old rules while it drains them (45 s), so a reused one proves nothing.
"""

from __future__ import annotations

import functools
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from runbook_lib.base import VerificationFailed, WaitTimeout, wait
from runbook_lib.base.redact import redact
from runbook_lib.cluster import is_loopback

OWN_HEADER = "x-istio-runbook"
"""Marks every request of the runbook's own."""

_EXCERPT = 60
_INTERVAL = 0.1


@dataclass(frozen=True)
class Expectation:
    """The answer that proves a policy.

    Attributes:
        status: HTTP status.
        body_contains: Text that the body must contain; not judged for HEAD, which has none.
    """

    status: int
    body_contains: str | None = None

    @property
    def text(self) -> str:
        """The answer in a few words."""
        return f"{self.status} {self.body_contains or ''}".strip()


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
        body: The whole body, to be judged and not shown.
    """

    method: str
    status: int | None
    excerpt: str = ""
    error: str | None = None
    body: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """The answer in a few words."""
        return self.error or f"{self.status} {self.excerpt}".strip()


@dataclass(frozen=True)
class ProbeRow:
    """A probe beside its answer."""

    probe: Probe
    observed: Observed

    @property
    def ok(self) -> bool:
        """Whether the answer is the expected one."""
        expected = self.probe.expected
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
        super().__init__(
            cause, "compare with the policies in force: istioctl x describe pod POD.NAMESPACE"
        )


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
        return Observed(probe.method, None, error=_explain(error, timeout))
    return Observed(probe.method, answer.status_code, _excerpt(answer.text), body=answer.text)


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

    def observe() -> wait.State:
        nonlocal table
        before = table.summary
        table = ProbeTable(
            tuple(
                ProbeRow(probe, send(url, probe, timeout=probe_timeout, verify=verify))
                for probe in probes
            )
        )
        if on_answers is not None and table.summary != before:
            on_answers(table)
        return wait.State(table.ok, table.summary)

    try:
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
    if "certificate" in causes or "ssl" in causes or "tls" in causes:
        return f"TLS error: {error}"
    if "name or service not known" in causes or "getaddrinfo" in causes or "nodename" in causes:
        return "unknown host name"
    if "refused" in causes:
        return "connection refused"
    if "reset" in causes or "disconnected" in causes or "broken pipe" in causes:
        return "connection reset"
    return f"no answer: {error or type(error).__name__}"


def _chain(error: BaseException | None) -> list[str]:
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__} {error}")
        error = error.__cause__ or error.__context__
    return texts
