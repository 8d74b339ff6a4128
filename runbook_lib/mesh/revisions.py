"""Revision tags: other names for a revision of istiod, by which namespaces may ask for sidecars.

Each tag is a MutatingWebhookConfiguration with two labels, see
https://istio.io/latest/docs/setup/upgrade/canary/#stable-revision-labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runbook_lib.cluster import (
    ADMISSION,
    INJECTION_LABEL,
    REVISION_LABEL,
    TAG_LABEL,
    Cluster,
    Object,
    annotations_of,
    labels_of,
    pods,
)
from runbook_lib.mesh.rollout import has_ended
from runbook_lib.parameters import Parameters

DEFAULT = "default"
"""What `istio-injection: enabled` asks for: the revision of that name, or the one so tagged."""


def tags(cluster: Cluster) -> dict[str, str]:
    """Return the revision behind each tag of a cluster."""
    return tags_among(cluster.list(ADMISSION, "MutatingWebhookConfiguration"))


def tags_among(webhooks: Iterable[Object]) -> dict[str, str]:
    """Return the revision behind each tag, from MutatingWebhookConfigurations."""
    every = map(labels_of, webhooks)
    return {
        labels[TAG_LABEL]: labels[REVISION_LABEL]
        for labels in every
        if {TAG_LABEL, REVISION_LABEL} <= labels.keys()
    }


def resolved(parameters: Parameters, found: Mapping[str, str]) -> Parameters:
    """Return parameters with the revision that their tag stands for, if it is one.

    Args:
        parameters: The run's parameters.
        found: The revision behind each tag.
    """
    named = parameters.istio.revision
    istio = parameters.istio.model_copy(update={"revision": found.get(named, named)})
    return parameters.model_copy(update={"istio": istio})


def of_cluster(cluster: Cluster, parameters: Parameters) -> Parameters:
    """Return parameters with the revision that their tag stands for on a cluster, if it is one.

    Objects of istiod's chart are named by it; see `of_revision`.
    """
    return resolved(parameters, tags(cluster))


def pods_of(cluster: Cluster, revision: str) -> Iterator[Object]:
    """Yield the pods of all namespaces with sidecars that a revision injected.

    One that does not say whose it is could be anybody's, so it counts.
    """
    for pod in cluster.list("v1", "Pod"):
        injected = annotations_of(pod).get(REVISION_LABEL, revision)
        if injected == revision and pods.has_sidecar(pod) and not has_ended(pod):
            yield pod


def asked_for(labels: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """Return the revision whose sidecars a namespace asks for; None if it asks for none.

    Args:
        labels: The namespace's; of two labels `istio-injection` decides.
        found: The revision behind each tag.
    """
    if INJECTION_LABEL in labels:
        named = DEFAULT if labels[INJECTION_LABEL] == "enabled" else None
    else:
        named = labels.get(REVISION_LABEL)
    return None if named is None else found.get(named, named)
