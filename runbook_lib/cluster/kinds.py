"""Find out how the API server serves a kind; knows at once when a CRD has been installed."""

from __future__ import annotations

from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient, Resource

from runbook_lib.base import KindNotInstalled
from runbook_lib.cluster.connection import REQUEST_TIMEOUT


class Kinds:
    """The part of discovery that the dynamic client needs, one API version at a time.

    The client's own discoverers keep a cache file in the common temporary folder, named after the
    server's URL: it outlives clusters, others can write it, and new kinds are looked for in it.
    Here a kind that was found is remembered in memory, and one that was not is asked for again.
    """

    def __init__(self, client: DynamicClient, _cache_file: object = None) -> None:
        self._client = client
        self._found: dict[tuple[str, str], Resource] = {}

    def get(self, *, api_version: str, kind: str) -> Resource:
        """Return how `kind` is served.

        Raises:
            KindNotInstalled: The server has no such API version, or no such kind in it.
        """
        if (api_version, kind) not in self._found:
            self._discover(api_version)
        try:
            return self._found[api_version, kind]
        except KeyError:
            raise KindNotInstalled(api_version, kind) from None

    def versions(self) -> list[str]:
        """Return every API version, of each group the one first that the server prefers."""
        found = ["v1"]
        for group in self._ask("/apis")["groups"]:
            preferred = group["preferredVersion"]["groupVersion"]
            every = (version["groupVersion"] for version in group["versions"])
            found += [preferred, *(version for version in every if version != preferred)]
        return found

    def stored(self, api_version: str) -> list[Resource]:
        """Return the kinds of an API version that are stored and can be listed, asking anew.

        Kinds without watches, such as metrics, are computed when they are asked for.
        """
        self._discover(api_version)
        return [
            resource
            for (version, _), resource in self._found.items()
            if version == api_version and {"list", "watch"} <= set(resource.verbs)
        ]

    def _discover(self, api_version: str) -> None:
        group, _, version = api_version.rpartition("/")
        prefix = "apis" if group else "api"
        try:
            answer = self._ask(f"/{prefix}/{api_version}")
        except ApiException as error:
            if error.status == 404:
                return
            raise
        for entry in answer["resources"]:
            if "/" not in entry["name"]:  # a subresource, such as pods/log
                self._found[api_version, entry["kind"]] = self._resource(
                    prefix, group, version, entry
                )

    def _ask(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.request(
            "get",
            path,
            serializer=lambda _client, data: data,
            _request_timeout=REQUEST_TIMEOUT,
        )
        return answer

    def _resource(self, prefix: str, group: str, version: str, entry: dict[str, Any]) -> Resource:
        return Resource(
            prefix=prefix,
            group=group,
            api_version=version,
            kind=entry["kind"],
            namespaced=entry["namespaced"],
            verbs=entry["verbs"],
            name=entry["name"],
            client=self._client,
        )
