"""Give an autoscaler its metrics back, and own nothing of it any more.

A server-side apply that gives fields up removes those that no one else owns, and a change by
another kind of request owns what it changes. Either way the next server-side apply of whoever wrote
the metrics, such as a helm upgrade, would lose them or meet a conflict. So the record of what the
runbook owns is removed by itself: the metrics stay, and have no owner until somebody applies them.
"""

from __future__ import annotations

from runbook_lib.chapters.autoscaling.autoscalers import METRICS_BEFORE
from runbook_lib.cluster import FIELD_MANAGER, REQUEST_TIMEOUT, Object, api_errors, reference
from runbook_lib.lifecycle import Context


def give_back(context: Context, live: Object, manifest: Object) -> None:
    """Apply an autoscaler's metrics and disown them, together with the annotation that kept them.

    Args:
        context: Where.
        live: The autoscaler as it is.
        manifest: The metrics that it had.

    Raises:
        ClusterRefused: Somebody else changed it in between; doing it again is safe.
    """
    # The annotation goes last, so that a rerun finds what was interrupted.
    kept = {METRICS_BEFORE: live["metadata"]["annotations"][METRICS_BEFORE]}
    metadata = {**manifest["metadata"], "annotations": kept}
    applied = context.cluster.apply({**manifest, "metadata": metadata}, force=True)
    _disown(context, applied)


def _disown(context: Context, autoscaler: Object) -> None:
    metadata = autoscaler["metadata"]
    place = next(
        number
        for number, entry in enumerate(metadata["managedFields"])
        if (entry["manager"], entry["operation"]) == (FIELD_MANAGER, "Apply")
    )
    record = f"/metadata/managedFields/{place}"
    annotation = METRICS_BEFORE.replace("/", "~1")
    patch = [
        {"op": "test", "path": f"{record}/manager", "value": FIELD_MANAGER},
        {"op": "test", "path": f"{record}/operation", "value": "Apply"},
        {"op": "remove", "path": record},
        {"op": "remove", "path": f"/metadata/annotations/{annotation}"},
    ]
    cluster = context.cluster
    with api_errors(cluster.kubeconfig, cluster.context, f"hand back {reference(autoscaler)}"):
        resource = cluster.dynamic.resources.get(
            api_version=autoscaler["apiVersion"], kind=autoscaler["kind"]
        )
        resource.patch(
            body=patch,
            name=metadata["name"],
            namespace=metadata["namespace"],
            content_type="application/json-patch+json",
            _request_timeout=REQUEST_TIMEOUT,
        )
