"""Keep a selection of objects up to date by watching the API server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runbook_lib.base import ClusterUnreachable, wait
from runbook_lib.cluster.connection import REQUEST_TIMEOUT, api_errors

if TYPE_CHECKING:
    from runbook_lib.cluster.client import Cluster
    from runbook_lib.cluster.objects import Object

_RETRY_SECONDS = 0.5


class Watched:
    """The selected objects, kept current.

    A watch continues from the list's resource version, so no change between the two is missed. One
    that the server ended is continued; one that broke, or whose version is too old, is begun anew
    with a list. See https://kubernetes.io/docs/reference/using-api/api-concepts/.
    """

    REFRESH_SECONDS = 2.0
    """The longest time without a look, in case nothing changes."""

    def __init__(
        self,
        cluster: Cluster,
        api_version: str,
        kind: str,
        namespace: str | None,
        *,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self._cluster = cluster
        self._api_version = api_version
        self._kind = kind
        self._namespace = namespace
        self._labels = labels
        self._name = name
        self._objects: dict[str, Object] | None = None
        self._version = ""
        self._response: Any = None
        self._events: Iterator[dict[str, Any]] = iter(())

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close()

    def objects(self) -> list[Object]:
        """Return the objects as last seen, listing them if that has to be begun (anew).

        Raises:
            ClusterUnreachable: The API server does not answer.
        """
        if self._objects is None:
            items, self._version = self._cluster.list_with_version(
                self._api_version, self._kind, self._namespace, self._labels, self._name
            )
            self._objects = {item["metadata"]["uid"]: item for item in items}
        return list(self._objects.values())

    def wait(self, seconds: float) -> None:
        """Return at the next change, or after about `seconds`."""
        import urllib3

        if self._objects is None:
            # The last look failed, too: the API server is away.
            wait.pause(min(seconds, _RETRY_SECONDS))
            return
        try:
            if self._response is None:
                self._open(seconds)
            event = next(self._events, None)
        except (urllib3.exceptions.HTTPError, ValueError, ClusterUnreachable):
            # The connection broke, or an event came half.
            self._begin_anew()
            return
        if event is None:
            self._close()
        else:
            self._take(event)

    def _open(self, seconds: float) -> None:
        limit = max(1, math.ceil(seconds))
        with api_errors(self._cluster.kubeconfig, self._cluster.context, f"watch {self._kind}"):
            resource = self._cluster.dynamic.resources.get(
                api_version=self._api_version, kind=self._kind
            )
            self._response = resource.get(
                namespace=self._namespace,
                watch=True,
                resource_version=self._version,
                timeout_seconds=limit,
                serialize=False,
                _request_timeout=(REQUEST_TIMEOUT[0], limit + REQUEST_TIMEOUT[1]),
                **selectors(labels=self._labels, name=self._name),
            )
        self._events = _events(self._response)

    def _take(self, event: dict[str, Any]) -> None:
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            # Usually 410: the version is too old to continue from.
            self._begin_anew()
            return
        assert self._objects is not None
        self._version = item["metadata"]["resourceVersion"]
        if kind == "DELETED":
            self._objects.pop(item["metadata"]["uid"], None)
        elif kind in ("ADDED", "MODIFIED"):
            self._objects[item["metadata"]["uid"]] = item

    def _begin_anew(self) -> None:
        self._objects = None
        self._close()

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response = None
        self._events = iter(())


def selectors(*, labels: Mapping[str, str] | None, name: str | None) -> dict[str, str]:
    """Return the API's selector arguments."""
    arguments = {}
    if labels:
        arguments["label_selector"] = ",".join(f"{key}={value}" for key, value in labels.items())
    if name:
        arguments["field_selector"] = f"metadata.name={name}"
    return arguments


def _events(response: Any) -> Iterator[dict[str, Any]]:
    """Yield the events of a watch: the body is one JSON object a line."""
    buffer = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
