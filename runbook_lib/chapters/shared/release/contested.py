"""Fields of a release's objects that others manage: Helm's server-side apply stops at them.

istiod is one of those others. It sets `failurePolicy` of its webhooks to `Fail` once they answer,
while the chart's first revision says `Ignore`: to apply that revision again would conflict for ever
(https://github.com/istio/istio/pull/59367). Such fields are forced, and istiod, which watches them,
fills them in again. Everybody else's are refused while nothing has been touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook_lib.base import ApplyConflict, ClusterRefused, KindNotInstalled
from runbook_lib.cluster import Object
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.tools import Release

HELM = "helm"
"""Helm's field manager, after its program (`getManagedFieldsManager` in Helm's `pkg/kube`)."""

_ISTIOD = "pilot-discovery"
"""istiod's field manager; it writes only what the chart leaves to it."""


def forced(context: Context, release: Release) -> bool:
    """Whether Helm must force conflicts that `conflicts` lets pass: where there can be any."""
    return context.helm.applies_server_side(release.name, namespace=release.namespace)


def conflicts(context: Context, release: Release, objects: Iterable[Object]) -> Iterator[Finding]:
    """Find fields of what Helm would apply that others manage and that would change.

    Those that only istiod manages are left out.

    Args:
        context: Where.
        release: The revision to go on from; what Helm applies on the client's side has no
            conflicts.
        objects: What Helm would apply.
    """
    if not forced(context, release):
        return
    found = [conflict for item in objects if (conflict := _conflict(context, item))]
    if found:
        yield Finding(
            f"Helm release {release.namespace}/{release.name}",
            "it would change what others manage",
            "; ".join(dict.fromkeys(conflict.cause for conflict in found)),
            "give the parameters those values, or have the others give them up; if they are gone, "
            "set the fields back to what the release says: "
            f"helm rollback {release.name} {release.revision} --namespace {release.namespace} "
            "--force-conflicts",
        )


def _conflict(context: Context, item: Object) -> ApplyConflict | None:
    """Ask the API server who would object; None if no one would, or only istiod."""
    try:
        context.cluster.apply(item, dry_run=True, manager=HELM)
    except ApplyConflict as conflict:
        return None if conflict.managers == (_ISTIOD,) else conflict
    except (ClusterRefused, KindNotInstalled):
        pass  # there is nothing yet to conflict with, or Helm will be told the same
    return None
