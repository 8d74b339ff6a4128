"""Read, apply, delete and watch objects of one cluster: thin over `kubernetes.dynamic`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from runbook_lib.base import (
    ApplyConflict,
    ClusterRefused,
    ClusterUnreachable,
    KindNotInstalled,
    wait,
)
from runbook_lib.base.redact import redact
from runbook_lib.cluster.connection import (
    REQUEST_TIMEOUT,
    Kubeconfig,
    api_errors,
    clock,
    connect,
)
from runbook_lib.cluster.events import KubeEvent
from runbook_lib.cluster.names import APPS, FIELD_MANAGER, RESTART_REASON, RESTARTED_AT
from runbook_lib.cluster.objects import Object, name_of, ref
from runbook_lib.cluster.watch import Watched, selectors

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient, Resource

Objects = list[Object]
"""Inside `Cluster`, `list` is a method."""

Texts = list[str]
Events = list[KubeEvent]
"""As above."""


class Connectable(Protocol):
    """What it takes to reach a cluster; a `Target` is one."""

    @property
    def kubeconfig(self) -> Kubeconfig:
        """The kubeconfig."""

    @property
    def context(self) -> str:
        """The context in it."""


class Everything(NamedTuple):
    """What is stored, as far as the server showed it.

    Attributes:
        objects: The objects.
        unread: What could not be read, such as `Secret (v1)`, and why.
    """

    objects: Objects
    unread: dict[str, ClusterRefused]


class Cluster:
    """One cluster, reached through one context of a kubeconfig.

    Every method raises `ClusterUnreachable` when the API server does not answer, `ClusterRefused`
    when it answers with an error, and `KindNotInstalled` for a kind that it does not serve.
    """

    def __init__(self, kubeconfig: Kubeconfig, context: str) -> None:
        """Nothing is contacted before the first request."""
        self.kubeconfig = kubeconfig
        self.context = context

    @classmethod
    def of(cls, target: Connectable) -> Cluster:
        """The cluster of a target."""
        return cls(target.kubeconfig, target.context)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Object | None:
        """Return one object, or None if there is none by that name."""
        resource = self._resource(api_version, kind)
        try:
            with self._errors(f"get {ref(kind, name, namespace)}"):
                found: Object = self._request(resource.get, name=name, namespace=namespace)
        except ClusterRefused as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Objects:
        """Return the objects of a kind, in one namespace or in all, that carry all `labels`."""
        return self.list_with_version(api_version, kind, namespace, labels)[0]

    def list_with_version(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> tuple[Objects, str]:
        """As `list`, and the resource version from which a watch continues."""
        resource = self._resource(api_version, kind)
        try:
            with self._errors(f"list {kind} in {namespace or 'all namespaces'}"):
                answer = self._request(
                    resource.get, namespace=namespace, **selectors(labels=labels, name=name)
                )
        except ClusterRefused as error:
            if error.status != 404:
                raise
            # It was served when it was looked up; a namespace that is missing has an empty list.
            raise KindNotInstalled(api_version, kind) from error
        # The server leaves apiVersion and kind out of a list's items.
        items = [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]
        # What is computed for each request, such as metrics, has no version.
        return items, answer["metadata"].get("resourceVersion", "")

    def everything(
        self, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Everything:
        """Look for all stored objects: of one namespace, or of all and those outside of any.

        Args:
            namespace: Only what is in it.
            labels: Only what carries all of them.

        What the server refuses to show, such as kinds that this user may not list or that an
        aggregated API serves which does not answer, is named in the result: whoever decides by what
        is *not* there must look at it. Kinds that vanish meanwhile have no objects.
        """
        found = Everything([], {})
        seen: set[tuple[str, str]] = set()
        with self._errors("look up all API versions"):
            versions = self.dynamic.resources.versions()
        for version in versions:
            try:
                with self._errors(f"look up the kinds of {version}"):
                    resources = self.dynamic.resources.stored(version)
            except ClusterRefused as error:
                found.unread[f"all kinds of {version}"] = error
                continue
            for resource in resources:
                kind = (version.rpartition("/")[0], resource.kind)
                if kind in seen or (namespace is not None and not resource.namespaced):
                    continue
                seen.add(kind)  # the same objects in every version
                try:
                    found.objects.extend(self.list(version, resource.kind, namespace, labels))
                except KindNotInstalled:
                    continue  # it was deleted meanwhile
                except ClusterRefused as error:
                    found.unread[f"{resource.kind} ({version})"] = error
        return found

    def apply(
        self,
        manifest: Object,
        *,
        dry_run: bool = False,
        force: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Object:
        """Apply a manifest server-side and return the resulting object.

        Args:
            manifest: The fields to own; fields left out are given up if they were owned before.
            dry_run: Ask for the result without storing it. Admission webhooks run, too.
            force: Take over fields that others manage.
            manager: Who owns the fields. Each apply says all that its manager wants of an object,
                so parts that come and go by themselves need managers of their own.

        Raises:
            ApplyConflict: Others manage fields that would change (and not `force`).
        """
        metadata = manifest["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace")
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        target = ref(manifest["kind"], name, namespace)
        try:
            with self._errors(f"apply {target}{' (dry run)' if dry_run else ''}"):
                result: Object = self._request(
                    resource.server_side_apply,
                    body=manifest,
                    name=name,
                    namespace=namespace,
                    field_manager=manager,
                    force_conflicts=force,
                    **({"dry_run": "All"} if dry_run else {}),
                )
        except ClusterRefused as error:
            raise conflict(target, error) or error from error.__cause__
        return result

    def create(self, item: Object) -> Object:
        """Create an object, and return it as it then is.

        Raises:
            ClusterRefused: There is one of that name (status 409), for example.
        """
        return self._write("create", item)

    def replace(self, item: Object) -> Object:
        """Put an object in the place of the version that it was read as, and return it.

        Raises:
            ClusterRefused: Others have written it since (status 409), for example.
        """
        return self._write("replace", item)

    def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        only: Mapping[str, str] | None = None,
    ) -> bool:
        """Delete an object; return whether there was one. What it owns is collected later.

        Args:
            api_version: Its API version.
            kind: Its kind.
            name: Its name.
            namespace: Its namespace.
            only: The `uid` and `resourceVersion` that it must still have.

        Raises:
            ClusterRefused: It is not that one any more (status 409), for example.
        """
        options = {"preconditions": dict(only)} if only else {}
        resource = self._resource(api_version, kind)
        try:
            with self._errors(f"delete {ref(kind, name, namespace)}"):
                self._request(
                    resource.delete,
                    name=name,
                    namespace=namespace,
                    body={**options, "propagationPolicy": "Background"},
                )
        except ClusterRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    def restart(self, kind: str, name: str, namespace: str, reason: str) -> Object:
        """Restart a workload's pods as `kubectl rollout restart` does, recording `reason`.

        Only the two annotations are applied, so nothing else of the workload changes hands;
        the restart stamp is taken over from kubectl if it was set there.

        Raises:
            ClusterRefused: There is no such workload (status 404).
        """
        if self.get(APPS, kind, name, namespace) is None:
            raise ClusterRefused(
                f"restart {ref(kind, name, namespace)}: there is no such workload",
                f"list the ones that exist: kubectl --namespace {namespace} get {kind}",
                status=404,
                reason="NotFound",
            )
        # Finer than kubectl's seconds: two restarts in the same one would be a single one.
        moment = datetime.now(UTC).isoformat(timespec="microseconds")
        annotations = {
            RESTARTED_AT: moment.replace("+00:00", "Z"),
            RESTART_REASON: reason,
        }
        return self.apply(
            {
                "apiVersion": APPS,
                "kind": kind,
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"template": {"metadata": {"annotations": annotations}}},
            },
            force=True,
        )

    def events(self, namespace: str, name: str, *, kind: str | None = None) -> Events:
        """Return the events about the object `name`, newest last.

        Args:
            namespace: The object's namespace.
            name: The object's name; objects of other kinds may have the same.
            kind: The object's kind; None for all.
        """
        selector = f"involvedObject.name={name}"
        if kind:
            selector += f",involvedObject.kind={kind}"
        resource = self._resource("v1", "Event")
        with self._errors(f"list events of {namespace}/{name}"):
            answer = self._request(resource.get, namespace=namespace, field_selector=selector)
        events = sorted(answer["items"], key=_last_seen)
        return [KubeEvent.of(event) for event in events]

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        lines: int | None = None,
        since: str = "",
        timestamps: bool = False,
    ) -> Texts:
        """Return what a container wrote, redacted.

        Args:
            namespace: The pod's namespace.
            pod: Its name.
            container: The container's name.
            lines: Only so many lines, the last ones.
            since: Only what was written from this second on, such as `2026-01-02T03:04:05Z`.
            timestamps: Whether each line begins with the moment at which it was written.
        """
        asked = {"container": container, "tailLines": lines, "sinceTime": since}
        if timestamps:
            asked["timestamps"] = "true"
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        with self._errors(f"read the log of {namespace}/{pod} {container}"):
            answer = self.dynamic.request(
                "get",
                path,
                query_params=[(key, value) for key, value in asked.items() if value],
                header_params={"Accept": "*/*"},
                serialize=False,  # a line may be JSON, and is text all the same
                _request_timeout=REQUEST_TIMEOUT,
            )
        return redact(answer.data.decode("utf-8", "replace")).splitlines()

    def watch_until(
        self,
        what: str,
        api_version: str,
        kind: str,
        namespace: str | None,
        observe: Callable[[Objects], wait.State],
        *,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float,
        on_change: Callable[[str], None] | None = None,
    ) -> wait.State:
        """Watch objects until `observe` finds them done.

        `observe` gets all selected objects, first at once and then at every change; also every
        few seconds, because reasons such as events are not part of the objects watched.

        Args:
            what: What is waited for, completing "waiting for ...".
            api_version: API version of the objects.
            kind: Kind of the objects.
            namespace: Their namespace; None for all.
            observe: Judges the objects.
            labels: Labels that they carry.
            name: The name, to watch a single object.
            timeout: Seconds in all.
            on_change: Told the state's text whenever it differs.

        Raises:
            WaitFailed: `observe` says that it cannot happen any more.
            WaitTimeout: Time is up; the error shows the last state.
        """
        with Watched(self, api_version, kind, namespace, labels=labels, name=name) as watched:
            watched.objects()  # an API server that does not answer now is an error

            def look() -> wait.State:
                try:
                    return observe(watched.objects())
                except ClusterUnreachable as error:  # later it is a state: it may come back
                    return wait.State(False, error.cause)

            return wait.until(
                what,
                look,
                timeout=timeout,
                interval=Watched.REFRESH_SECONDS,
                on_change=on_change,
                sleep=watched.wait,
            )

    def uid(self) -> str:
        """The cluster's identity: the UID of the namespace kube-system, which is never renewed."""
        namespace = self.get("v1", "Namespace", "kube-system")
        if namespace is None:
            raise ClusterRefused(
                "the cluster has no namespace kube-system",
                "check that the API server has finished starting",
                status=404,
                reason="NotFound",
            )
        return str(namespace["metadata"]["uid"])

    def server_version(self) -> str:
        """The API server's version, such as `v1.36.3`."""
        with self._errors("ask for the version"):
            answer = self.dynamic.request(
                "get", "/version", serializer=_plain, _request_timeout=REQUEST_TIMEOUT
            )
        return str(answer["gitVersion"])

    def time(self) -> datetime | None:
        """The time in UTC by the API server's clock, to a second; None if it does not say."""
        with self._errors("ask for the time"):
            answer = self.dynamic.request(
                "get", "/version", serialize=False, _request_timeout=REQUEST_TIMEOUT
            )
        return clock.time_in(answer.headers)

    @cached_property
    def dynamic(self) -> DynamicClient:
        """The client underneath."""
        from kubernetes.dynamic import DynamicClient

        from runbook_lib.cluster.kinds import Kinds

        return DynamicClient(connect(self.kubeconfig, self.context), discoverer=Kinds)

    def _resource(self, api_version: str, kind: str) -> Resource:
        client = self.dynamic
        with self._errors(f"look up the kind {kind} ({api_version})"):
            resource: Resource = client.resources.get(api_version=api_version, kind=kind)
        return resource

    def _write(self, verb: Literal["create", "replace"], item: Object) -> Object:
        namespace = item["metadata"].get("namespace")
        resource = self._resource(item["apiVersion"], item["kind"])
        with self._errors(f"{verb} {ref(item['kind'], name_of(item), namespace)}"):
            written: Object = self._request(getattr(resource, verb), body=item, namespace=namespace)
        return written

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return api_errors(self.kubeconfig, self.context, doing)

    @staticmethod
    def _request(method: Callable[..., Any], **arguments: Any) -> Any:
        return method(serializer=_plain, _request_timeout=REQUEST_TIMEOUT, **arguments)


