"""Four clients of the site that never pause, and what they notice."""

from __future__ import annotations

import gc
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from runbook_lib.lifecycle import Client, Loss
from runbook_lib.site import dicom
from tests.labs import LOGIN_PAGE

PAUSE = 0.5
"""Seconds between two rounds of a client: as many answers as the lab has the time for."""

PIECES, PIECE = 12, bytes(1 << 20)
"""A large upload: its pieces, of a MiB each, and the seconds between two of them."""
SLOWLY = 0.25


@dataclass(frozen=True)
class Attempt:
    """One thing that a client tried.

    Attributes:
        client: Who.
        what: The request in a few words.
        began: When it began.
        ended: When it was answered, or given up.
        problem: What went wrong; empty if nothing did.
        losses: Which announced losses it may come from.
    """

    client: Client
    what: str
    began: datetime
    ended: datetime
    problem: str = ""
    losses: tuple[Loss, ...] = ()


NO_ANSWER = (Loss.EVERYTHING, Loss.SINGLE_REQUESTS)


class Problem(Exception):
    """An answer that is not the right one.

    Args:
        text: What came instead.
        losses: Which announced losses it may come from.
    """

    def __init__(self, text: str, *losses: Loss) -> None:
        super().__init__(text)
        self.losses = losses


@dataclass
class _Endless(ABC):
    """A client that goes on until it is told to stop."""

    url: str
    attempts: list[Attempt] = field(default_factory=list)
    leaving: threading.Event = field(default_factory=threading.Event)

    client: Client = field(init=False)

    def run(self) -> None:
        while not self.leaving.wait(PAUSE):
            self.once()

    @abstractmethod
    def once(self) -> None:
        """Try everything once."""

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Keep what became of one try."""
        began, problem, losses = datetime.now(UTC), "", tuple[Loss, ...]()
        try:
            yield
        except Problem as error:
            problem, losses = str(error), error.losses
        except httpx.HTTPError as error:
            problem, losses = repr(error), NO_ANSWER
        ended = datetime.now(UTC)
        self.attempts.append(Attempt(self.client, what, began, ended, problem, losses))

    def ask(self, session: httpx.Client, method: str, path: str, status: int) -> httpx.Response:
        answer = session.request(method, f"{self.url}{path}")
        return self.judged(answer, status)

    @staticmethod
    def judged(answer: httpx.Response, status: int) -> httpx.Response:
        found = answer.status_code
        if found == status:
            return answer
        text = f"{found}, not {status}: {answer.text[:60]!r}"
        if found == 500:
            raise Problem(text, *NO_ANSWER, Loss.DEPENDENT)
        if found in (502, 503, 504):
            raise Problem(text, *NO_ANSWER)
        raise Problem(text)


class Browser(_Endless):
    """Logs in, looks around, saves, and notices when it has been logged out."""

    client = Client.BROWSER
    _rounds = 0
    _session: httpx.Client | None = None
    _id = ""

    def once(self) -> None:
        if self._session is None or self._rounds % 20 == 0:
            if self._session is not None:
                self._session.close()
            self._session = httpx.Client(timeout=10, trust_env=False)
            self._id = ""
        session = self._session
        self._rounds += 1
        with self.attempt("GET a page"):
            self.ask(session, "GET", LOGIN_PAGE, 200)
        if not self._id:
            with self.attempt("log in"):
                self.ask(session, "POST", "/login", 302)
                self._id = session.cookies["JSESSIONID"]
            return
        with self.attempt("be logged in"):
            found = self.ask(session, "GET", "/data/JSESSION", 200).text
            if found != self._id:
                self._id = ""
                raise Problem("logged out", Loss.UNFINISHED)
        with self.attempt("POST a change"):
            self.ask(session, "POST", "/data/projects/p", 200)


class Rest(_Endless):
    """Begins a session, writes and deletes, each over a connection of its own."""

    client = Client.REST

    def once(self) -> None:
        for method, path in (
            ("PUT", "/data/projects/p/subjects/s"),
            ("DELETE", "/data/projects/p/subjects/s"),
            ("OPTIONS", "/data/projects"),
            ("GET", "/data/JSESSION"),
        ):
            with self.attempt(f"{method} {path}"), httpx.Client(timeout=10, trust_env=False) as one:
                self.ask(one, method, path, 200)


class Upload(_Endless):
    """Sends a large file, which takes some seconds."""

    client = Client.UPLOAD

    def once(self) -> None:
        with self.attempt("PUT a large file"):
            try:
                answer = httpx.put(
                    f"{self.url}/data/archive", content=self._pieces(), timeout=30, trust_env=False
                )
            except httpx.HTTPError as error:
                raise Problem(repr(error), *NO_ANSWER, Loss.UNFINISHED) from error
            if answer.status_code in (502, 503, 504):
                raise Problem(str(answer.status_code), *NO_ANSWER, Loss.UNFINISHED)
            text = self.judged(answer, 200).text
            if text != f"received {PIECES * len(PIECE)} bytes\n":
                raise Problem(text)

    def _pieces(self) -> Iterator[bytes]:
        for _ in range(PIECES):
            yield PIECE
            # A file comes as fast as its network lets it, and the run may end meanwhile.
            self.leaving.wait(SLOWLY)


@dataclass
class Device(_Endless):
    """Asks the DICOM receiver whether it is there."""

    host: str = ""
    port: int = 0
    client = Client.DEVICE

    def once(self) -> None:
        with self.attempt("C-ECHO"):
            found = dicom.echo(self.host, self.port, timeout=10)
            if not found.answered:
                raise Problem(found.text, *NO_ANSWER)


@contextmanager
def at_work(clients: Sequence[_Endless]) -> Iterator[None]:
    """Have clients work until the block ends."""
    with ExitStack() as stack:
        for each in clients:
            thread = threading.Thread(target=each.run, name=each.client)
            thread.start()
            stack.callback(thread.join)
        try:
            yield
        finally:
            for each in clients:
                each.leaving.set()
    gc.collect()  # pynetdicom leaves sockets of refused associations to it
