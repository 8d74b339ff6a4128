"""Write the files that a kubelet would mount into a container: tokens, ConfigMaps, pod fields.

A container's files live under a folder of its own that plays its root file system. Istio's
programs name all of theirs relative to the working directory, which is that folder. Volumes that
containers share, such as emptyDir and bound claims, are links there.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.certificates import write_private
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.workloads.pods import Container, Sources, field

Object = dict[str, Any]

# Kubernetes' default lifetime of a projected token, and the shortest it issues, in seconds.
TOKEN_LIFETIME = 3600


class NotMountable(LabError):
    """A volume's source does not exist yet; a kubelet waits for it, and so does the runtime."""


class Volumes:
    """The volumes of one pod.

    Args:
        api: Where ConfigMaps, Secrets and tokens come from.
        shared: Holds a folder for each volume that the pod's containers share.
        claims: Holds a folder for each bound claim of the lab, by its volume's name.
    """

    def __init__(self, api: Api, shared: Path, claims: Path) -> None:
        self._api, self._shared, self._claims = api, shared, claims

    async def mount(self, pod: Object, container: Container, root: Path) -> None:
        """Bring every volume that the container mounts below `root`, its content up to date.

        Raises:
            NotMountable: what a volume refers to does not exist yet.
        """
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        for mounted in container.spec.get("volumeMounts", []):
            place = root / mounted["mountPath"].strip("/")
            volume = volumes[mounted["name"]]
            folder = await self._folder(pod, volume)
            if folder:
                _link(place, folder / mounted.get("subPath", ""))
                continue
            files = await _files(self._api, pod, volume)
            if "subPath" in mounted:
                files = {"": files[mounted["subPath"]]}
            for path, content in files.items():
                target = place / path if path else place
                target.parent.mkdir(parents=True, exist_ok=True)
                write_private(target, content)

    async def _folder(self, pod: Object, volume: Object) -> Path | None:
        """The folder that a volume is; None for one that is made of files."""
        if "persistentVolumeClaim" in volume:
            namespace = pod["metadata"]["namespace"]
            claim = volume["persistentVolumeClaim"]["claimName"]
            path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}"
            found = await self._api.get(path) or {}
            bound = found.get("spec", {}).get("volumeName")
            if not bound:
                raise NotMountable(f"PersistentVolumeClaim {namespace}/{claim} is not bound")
            return self._claims / str(bound)
        made_of_files = {"projected", "configMap", "downwardAPI", "secret"} & volume.keys()
        return None if made_of_files else self._shared / str(volume["name"])

    async def given(self, pod: Object, desired: set[tuple[str, str]]) -> Sources:
        """What ConfigMaps and Secrets hold that an environment refers to, as far as they exist."""
        return {
            (kind, name): {
                key: base64.b64decode(value).decode() if kind == "Secret" else value
                for key, value in (
                    await _data(self._api, pod, kind, {"name": name, "optional": True})
                ).items()
            }
            for kind, name in desired
        }


def _link(place: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(folder, target_is_directory=True)


async def _files(api: Api, pod: Object, volume: Object) -> Mapping[str, str | bytes]:
    if "projected" in volume:
        result: dict[str, str | bytes] = {}
        for source in volume["projected"]["sources"]:
            result |= await _source(api, pod, source)
        return result
    if "configMap" in volume:
        return await _config_map(api, pod, volume["configMap"])
    if "downwardAPI" in volume:
        return _fields(pod, volume["downwardAPI"])
    reference = volume["secret"]
    return await _secret(api, pod, reference | {"name": reference["secretName"]})


async def _source(api: Api, pod: Object, source: Object) -> Mapping[str, str | bytes]:
    if "serviceAccountToken" in source:
        desired = source["serviceAccountToken"]
        return {desired["path"]: await token(api, pod, desired)}
    if "configMap" in source:
        return await _config_map(api, pod, source["configMap"])
    if "secret" in source:
        return await _secret(api, pod, source["secret"])
    if "downwardAPI" in source:
        return _fields(pod, source["downwardAPI"])
    return {}


async def token(api: Api, pod: Object, desired: Object) -> str:
    """A token of the pod's service account, bound to the pod (TokenRequest API)."""
    meta = pod["metadata"]
    account = pod["spec"].get("serviceAccountName", "default")
    spec: Object = {
        "expirationSeconds": desired.get("expirationSeconds", TOKEN_LIFETIME),
        "boundObjectRef": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": meta["name"],
            "uid": meta["uid"],
        },
    }
    if "audience" in desired:
        spec["audiences"] = [desired["audience"]]
    answer = await api.create(
        f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
    )
    return str(answer["status"]["token"])


async def _config_map(api: Api, pod: Object, reference: Object) -> dict[str, str]:
    data: dict[str, str] = await _data(api, pod, "ConfigMap", reference)
    return data


async def _secret(api: Api, pod: Object, reference: Object) -> dict[str, bytes]:
    data = await _data(api, pod, "Secret", reference)
    return {path: base64.b64decode(content) for path, content in data.items()}


async def _data(api: Api, pod: Object, kind: str, reference: Object) -> dict[str, str]:
    """What a ConfigMap or Secret holds, by the path that the reference gives it."""
    namespace, name = pod["metadata"]["namespace"], reference["name"]
    found = await api.get(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")
    if found is None:
        if reference.get("optional"):
            return {}
        raise NotMountable(f"{kind} {namespace}/{name} does not exist")
    data: dict[str, str] = found.get("data") or {}
    if "items" not in reference:
        return data
    return {item["path"]: data[item["key"]] for item in reference["items"]}


def _fields(pod: Object, source: Object) -> dict[str, str]:
    result = {}
    for item in source.get("items", []):
        path = item.get("fieldRef", {}).get("fieldPath")
        if path in ("metadata.labels", "metadata.annotations"):
            pairs = pod["metadata"].get(path.split(".")[1], {})
            lines = [f"{key}={_quoted(value)}" for key, value in sorted(pairs.items())]
            result[item["path"]] = "\n".join(lines)
        elif path:
            result[item["path"]] = field(pod, path)
    return result


def _quoted(value: str) -> str:
    """A value as the downward API writes it: a Go string literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
