"""From the control plane that stands to the one that is asked for."""

from __future__ import annotations

from dataclasses import replace

from runbook_lib.base import CommandError
from runbook_lib.chapters.shared import preflight
from runbook_lib.cluster import APPS, REVISION_LABEL, Object, labels_of
from runbook_lib.lifecycle import Context
from runbook_lib.parameters import Parameters
from runbook_lib.tools import ConnectedProxy

NOTHING = "Nothing to upgrade: upgrade.to names no version."


def upgraded(parameters: Parameters) -> Parameters:
    """Return parameters as they are to be once the upgrade is done."""
    upgrade, istio = parameters.upgrade, parameters.istio
    changes: dict[str, object] = {"version": upgrade.to}
    if upgrade.strategy == "canary":
        revision = upgrade.new_revision
        istiod = istio.istiod.model_copy(update={"release": f"istiod-{revision}"})
        changes |= {"revision": revision, "istiod": istiod}
    return parameters.model_copy(update={"istio": istio.model_copy(update=changes)})


def beyond(context: Context) -> Context:
    """Return the same cluster with the parameters and tools that hold after the upgrade."""
    parameters = upgraded(context.parameters)
    return replace(
        context, parameters=parameters, target=context.target.at(parameters.istio.version)
    )


def standing(context: Context) -> Object | None:
    """Return the istiod of the parameters' release, whichever revision it is of."""
    istio = context.parameters.istio
    release = (istio.istiod.release, istio.namespace)
    found = context.cluster.list(APPS, "Deployment", istio.namespace, {"app": "istiod"})
    return next((each for each in found if preflight.release_of(each) == release), None)


def releases(context: Context) -> set[str]:
    """Return the names of the Helm releases of the istiods in Istio's namespace."""
    namespace = context.parameters.istio.namespace
    found = context.cluster.list(APPS, "Deployment", namespace, {"app": "istiod"})
    return {preflight.release_of(each)[0] for each in found}


def revision_of(istiod: Object) -> str:
    """Return the revision of an istiod's Deployment."""
    return labels_of(istiod).get(REVISION_LABEL, "default")


def version_of(context: Context, revision: str) -> str | None:
    """Return the version that a revision's istiods report; None if none answers or they differ."""
    try:
        found = context.istioctl.version(revision).control_plane
    except CommandError:
        return None
    return None if found is None or ", " in found else found


def connected(context: Context, revision: str) -> list[ConnectedProxy]:
    """Return the proxies of all namespaces that are connected to a revision's istiods.

    Raises:
        CommandError: None of them answers.
    """
    return context.istioctl.proxies(revision)


def has_moved(context: Context) -> bool:
    """Whether a canary's istiod is all that is there: the one before it has been removed."""
    istiod = upgraded(context.parameters).istio.istiod
    return context.parameters.upgrade.strategy == "canary" and istiod.release in releases(context)
