"""A stand-in for the Kiali operator: reconciles Kiali resources as the real one does.

Runs as its own process for pods whose image is `kiali-operator-stand-in`. The real operator runs
Ansible in a container, which the lab cannot have; this one reads the same fields, makes the same
objects and reports in the same words. It also reconciles when that one does: when the spec or an
annotation of the resource changes, when the operator starts, after a failure, and in the interval
of the annotation `ansible.sdk.operatorframework.io/reconcile-period`, if the resource has it. It
does not watch what it made: a change by hand is undone by the next reconciliation.

kopf watches the resources and keeps the finalizer; it writes nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import copy
import datetime as dt
import logging
import os
import re
import secrets
import string
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import kopf

from runbook_lib.lab.foundation.api import Api, Refused, TokenFile
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.standins import kiali_status as status
from runbook_lib.lab.standins.kiali_objects import (
    SIGNING_KEY,
    Operator,
    Sample,
    check_version,
    configure,
    home_label,
    labels,
    needs_signing_key,
    objects,
    role_names,
    settle,
)

Object = dict[str, Any]

GROUP, VERSION, PLURAL = "kiali.io", "v1alpha1", "kialis"
FINALIZER = "kiali.io/finalizer"
PERIOD = "ansible.sdk.operatorframework.io/reconcile-period"
FIELD_MANAGER = "kiali-operator"
# Seconds until a failed reconciliation is tried again; doubled each time.
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0

COLLECTIONS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

log = logging.getLogger("kiali-operator-stand-in")


class InvalidPeriod(LabError):
    """The annotation with the interval of reconciliations is not a duration."""


def parse_period(text: str) -> float:
    """Seconds of a duration as Go writes it, such as `1m30s`; 0 means never.

    Raises:
        InvalidPeriod: in the operator's words.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if text != "0" and (not parts or "".join(map("".join, parts)) != text):
        raise InvalidPeriod(
            f'Unable to parse reconcile period annotation: time: invalid duration "{text}"'
        )
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _path(kind: str, namespace: str, name: str) -> str:
    return f"{COLLECTIONS[kind].format(namespace)}/{name}"


@dataclass(frozen=True)
class Tools:
    """What every reconciliation needs."""

    api: Api
    sample: Sample
    operator: Operator


