"""Whether a pod gets a sidecar: by its own marks, or asked of the API server as a dry run."""

from __future__ import annotations

from runbook_lib.base import ClusterRefused, RunbookError
from runbook_lib.cluster import APPS, INJECT, PROXY, Object, annotations_of, labels_of, pods, ref
from runbook_lib.lifecycle import Check, Context
from runbook_lib.mesh import rollout

_INJECTOR = "sidecar-injector.istio.io"
"""The end of the names of istiod's webhooks for pods."""

_BUSY, _SERVER_ERRORS = 429, 500
"""HTTP status: too many requests; from here on the API server or a webhook did not answer."""


def wants_sidecar(pod: Object) -> bool:
    """Whether istiod would inject: not into pods on the host's network, nor where told not to."""
    marks = {**annotations_of(pod), **labels_of(pod)}
    return not pod["spec"].get("hostNetwork") and marks.get(INJECT, "true") != "false"


def try_injection(context: Context) -> tuple[str, bool]:
    """Ask for a pod like the web pods as a dry run: admission webhooks answer as for a real one.

    Returns:
        The sidecar that it would get, in words, and whether it would get one.

    Raises:
        RunbookError: There is no web workload.
        ClusterRefused: The API server refuses the pod, as when a webhook does not answer.
    """
    application = context.parameters.application
    web = application.web
    workload = context.cluster.get(APPS, web.kind, web.name, application.namespace)
    if workload is None:
        where = ref(web.kind, web.name, application.namespace)
        raise RunbookError(f"there is no {where}", "correct application.web")
    pod = rollout.trial_pod(workload, "injection-check")
    answer = context.cluster.apply(pod, dry_run=True)
    return (PROXY, True) if pods.has_sidecar(answer) else ("none", False)


def check_new_pod(context: Context, *, injected: bool) -> Check:
    """Look whether a new pod would get a sidecar, or say why that cannot be told.

    Who may restart workloads need not be allowed to create pods, and a quota or an admission policy
    may refuse this one alone. Then only the pods that a workload creates show it.

    Args:
        context: Where.
        injected: Whether it should get one.

    Raises:
        RunbookError: There is no web workload that should get one.
        ClusterRefused: No pod at all can be created, as when a webhook does not answer.
    """
    subject = "sidecar of a new pod"
    try:
        sidecar, found = try_injection(context)
    except ClusterRefused as error:
        if not _refuses_this_pod_only(error):
            raise
        return Check(subject, f"cannot tell: {error.cause}", ok=None)
    except RunbookError as error:
        if injected:
            raise
        return Check(subject, f"cannot tell: {error.cause}", ok=None)
    return Check(subject, sidecar, found is injected)


def _refuses_this_pod_only(error: ClusterRefused) -> bool:
    """Whether pods that a workload creates may be accepted all the same."""
    answered = error.status < _SERVER_ERRORS and error.status != _BUSY
    return answered and _INJECTOR not in error.cause
