"""What is not in the cluster as a release says: someone changed an object behind Helm's back."""

from __future__ import annotations

from collections.abc import Iterable

from runbook_lib.chapters.shared.preflight.helm import RELEASE_NAME, RELEASE_NAMESPACE
from runbook_lib.chapters.shared.release.contested import HELM
from runbook_lib.cluster import Object, merged, object_diff
from runbook_lib.lifecycle import Change, Context


def of_objects(
    context: Context, release: str, namespace: str, present: Iterable[tuple[Object, Object]]
) -> tuple[Change, ...]:
    """Return what Helm would put back if it applied a release's objects again.

    Args:
        context: Where.
        release: The release's name.
        namespace: The release's.
        present: The objects as the chart renders them, each with the live one.

    Raises:
        ClusterRefused: The API server does not take one of them, not even to try it.
    """
    # What Helm adds to each object; see `setMetadataVisitor` in Helm's pkg/action/validate.go.
    own = {
        "annotations": {RELEASE_NAME: release, RELEASE_NAMESPACE: namespace},
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
    }
    diffs = (
        object_diff(
            live,
            context.cluster.apply(
                merged(item, {"metadata": own}), dry_run=True, force=True, manager=HELM
            ),
        )
        for item, live in present
    )
    return tuple(Change.of_object(diff) for diff in diffs if diff.action != "none")
