"""A cluster as it is at one moment: what was read once is not asked for again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from runbook_lib.base import ApplyConflict, ClusterRefused, KindNotInstalled

if TYPE_CHECKING:
    from runbook_lib.cluster.client import Cluster
    from runbook_lib.cluster.objects import Object


_ANSWERS = (ApplyConflict, ClusterRefused, KindNotInstalled)
"""What the API server says as well as an object: after any other error it is asked again."""


def snapshot(cluster: Cluster) -> Cluster:
    """Return the same cluster for one look at it, from several threads if need be.

    What it is asked twice, it answers as the first time: so all that a plan is made of is of one
    moment, and steps that look at the same things ask for them once. Waits and watches see what
    happens, and a change lets it forget what it has read. What it returns must not be changed.
    """
    return cast("Cluster", _Snapshot(cluster))


class _Snapshot:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._known: dict[tuple[Any, ...], Future[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        """Hand on everything else: what is made of requests, and waits."""
        return getattr(self._cluster, name)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Object | None:
        key = ("get", api_version, kind, name, namespace)
        found: Object | None = self._once(
            key, lambda: self._cluster.get(api_version, kind, name, namespace)
        )
        return found

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[Object]:
        key = ("list", api_version, kind, namespace, *sorted((labels or {}).items()))
        found = self._once(key, lambda: self._cluster.list(api_version, kind, namespace, labels))
        return [*found]

    def server_version(self) -> str:
        return str(self._once(("version",), self._cluster.server_version))

    def apply(self, manifest: Object, *, dry_run: bool = False, **options: Any) -> Object:
        if not dry_run:
            return cast("Object", self._change("apply", manifest, **options))
        key = ("apply", json.dumps(manifest, sort_keys=True), *sorted(options.items()))
        tried: Object = self._once(
            key, lambda: self._cluster.apply(manifest, dry_run=True, **options)
        )
        return tried

    def create(self, item: Object) -> Object:
        return cast("Object", self._change("create", item))

    def replace(self, item: Object) -> Object:
        return cast("Object", self._change("replace", item))

    def delete(self, *place: Any, **options: Any) -> bool:
        return bool(self._change("delete", *place, **options))

    def restart(self, *place: Any) -> Object:
        return cast("Object", self._change("restart", *place))

    def _once(self, key: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        """Return the answer to a question; who asks while another thread does waits for it."""
        with self._lock:
            known = self._known.get(key)
            answer = known or self._known.setdefault(key, Future())
        if known is None:
            try:
                answer.set_result(ask())
            except BaseException as error:
                if not isinstance(error, _ANSWERS):
                    with self._lock:
                        self._known.pop(key, None)
                answer.set_exception(error)
        return answer.result()

    def _change(self, verb: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._cluster, verb)(*arguments, **options)
        finally:
            with self._lock:
                self._known = {}
