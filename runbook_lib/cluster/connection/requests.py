"""What is asked again when an API server does not answer, or says to come back, and what is not.

The rules are client-go's, with two additions. An answer that says when to come back has changed
nothing, so the request is repeated, whatever it is. Where the connection breaks it is unknown
whether the request was carried out, so it is repeated only if twice is as good as once: everything
but POST, as every PATCH of the runbook is a server-side apply, and every PUT names the version that
it replaces. And a server that has answered before is waited for some seconds, because one that is
restarted comes back. See
https://github.com/kubernetes/client-go/blob/master/rest/with_retry.go and
https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from kubernetes.client.rest import RESTClientObject
from urllib3 import HTTPHeaderDict, Retry
from urllib3.exceptions import MaxRetryError, ProtocolError

from runbook_lib.base import METER

if TYPE_CHECKING:
    from kubernetes.client import Configuration

_TOO_MANY_REQUESTS, _UNAUTHORIZED = 429, 401

_OF_LOAD_BALANCERS = (502, 504)
"""What a load balancer answers while no API server is behind it."""

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})

_TIMES = 6
"""How often something is repeated: with the pauses between, 11.5 s where nothing listens."""

_LONGEST_PAUSE = 10.0
"""Seconds: an API server that asks for more does not come back soon."""


class Renew(Protocol):
    """Puts a fresh credential into a configuration, where the one it holds has expired."""

    def __call__(self, configuration: Configuration, *, refused: bool = False) -> None:
        """Called before each request, and where the API server refused the credential."""


class Patience(Retry):
    """How often a request is repeated, and when."""

    _answered: threading.Event

    @classmethod
    def at_first(cls) -> Self:
        """The patience of a new client.

        Until the server has answered once a failure is repeated a single time: it may be the wrong
        address, and the message should not take long.
        """
        made = cls(
            total=_TIMES,
            read=2,  # each may take as long as a request may
            redirect=0,
            allowed_methods=_REPEATABLE,
            backoff_factor=0.25,
            backoff_max=4,
            raise_on_status=False,  # the last answer says more than that there were too many
        )
        made._answered = threading.Event()
        return made

    def new(self, **changes: Any) -> Self:
        """As of `Retry`; all requests of a client share whether the server has answered."""
        made = super().new(**changes)
        made._answered = self._answered
        return made

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether an answer asks for the request to be repeated."""
        self._answered.set()
        told = has_retry_after and (status_code == _TOO_MANY_REQUESTS or status_code >= 500)
        away = method in ("GET", "HEAD") and status_code in _OF_LOAD_BALANCERS
        return bool(self.total) and (told or away)

    def get_retry_after(self, response: Any) -> float | None:
        """Seconds that an answer asks to wait, within bounds."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_PAUSE)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        *others: Any,
        **named: Any,
    ) -> Self:
        """As of `Retry`; less where nothing has answered yet."""
        if error is not None and self.history and not self._answered.is_set():
            pool: Any = named.get("_pool")
            raise MaxRetryError(pool, url or "", error) from error
        return super().increment(method, url, response, error, *others, **named)


class Requests(RESTClientObject):
    """Sends requests as the user of a kubeconfig, and repeats them by the rules above."""

    def __init__(
        self,
        configuration: Configuration,
        identity: Sequence[tuple[str, str]],
        renew: Renew | None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            configuration: The client's.
            identity: Headers that each request gets.
            renew: What asks for another credential, where there is a way.
        """
        super().__init__(configuration)
        self._identity, self._renew = identity, renew

    def request(
        self, method: Any, url: Any, headers: Any = None, *others: Any, **named: Any
    ) -> Any:
        """Send a request; the answer of anything but a watch is there as a whole."""
        every = HTTPHeaderDict(headers or {})  # one name may stand there several times
        for name, value in self._identity:
            every.add(name, value)
        METER.asked()
        send: Callable[..., Any] = super().request
        answer = send(method, url, every, *others, **named)
        if answer.status == _UNAUTHORIZED and self._renew is not None:
            self._renew(self.configuration, refused=True)
            every["authorization"] = self.configuration.auth_settings()["BearerToken"]["value"]
            answer = send(method, url, every, *others, **named)
        if "watch=" not in url:
            try:
                answer.read()
            except ProtocolError:  # it was cut in the middle
                if method not in _REPEATABLE:
                    raise
                answer = send(method, url, every, *others, **named)
                answer.read()
        return answer
