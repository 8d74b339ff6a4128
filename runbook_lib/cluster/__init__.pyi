__all__ = [
    "ADMISSION",
    "APPS",
    "CRD",
    "CUSTOM_KINDS",
    "DRY_RUN_ANNOTATION",
    "FIELD_MANAGER",
    "INJECT",
    "INJECTION_LABEL",
    "NETWORKING",
    "PROXY",
    "REQUEST_TIMEOUT",
    "RESTARTED_AT",
    "RESTART_REASON",
    "REVISION_LABEL",
    "Cluster",
    "Everything",
    "KubeContext",
    "KubeEvent",
    "Manifests",
    "Object",
    "ObjectDiff",
    "annotations_of",
    "api_errors",
    "canonical_yaml",
    "contexts",
    "describe",
    "has_sidecar",
    "is_loopback",
    "labels_of",
    "merged",
    "name_of",
    "namespace_of",
    "object_diff",
    "ref",
    "reference",
    "without_fields",
]

from .client import Cluster, Everything
from .connection import REQUEST_TIMEOUT, KubeContext, api_errors, contexts, is_loopback
from .diff import ObjectDiff, canonical_yaml, object_diff
from .events import KubeEvent
from .manifests import Manifests, merged, without_fields
from .names import (
    ADMISSION,
    APPS,
    CRD,
    CUSTOM_KINDS,
    DRY_RUN_ANNOTATION,
    FIELD_MANAGER,
    INJECT,
    INJECTION_LABEL,
    NETWORKING,
    PROXY,
    RESTART_REASON,
    RESTARTED_AT,
    REVISION_LABEL,
)
from .objects import Object, annotations_of, labels_of, name_of, namespace_of, ref, reference
from .pods import describe, has_sidecar
