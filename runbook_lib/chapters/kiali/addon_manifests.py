"""The manifests of Prometheus and Jaeger: where they come from, and how they are read."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import httpx
import yaml

from runbook_lib.base import RunbookError, explain
from runbook_lib.cluster import Object

RELEASED = "https://raw.githubusercontent.com/istio/istio/{version}/samples/addons/{name}.yaml"
"""Where Istio keeps its sample add-ons, see https://istio.io/latest/docs/ops/integrations/."""

_SAMPLE_NAMESPACE = "istio-system"
_LARGEST = 2_000_000
"""Bytes; the samples have some thousands."""

_LONGEST = 60
"""Seconds for a whole download."""

_WITHOUT_NAMESPACE = (
    "APIService",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "PersistentVolume",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
)
"""Kinds that live in no namespace and occur in such manifests."""


def read(location: str, *, timeout: float, remedy: str) -> list[Object]:
    """Return the objects of a manifest with any number of documents.

    Args:
        location: A file or an http or https URL.
        timeout: Seconds for a download to make progress.
        remedy: What to do if it cannot be read, such as the parameter to set.

    Raises:
        RunbookError: It cannot be read, or holds something else than Kubernetes objects.
    """
    web = location.startswith(("http://", "https://"))
    text = _download(location, timeout, remedy) if web else _file(location, remedy)
    try:
        documents = [item for item in yaml.safe_load_all(text) if item is not None]
    except yaml.YAMLError as error:
        raise RunbookError(f"{location} is not valid YAML: {explain(error)}", remedy) from error
    for item in documents:
        if not _is_object(item):
            raise RunbookError(
                f"{location} holds something that is no Kubernetes object: {str(item)[:80]!r}",
                remedy,
            )
    if not documents:
        raise RunbookError(f"{location} holds no objects", remedy)
    return documents


def moved(objects: list[Object], namespace: str) -> list[Object]:
    """Return copies of a sample's objects in another namespace than the sample's own.

    What has no namespace and needs one goes there too; other namespaces stay as they are.
    """
    result = copy.deepcopy(objects)
    for item in result:
        metadata = item["metadata"]
        if item["kind"] not in _WITHOUT_NAMESPACE:
            metadata["namespace"] = _instead(metadata.get("namespace"), namespace)
        for subject in item.get("subjects") or []:
            if subject.get("kind") == "ServiceAccount":
                subject["namespace"] = _instead(subject.get("namespace"), namespace)
    return result


def labelled(item: Object, labels: dict[str, str]) -> Object:
    """Return a copy of an object that carries these labels as well."""
    metadata = item["metadata"]
    return {
        **item,
        "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}},
    }


def _instead(found: str | None, namespace: str) -> str:
    return namespace if found in (None, _SAMPLE_NAMESPACE) else found


def _is_object(item: object) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("metadata"), dict):
        return False
    texts = (item.get("apiVersion"), item.get("kind"), item["metadata"].get("name"))
    return all(isinstance(text, str) and text for text in texts)


def _file(location: str, remedy: str) -> str:
    try:
        return Path(location).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunbookError(f"cannot read {location}: {error}", remedy) from error


def _download(url: str, timeout: float, remedy: str) -> str:
    """Return a document from the web; it is data, and nothing in it is run here."""
    received = bytearray()
    deadline = time.monotonic() + _LONGEST
    try:
        with httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as answer:
            if answer.status_code != 200:
                raise RunbookError(f"{url} answers {answer.status_code}", remedy)
            for chunk in answer.iter_bytes():
                received += chunk
                if time.monotonic() > deadline:
                    raise RunbookError(f"{url} takes longer than {_LONGEST} s", remedy)
                if len(received) > _LARGEST:
                    raise RunbookError(f"{url} is larger than {_LARGEST} bytes", remedy)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise RunbookError(f"cannot download {url}: {why}", remedy) from error
    return received.decode("utf-8", errors="replace")
