"""Volumes for claims: a storage class that makes one at once, as a folder of the lab's."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx

from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.errors import LabError

Object = dict[str, Any]

STORAGE_CLASS = "lab"
_PROVISIONER = "istio-runbook/lab"


async def provide_volumes(api: Api, folder: Path) -> None:
    """Make the storage class the default, then a volume for every claim of it, for ever.

    Args:
        api: The API server.
        folder: Holds a folder for each volume, by its name.
    """
    await api.apply(
        f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}",
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": _PROVISIONER,
            "volumeBindingMode": "Immediate",
            "reclaimPolicy": "Delete",
        },
    )
    async for event, item in api.watch("/api/v1/persistentvolumeclaims"):
        for claim in item["items"] if event == "SYNC" else [item]:
            try:
                if event == "DELETED":
                    await _remove(api, claim, folder)
                else:
                    await _provide(api, claim)
            except (LabError, httpx.HTTPError):
                await asyncio.sleep(0.5)  # the claim changes again once its class is there


async def _provide(api: Api, claim: Object) -> None:
    spec, meta = claim["spec"], claim["metadata"]
    if spec.get("volumeName") or spec.get("storageClassName") != STORAGE_CLASS:
        return
    name = f"pvc-{meta['uid']}"
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }
    await api.apply(
        f"/api/v1/persistentvolumes/{name}",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": reference,
                "hostPath": {"path": f"/volumes/{name}"},
            },
        },
    )


async def _remove(api: Api, claim: Object, folder: Path) -> None:
    spec = claim["spec"]
    if spec.get("volumeName") and spec.get("storageClassName") == STORAGE_CLASS:
        await api.delete(f"/api/v1/persistentvolumes/{spec['volumeName']}")
        shutil.rmtree(folder / spec["volumeName"], ignore_errors=True)
