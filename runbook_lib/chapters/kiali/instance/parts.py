"""The Service and the Ingress that Kiali's operator makes of a Kiali resource. No I/O here.

See roles/default/kiali-deploy/templates/kubernetes in https://github.com/kiali/kiali-operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runbook_lib.chapters.kiali.manifest import KIALI_PORT
from runbook_lib.cluster import NETWORKING, Object, name_of, namespace_of

Spec = dict[str, Any]


def of(resource: Object) -> Iterator[Object]:
    """Yield the Service that a resource asks for, and its Ingress if it asks for one."""
    yield service(resource)
    if ingress_of(resource).get("enabled"):
        yield ingress(resource)


def service(resource: Object) -> Object:
    """The Service: annotations go into it key by key, `additional_service_yaml` field by field."""
    asked = _deployment(resource)
    port = {"name": "http", "port": KIALI_PORT, "protocol": "TCP", "appProtocol": "http"}
    made = _named(resource, "v1", "Service", asked.get("service_annotations"))
    made["spec"] = {
        "type": asked.get("service_type", "ClusterIP"),
        "ports": [port],
        "selector": {
            "app.kubernetes.io/name": "kiali",
            "app.kubernetes.io/instance": name_of(made),
        },
        **(asked.get("additional_service_yaml") or {}),
    }
    return made


def ingress(resource: Object) -> Object:
    """The Ingress, whose spec the runbook gives in whole."""
    asked = ingress_of(resource).get("override_yaml") or {}
    annotations = (asked.get("metadata") or {}).get("annotations")
    made = _named(resource, NETWORKING, "Ingress", annotations)
    made["spec"] = asked.get("spec") or {}
    return made


def ingress_of(resource: Object) -> Spec:
    """What a resource says of its Ingress; empty if it says nothing."""
    return _deployment(resource).get("ingress") or {}


def _named(resource: Object, version: str, kind: str, annotations: Spec | None) -> Object:
    metadata: Object = {"name": name_of(resource), "namespace": namespace_of(resource)}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _deployment(resource: Object) -> Spec:
    found: Spec = (resource.get("spec") or {}).get("deployment") or {}
    return found
