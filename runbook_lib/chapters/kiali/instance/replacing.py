"""What of Kiali's ways in cannot be changed in place, and so is deleted before it is made anew.

The operator patches what it made: what the resource no longer asks for stays. The API server keeps
`spec.loadBalancerClass` as it is, and the AWS Load Balancer Controller goes by annotations that no
one may change on a live Service, see
https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/service/nlb/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib.chapters.kiali.instance import parts
from runbook_lib.chapters.kiali.manifest import ALB, NLB
from runbook_lib.cluster import (
    Object,
    annotations_of,
    live_object,
    name_of,
    namespace_of,
    ownership,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Refused

_FIXED = (f"{NLB}-type", f"{NLB}-nlb-target-type", f"{NLB}-scheme", f"{NLB}-internal")
"""Annotations of a load balancer that stays what it was made as."""


@dataclass(frozen=True)
class Replaced:
    """Something that has to go first.

    Attributes:
        item: The object, as it is.
        why: What of it cannot be changed.
    """

    item: Object
    why: str


def needed(context: Context, desired: Object) -> list[Replaced]:
    """Return what has to be deleted before the operator can do what a resource asks for.

    Args:
        context: Where.
        desired: The Kiali resource as it will be.

    Raises:
        Refused: It was not the operator that made it, for the resource that will change.
    """
    earlier = live_object(context.cluster, desired)
    if earlier is None:
        return []
    before = {item["kind"]: item for item in parts.of(earlier)}
    found = []
    for item in parts.of(desired):
        live = live_object(context.cluster, item)
        if live is None:
            continue
        differing = _service if item["kind"] == "Service" else _ingress
        reasons = list(differing(live, item, before.get(item["kind"], item)))
        if reasons:
            _refuse_others(live, earlier)
            found.append(Replaced(live, "; ".join(reasons)))
    return found


def _service(live: Object, desired: Object, before: Object) -> Iterator[str]:
    """Say why a Service cannot become another; one without a load balancer can become any."""
    if live["spec"]["type"] != "LoadBalancer":
        return
    if desired["spec"]["type"] != "LoadBalancer":
        yield (
            "its type changes, while the annotations by which a controller keeps its load balancer "
            "would stay"
        )
        return
    key = "loadBalancerClass"
    there, asked = live["spec"].get(key), desired["spec"].get(key)
    if asked != there and (asked is not None or key in before["spec"]):
        yield f"spec.{key} cannot change: {there or 'none'} becomes {asked or 'none'}"
    found, wanted = annotations_of(live), annotations_of(desired)
    changed = [each for each in _FIXED if each in wanted and found.get(each) != wanted[each]]
    if changed:
        yield f"a controller does not take over a load balancer by {', '.join(changed)}"
    yield from _left(before, desired, NLB)


def _ingress(live: Object, desired: Object, before: Object) -> Iterator[str]:
    there, asked = (item["spec"].get("ingressClassName") for item in (live, desired))
    if there != asked:
        yield f"its class changes, and another controller serves it: {there} becomes {asked}"
    yield from _left(before, desired, ALB)


def _left(before: Object, desired: Object, prefix: str) -> Iterator[str]:
    """Say which settings of a load balancer the operator would leave behind."""
    gone = annotations_of(before).keys() - annotations_of(desired).keys()
    left = sorted(key for key in gone if key.startswith(prefix))
    if left:
        yield f"the operator would leave {', '.join(left)}"


def _refuse_others(live: Object, resource: Object) -> None:
    owners = live["metadata"].get("ownerReferences") or []
    if any(owner["uid"] == resource["metadata"]["uid"] for owner in owners):
        return
    kind, name = live["kind"].lower(), name_of(live)
    raise Refused(
        Finding(
            reference(live),
            f"it has to be made anew, and {reference(resource)} does not own it "
            f"(made by {ownership.makers(live)})",
            "the operator could not change it; what others made is not deleted here",
            f"delete it yourself: kubectl --namespace {namespace_of(live)} delete {kind} {name}",
        )
    )
