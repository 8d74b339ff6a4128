"""A small asynchronous client of the lab's API server, for the lab's own wiring.

The layers above use the official client; here one event loop serves everything, and only a few
calls are needed: get, list and watch, create, apply, patch, delete, TokenRequest.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import httpx

from runbook_lib.lab.foundation.certificates import Pair
from runbook_lib.lab.foundation.errors import LabError

Object = dict[str, Any]

FIELD_MANAGER = "istio-runbook-lab"


class Refused(LabError):
    """The API server answered a request with an error.

    Attributes:
        message: Its own words.
    """

    def __init__(self, request: str, status: int, message: str) -> None:
        self.message = message
        super().__init__(f"{request}: {status} {message}")


class TokenFile(httpx.Auth):
    """A service account's token, read for each request: the file's content is renewed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._path.read_text().strip()}"
        yield request


class Api:
    """The API server, spoken to with a client certificate or a service account's token."""

    def __init__(self, server: str, authority: Path, client: Pair | TokenFile) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        if isinstance(client, Pair):
            context.load_cert_chain(client.certificate, client.key)
        # A watch stays silent for as long as nothing happens.
        self._http = httpx.AsyncClient(
            base_url=server,
            verify=context,
            auth=client if isinstance(client, TokenFile) else None,
            timeout=httpx.Timeout(10, read=30),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ready(self) -> str | None:
        """None when the API server says it is ready, else what is missing."""
        try:
            answer = await self._http.get("/readyz")
        except httpx.HTTPError as error:
            return f"{self._http.base_url}readyz: {type(error).__name__}"
        if answer.status_code == 200:
            return None
        failing = [line for line in answer.text.splitlines() if line.startswith("[-]")]
        return f"/readyz answers {answer.status_code}: {', '.join(failing)}"

    async def get(self, path: str) -> Object | None:
        """Read one object; None when there is none."""
        answer = await self._http.get(path)
        return None if answer.status_code == 404 else _checked(answer)

    async def create(self, path: str, body: Object) -> Object:
        """Create an object, or a subresource such as `.../token`."""
        return _checked(await self._http.post(path, json=body))

    async def apply(self, path: str, body: Object, *, field_manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply, taking over conflicting fields: the lab owns what it wires."""
        answer = await self._http.patch(
            path,
            params={"fieldManager": field_manager, "force": "true"},
            content=json.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return _checked(answer)

    async def merge(self, path: str, body: Object) -> Object | None:
        """JSON merge patch; None when the object is gone."""
        answer = await self._http.patch(
            path,
            content=json.dumps(body),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        return None if answer.status_code == 404 else _checked(answer)

    async def delete(self, path: str, *, uid: str | None = None, grace: int | None = 0) -> None:
        """Delete at once; only the object with this UID, if one is given.

        Args:
            path: The object's.
            uid: Its UID.
            grace: Seconds that a pod has to end; None: as many as its spec says.
        """
        body: Object = {} if grace is None else {"gracePeriodSeconds": grace}
        if uid:
            body["preconditions"] = {"uid": uid}
        answer = await self._http.request("DELETE", path, json=body)
        if answer.status_code not in (404, 409):
            _checked(answer)

    async def watch(self, path: str, **params: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) for all that exists and all that changes, for ever.

        A broken watch is listed anew: `SYNC` with the list precedes the changes, so that the
        reader can drop what has gone in between.
        """
        while True:
            try:
                listed = _checked(await self._http.get(path, params=params))
                yield "SYNC", listed
                version = listed["metadata"]["resourceVersion"]
                async for event in self._follow(path, params | {"resourceVersion": version}):
                    yield event
            except (httpx.HTTPError, LabError):
                await asyncio.sleep(0.2)  # the API server is restarting; there is no event for it

    async def _follow(self, path: str, params: dict[str, str]) -> AsyncIterator[tuple[str, Object]]:
        query = params | {"watch": "true", "timeoutSeconds": "290"}
        timeout = httpx.Timeout(10, read=300)
        async with self._http.stream("GET", path, params=query, timeout=timeout) as answer:
            if answer.status_code != 200:
                await answer.aread()
                _checked(answer)
            async for line in answer.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event["type"], event["object"]


def _checked(answer: httpx.Response) -> Object:
    if answer.is_success:
        result: Object = answer.json()
        return result
    try:
        message = answer.json().get("message", answer.text)
    except ValueError:
        message = answer.text
    request = answer.request
    raise Refused(f"{request.method} {request.url.path}", answer.status_code, message)