class Reconciliation:
    """One run for one Kiali resource."""

    def __init__(self, tools: Tools, resource: Object) -> None:
        self._tools, self._resource = tools, resource
        meta = resource["metadata"]
        self._path = (
            f"/apis/{GROUP}/{VERSION}/namespaces/{meta['namespace']}/{PLURAL}/{meta['name']}"
        )
        self._conditions: status.Conditions = list(
            (resource.get("status") or {}).get("conditions") or []
        )
        self._started, self._began = time.monotonic(), ""
        self._step = 0

    async def run(self) -> bool:
        """Reconcile and report; returns whether it succeeded."""
        self._began = _now()
        await self._report(status.running(self._conditions, self._began))
        try:
            period = self._resource["metadata"].get("annotations", {}).get(PERIOD)
            if period is not None:
                parse_period(period)
            await self._reconcile()
        except Refused as error:
            return await self._fail(f"Failed to patch object: {error.message}")
        except LabError as error:
            return await self._fail(error.cause)
        await self._report(status.succeeded(self._conditions, await self._end()))
        return True

    async def _reconcile(self) -> None:
        sample, operator = self._tools.sample, self._tools.operator
        check_version(self._resource.get("spec") or {})
        await self._progress(
            specVersion="default", deployment={"discoverySelectorNamespaces": None}
        )
        config = configure(self._resource, sample, operator)
        deployment = config["deployment"]
        cluster = await self._tools.api.get("/version") or {}
        await self._progress(
            environment={
                "isKubernetes": True,
                "kubernetesVersion": cluster.get("gitVersion", "").removeprefix("v"),
                "operatorVersion": operator.version,
            },
            deployment={
                "instanceName": deployment["instance_name"],
                "namespace": deployment["namespace"],
                "remoteClusterResourcesOnly": False,
            },
        )
        config = settle(config, sample, operator)
        await self._progress()
        await self._drop_obsolete_roles(config)
        await self._progress()
        if needs_signing_key(config):
            await self._keep_signing_key(config)
        await self._progress()
        desired = objects(config, sample)
        for each in desired:
            await self._apply(each)
        kinds = {each["kind"] for each in desired}
        for kind in {"Ingress", "NetworkPolicy"} - kinds:
            await self._delete(kind, deployment["namespace"], deployment["instance_name"])
        await self._progress()

    async def _drop_obsolete_roles(self, config: Object) -> None:
        """Delete the role and binding of another mode: what a binding refers to cannot change.

        Raises:
            LabError: the binding belongs to a Kiali in another namespace.
        """
        name, namespace = (config["deployment"][key] for key in ("instance_name", "namespace"))
        binding = await self._tools.api.get(_path("ClusterRoleBinding", "", name))
        if binding is None:
            return
        [subject] = binding["subjects"]
        if subject["namespace"] != namespace:
            raise LabError(
                "There is already a Kiali Server installed with `deployment.instance_name` of "
                f"[{name}] that has 'deployment.cluster_wide_access' set to true. You must use a "
                "different instance name."
            )
        role, other = role_names(config)
        if binding["roleRef"]["name"] != role:
            await self._delete("ClusterRoleBinding", "", name)
            await self._delete("ClusterRole", "", other)

    async def _keep_signing_key(self, config: Object) -> None:
        namespace = config["deployment"]["namespace"]
        path = _path("Secret", namespace, SIGNING_KEY)
        secret: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SIGNING_KEY, "namespace": namespace, "labels": labels(config)},
        }
        if await self._tools.api.get(path) is None:
            letters = string.ascii_letters + string.digits
            key = "".join(secrets.choice(letters) for _ in range(32))
            data = {"key": base64.b64encode(key.encode()).decode()}
            await self._tools.api.create(
                path.rpartition("/")[0], secret | {"type": "Opaque", "data": data}
            )
        secret["metadata"]["labels"] |= home_label(config)
        await self._tools.api.apply(path, secret, field_manager=FIELD_MANAGER)

    async def _apply(self, desired: Object) -> None:
        meta, own = desired["metadata"], self._resource["metadata"]
        if meta.get("namespace") == own["namespace"]:
            owner = {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "Kiali",
                "name": own["name"],
                "uid": own["uid"],
            }
            meta["ownerReferences"] = [owner]
        path = _path(desired["kind"], meta.get("namespace", ""), meta["name"])
        await self._tools.api.apply(path, desired, field_manager=FIELD_MANAGER)

    async def _delete(self, kind: str, namespace: str, name: str) -> None:
        await self._tools.api.delete(_path(kind, namespace, name))

    async def remove(self) -> None:
        """Delete everything that was made; what cannot be deleted is named in the log.

        As in the real operator, nothing here keeps the resource from going away.
        """
        spec, meta = self._resource.get("spec") or {}, self._resource["metadata"]
        asked = spec.get("deployment") or {}
        known = (self._resource.get("status") or {}).get("deployment") or {}
        name = known.get("instanceName") or asked.get("instance_name") or "kiali"
        namespace = known.get("namespace") or asked.get("namespace") or meta["namespace"]
        for kind, each in (
            ("NetworkPolicy", name),
            ("Ingress", name),
            ("Deployment", name),
            ("Service", name),
            ("ServiceAccount", f"{name}-service-account"),
            ("ClusterRoleBinding", name),
            ("ClusterRole", name),
            ("ClusterRole", f"{name}-viewer"),
            ("ConfigMap", name),
        ):
            try:
                await self._delete(kind, namespace, each)
            except LabError as error:
                log.warning("not deleted: %s", error)
        try:
            await self._give_up_signing_key(name, namespace)
        except LabError as error:
            log.warning("not deleted: %s", error)

    async def _give_up_signing_key(self, name: str, namespace: str) -> None:
        """Delete the signing key unless another Kiali of the namespace uses it."""
        path = _path("Secret", namespace, SIGNING_KEY)
        secret = await self._tools.api.get(path)
        if secret is None:
            return
        own = f"kiali.io/{name}.home"
        homes = [
            each
            for each in secret["metadata"].get("labels", {})
            if re.fullmatch(r"kiali\.io/.+\.home", each)
        ]
        if homes == [own]:
            await self._tools.api.delete(path)
        elif own in homes:
            await self._tools.api.merge(path, {"metadata": {"labels": {own: None}}})

    async def _progress(self, **more: Object | str) -> None:
        self._step += 1
        shown = status.progress(self._step, time.monotonic() - self._started)
        await self._patch_status(more | {"progress": shown})

    async def _report(self, conditions: status.Conditions) -> None:
        self._conditions = conditions
        await self._patch_status({"conditions": conditions})

    async def _fail(self, message: str) -> bool:
        log.error("%s: %s", self._path, message)
        await self._report(status.failed(self._conditions, message, await self._end()))
        return False

    async def _end(self) -> str:
        """The time of the end, in a later second than the start.

        A run of Ansible takes longer than the second in which conditions count, so that no two runs
        leave the same conditions; this is how their readers tell a new result from an old one.
        """
        while _now() == self._began:
            await asyncio.sleep(1 - time.time() % 1)
        return _now()

    async def _patch_status(self, change: Object) -> None:
        await self._tools.api.merge(f"{self._path}/status", {"status": change})


