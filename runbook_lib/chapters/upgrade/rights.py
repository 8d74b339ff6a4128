"""What an upgrade of Istio and its way back need besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.release import rights as releases
from runbook_lib.chapters.shared.rights import APPLY, Right
from runbook_lib.chapters.shared.sidecars import rights as sidecars
from runbook_lib.chapters.upgrade import course
from runbook_lib.parameters import Parameters

_BACK = "rollback-upgrade"


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter; none where no version is named."""
    if parameters.upgrade.to is None:
        return ()
    return (
        *releases.applying(course.upgraded(parameters), "upgrade-base", "upgrade-istiod"),
        *sidecars.trying(parameters, "upgrade-trial"),
        *sidecars.restarting(parameters, "upgrade-restart"),
        *(_canary(parameters) if parameters.upgrade.strategy == "canary" else ()),
    )


def _canary(parameters: Parameters) -> tuple[Right, ...]:
    """Return what it takes to move a namespace over, and to remove the istiod before."""
    return (
        *_moving(parameters, "upgrade-move", APPLY),
        *releases.applying_base(parameters, "upgrade-old"),
        *releases.uninstalling_istiod(parameters, "upgrade-old"),
    )


def _moving(parameters: Parameters, step: str, tag: tuple[str, ...]) -> tuple[Right, ...]:
    """Return what it takes to have a namespace ask for another istiod.

    Args:
        parameters: They name the namespace and the tag.
        step: Which step does it.
        tag: The verbs for the webhook of the tag.
    """
    name, istio = f"istio-revision-tag-{parameters.upgrade.tag}", parameters.istio.namespace
    name = name if istio == "istio-system" else f"{name}-{istio}"
    namespace = parameters.application.namespace
    return (
        Right(
            ("mutatingwebhookconfigurations",),
            tag,
            "admissionregistration.k8s.io",
            names=(name,),
            steps=(step,),
            tried=True,
        ),
        Right(("namespaces",), ("patch",), names=(namespace,), steps=(step,), tried=True),
        Right(("pods",), APPLY, "", namespace, steps=(step,), tried=True),
    )


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what going back to the version before needs."""
    if parameters.upgrade.to is None:
        return ()
    if parameters.upgrade.strategy == "canary":
        # A tag by which the namespace asked before leads back; any other goes.
        by_tag = parameters.istio.revision == parameters.upgrade.tag
        return (
            *_moving(parameters, _BACK, APPLY if by_tag else ("delete",)),
            *releases.applying_base(parameters, _BACK),
            *releases.uninstalling_istiod(course.upgraded(parameters), _BACK),
            *sidecars.restarting(parameters, _BACK),
        )
    return (
        *releases.applying(parameters, _BACK, _BACK),
        *sidecars.restarting(parameters, _BACK),
    )
