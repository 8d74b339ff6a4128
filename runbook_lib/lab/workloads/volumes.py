"""Write the files that a kubelet would mount into a container: tokens, ConfigMaps, pod fields.

A container's files live under a folder of its own that plays its root file system. Istio's
programs name all of theirs relative to the working directory, which is that folder.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.certificates import write_private
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.workloads.pods import Container, field

Object = dict[str, Any]

# Kubernetes' default lifetime of a projected token, and the shortest it issues, in seconds.
TOKEN_LIFETIME = 3600


class NotMountable(LabError):
    """A volume's source does not exist yet; a kubelet waits for it, and so does the runtime."""


async def mount(api: Api, pod: Object, container: Container, root: Path) -> None:
    """Write every volume that the container mounts below `root`.

    Raises:
        NotMountable: a ConfigMap or Secret that is not optional does not exist.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    for mounted in container.spec.get("volumeMounts", []):
        folder = root / mounted["mountPath"].lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in (await _files(api, pod, volumes[mounted["name"]])).items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            write_private(target, content)


async def _files(api: Api, pod: Object, volume: Object) -> Mapping[str, str | bytes]:
    if "projected" in volume:
        result: dict[str, str] = {}
        for source in volume["projected"]["sources"]:
            result |= await _source(api, pod, source)
        return result
    if "configMap" in volume:
        reference = volume["configMap"]
        return await _config_map(api, pod, reference | {"name": reference["name"]})
    if "downwardAPI" in volume:
        return _fields(pod, volume["downwardAPI"])
    if "secret" in volume:
        reference = volume["secret"]
        return await _secret(api, pod, reference | {"name": reference["secretName"]})
    # emptyDir: an empty folder.
    return {}


async def _source(api: Api, pod: Object, source: Object) -> dict[str, str]:
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        return {wanted["path"]: await token(api, pod, wanted)}
    if "configMap" in source:
        return await _config_map(api, pod, source["configMap"])
    if "downwardAPI" in source:
        return _fields(pod, source["downwardAPI"])
    return {}


async def token(api: Api, pod: Object, wanted: Object) -> str:
    """A token of the pod's service account, bound to the pod (TokenRequest API)."""
    meta = pod["metadata"]
    account = pod["spec"].get("serviceAccountName", "default")
    spec: Object = {
        "expirationSeconds": wanted.get("expirationSeconds", TOKEN_LIFETIME),
        "boundObjectRef": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": meta["name"],
            "uid": meta["uid"],
        },
    }
    if "audience" in wanted:
        spec["audiences"] = [wanted["audience"]]
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