def _plain(_client: object, data: Any) -> Any:
    return data


def conflict(target: str, error: ClusterRefused) -> ApplyConflict | None:
    """Return the conflict in a 409 answer to an apply: the Status lists it field by field."""
    if error.status != 409 or error.__cause__ is None:
        return None
    try:
        details = json.loads(getattr(error.__cause__, "body", "") or "").get("details") or {}
    except ValueError:
        return None
    causes = [c for c in details.get("causes") or [] if c.get("reason") == "FieldManagerConflict"]
    if not causes:
        return None
    # The manager stands only in the message: conflict with "NAME" using VERSION at TIME
    managers = sorted({c["message"].split('"')[1] for c in causes if '"' in c["message"]})
    return ApplyConflict(target, managers or ["another manager"], [c["field"] for c in causes])


def _last_seen(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"]["creationTimestamp"]
    )


def live_object(cluster: Cluster, item: Object) -> Object | None:
    """Return the object that a manifest names, as it is in the cluster.

    Returns:
        None if there is none; of a kind that the cluster does not know there cannot be one. Kinds
        without a namespace ignore the one that a manifest may name.
    """
    namespace = item["metadata"].get("namespace")
    try:
        return cluster.get(item["apiVersion"], item["kind"], name_of(item), namespace)
    except KindNotInstalled:
        return None


_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
"""Asks for what `kubectl get` prints in place of the object: name, type, and how many keys. See
https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables."""


def type_of_secret(cluster: Cluster, name: str, namespace: str) -> str | None:
    """Return a Secret's type, None if there is none; its content stays where it is.

    One of the type `TLS_SECRET` has certificate and key: the API server refuses others.

    Raises:
        ClusterUnreachable: No answer.
        ClusterRefused: This account may not look.
    """
    try:
        with api_errors(
            cluster.kubeconfig, cluster.context, f"look for {ref('Secret', name, namespace)}"
        ):
            table = cluster.dynamic.request(
                "get",
                f"/api/v1/namespaces/{namespace}/secrets/{name}",
                query_params=[("includeObject", "None")],
                header_params={"Accept": _TABLE},
                serializer=_plain,
                _request_timeout=REQUEST_TIMEOUT,
            )
    except ClusterRefused as error:
        if error.status == 404:
            return None
        raise
    names = [column["name"] for column in table["columnDefinitions"]]
    (row,) = table["rows"]
    return str(row["cells"][names.index("Type")])
