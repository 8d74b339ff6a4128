"""Rules about istiod's own configuration, and about sidecars that are not of today's istiod."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.chapters.shared.preflight import few
from runbook_lib.cluster import PROXY, annotations_of, name_of, namespace_of, pods, reference
from runbook_lib.diagnosis import Cause, Observation, by_workload, registry
from runbook_lib.lifecycle import Severity

_MESH = "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/"
_INJECTION = "https://istio.io/latest/docs/ops/common-problems/injection/"
_UPGRADE = "https://istio.io/latest/docs/setup/upgrade/canary/#data-plane"

_CHOSEN = {"sidecar.istio.io/proxyImage", "sidecar.istio.io/proxyImageType"}
"""Annotations by which a pod chooses its sidecar's image."""

_rule = partial(registry.rule, registry.Area.CONTROL_PLANE, "01_install_istio")


@_rule(order=34, needs=("configured", "pods", "policies"))
def namespace_not_discovered(seen: Observation) -> Iterator[Cause]:
    """Istiod is told not to look at the application's namespace."""
    for finding in seen.configured if seen.mesh_begun else ():
        if finding.name == "discovery-selectors":
            yield Cause.of(
                finding,
                "istiod does not see the namespace's Services and policies: its sidecars lose "
                "them, and new pods do not get the certificate that they start with"
                + _answers(seen),
                link=_MESH,
                outside=bool(seen.wrong_answers),
            )


@_rule(order=36, needs=("configured", "policies"))
def policy_not_mesh_wide(seen: Observation) -> Iterator[Cause]:
    """Policies for the whole mesh are read from another namespace than the runbook's is in."""
    home = seen.parameters.istio.namespace
    own = [policy for policy in seen.own_policies if namespace_of(policy) == home]
    for finding in seen.configured:
        if finding.name == "root-namespace" and own:
            yield Cause.of(
                finding,
                f"{reference(own[0])} holds for the pods of {home} alone: the others take "
                "plaintext" + _answers(seen),
                link=_MESH,
                outside=bool(seen.wrong_answers),
            )


@_rule(order=38, needs=("configured", "pods"))
def injector_leaves_out(seen: Observation) -> Iterator[Cause]:
    """Istiod is told to inject nothing into pods that should be in the mesh."""
    for finding in seen.configured if seen.mesh_begun else ():
        if finding.name == "injector-config":
            yield Cause.of(
                finding,
                "new pods of it start without a sidecar; those that run are not touched",
                link=_INJECTION,
            )


_sidecars = partial(registry.rule, registry.Area.SIDECARS, "02_label_namespace")


@_sidecars(order=345, needs=("stale",), explained_by=("istiod-down",))
def sidecar_of_another_istiod(seen: Observation) -> Iterator[Cause]:
    """Sidecars have no istiod, another one than the parameters name, or one much newer."""
    for finding in seen.stale:
        yield Cause.of(finding, link=_UPGRADE)


@_sidecars(order=347, needs=("injection", "pods"), explained_by=("sidecar-of-another-istiod",))
def sidecar_outdated(seen: Observation) -> Iterator[Cause]:
    """Istiod gives new pods another sidecar than those that run have."""
    newest = seen.injection.image if seen.injection else ""
    staying = [pod for pod in seen.in_mesh if not (pods.is_leaving(pod) or pods.is_of_job(pod))]
    # What was tried is a web pod: others may have chosen an image of their own.
    like = [p for p in staying if p in seen.web_pods or not _CHOSEN & annotations_of(p).keys()]
    older = [pod for pod in like if newest and pods.image_of(pod, PROXY) != newest]
    if not older:
        return
    where, keepers = namespace_of(older[0]), [keeper for keeper, _ in by_workload(seen, older)]
    names = dict.fromkeys(pods.workload_of(pod) for pod in older)
    restarts = [f"{kind.lower()}/{name}" for kind, name in names]
    yield Cause(
        few(keepers),
        f"sidecars are not those that istiod gives new pods: of {few([name_of(p) for p in older])}",
        "istiod was replaced, and these pods were not: their sidecars lack what is new, security "
        "fixes, too",
        "run notebook 02_label_namespace: its step injection-restart replaces the pods of listed "
        f"workloads; or: kubectl --namespace {where} rollout restart {' '.join(restarts)}",
        (
            reference(older[0], f"image of {PROXY}: {pods.image_of(older[0], PROXY)}"),
            f"image of {PROXY} in a new web pod (dry run): {newest}",
        ),
        link=_UPGRADE,
        severity=Severity.NOT_DONE,
    )


def _answers(seen: Observation) -> str:
    return f": {seen.wrong_answers[0].text}" if seen.wrong_answers else ""