class Keeper:
    """Reconciles one Kiali resource again and again, until it is deleted."""

    def __init__(self, tools: Tools, path: str) -> None:
        self._tools, self._path = tools, path
        self._seen: object = None
        self._changed = asyncio.Event()
        self._stopping = False
        self._task = asyncio.create_task(self._run())

    def observe(self, resource: Object) -> None:
        """Reconcile soon, if something has changed that calls for it."""
        meta = resource["metadata"]
        seen = (meta["generation"], meta.get("annotations"))
        if seen != self._seen:
            self._seen = seen
            self._changed.set()

    async def stop(self) -> None:
        """End, after the reconciliation that runs: half of one would leave its objects behind."""
        self._stopping = True
        self._changed.set()
        await self._task

    async def _run(self) -> None:
        failures, delay = 0, None
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), delay)
                failures = 0
            if self._stopping:
                return
            self._changed.clear()
            done, delay = await self._reconcile()
            if not done:
                delay = min(BACKOFF_FIRST * 2**failures, BACKOFF_MOST)
                failures += 1

    async def _reconcile(self) -> tuple[bool, float | None]:
        """Whether it succeeded, and the seconds until the next time; None to wait for a change."""
        try:
            resource = await self._tools.api.get(self._path)
            if resource is None or "deletionTimestamp" in resource["metadata"]:
                return True, None
            log.info("%s: reconciliation starts", self._path)
            done = await Reconciliation(self._tools, resource).run()
            log.info("%s: reconciliation %s", self._path, "is done" if done else "failed")
            period = resource["metadata"].get("annotations", {}).get(PERIOD, "0")
            return done, (parse_period(period) or None) if done else None
        except (LabError, httpx.HTTPError) as error:
            log.warning("%s: %s", self._path, error or type(error).__name__)
            return False, None


class Keepers:
    """All Kiali resources that have been seen, by UID."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._keepers: dict[str, Keeper] = {}

    def observe(self, resource: Object) -> None:
        """Take note of a resource's state.

        One without the finalizer has to wait: it could go away without being cleaned up.
        """
        meta = resource["metadata"]
        if "deletionTimestamp" in meta or FINALIZER not in meta.get("finalizers", []):
            return
        if meta["uid"] not in self._keepers:
            path = f"/apis/{GROUP}/{VERSION}/namespaces/{meta['namespace']}/{PLURAL}/{meta['name']}"
            self._keepers[meta["uid"]] = Keeper(self._tools, path)
        self._keepers[meta["uid"]].observe(resource)

    async def remove(self, resource: Object) -> None:
        """Delete what was made for a resource, retrying while the API server is away."""
        keeper = self._keepers.pop(resource["metadata"]["uid"], None)
        if keeper:
            await keeper.stop()
        while True:
            try:
                await Reconciliation(self._tools, resource).remove()
            except httpx.HTTPError:
                await asyncio.sleep(1)  # the API server is restarting; there is no event for it
            else:
                return


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps no last state in the resource: generation and annotations tell what has changed."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 -- kopf's
        """Nothing."""
        return None

    def store(self, **_: object) -> None:
        """Nothing."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress in the resource: the only handler with one ends in one go."""

    def fetch(self, **_: object) -> None:
        """Nothing."""

    def store(self, **_: object) -> None:
        """Nothing."""

    def purge(self, **_: object) -> None:
        """Nothing."""

    def touch(self, **_: object) -> None:
        """Nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """The same, copied."""
        return copy.deepcopy(essence)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = FINALIZER
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    # The definition comes with the chart, before the operator.
    settings.scanning.disabled = True
    return settings


def _registry(options: argparse.Namespace, keepers: Keepers) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    which: Any = (GROUP, VERSION, PLURAL)

    # Asked again when the API server no longer takes the token.
    @kopf.on.login(registry=registry)
    def login(**_: object) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=options.server,
            ca_path=str(options.authority),
            token=options.token.read_text().strip(),
            trust_env=False,
        )

    @kopf.on.event(*which, registry=registry)
    async def seen(body: kopf.Body, **_: object) -> None:
        keepers.observe(dict(body))

    @kopf.on.delete(*which, registry=registry)
    async def deleted(body: kopf.Body, **_: object) -> None:
        await keepers.remove(dict(body))
        log.info("%s/%s: removed", body.metadata.namespace, body.metadata.name)

    return registry


async def serve(options: argparse.Namespace) -> None:
    """Reconcile until stopped."""
    version, namespace = os.environ["OPERATOR_VERSION"], os.environ.get("WATCH_NAMESPACE", "")
    api = Api(options.server, options.authority, TokenFile(options.token))
    operator = Operator(
        version,
        any_namespace=os.environ.get("ALLOW_AD_HOC_KIALI_NAMESPACE") == "true",
        any_image=os.environ.get("ALLOW_AD_HOC_KIALI_IMAGE") == "true",
    )
    log.info(
        "the lab's stand-in for the Kiali operator, not the real one: version %s, watching %s",
        version,
        f"namespace {namespace}" if namespace else "all namespaces",
    )
    await kopf.operator(
        registry=_registry(options, Keepers(Tools(api, Sample.read(options.sample), operator))),
        settings=_settings(),
        standalone=True,
        clusterwide=not namespace,
        namespaces=[namespace] if namespace else [],
        liveness_endpoint=f"http://{options.address}:{options.port}/healthz",
    )


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="where health is told")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server", required=True, help="URL of the API server")
    parser.add_argument("--authority", type=Path, required=True, help="its CA certificate")
    parser.add_argument("--token", type=Path, required=True, help="the service account's token")
    parser.add_argument("--sample", type=Path, required=True, help="Istio's Kiali add-on")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    # One line a request, a health check or an event would bury the rest.
    for noisy in ("httpx", "aiohttp.access", "kopf"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
