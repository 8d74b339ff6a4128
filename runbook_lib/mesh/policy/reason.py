"""Why a policy holds or does not: the field of the object that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbook_lib.cluster import Object, name_of, reference


@dataclass(frozen=True)
class Reason:
    """A field that decides.

    Attributes:
        item: The object.
        path: The field, as `.spec.rules[0].to[0].operation.methods`.
        found: What stands there; empty if the field's presence is enough.
        why: What follows from it, as a clause that completes a sentence.
    """

    item: Object
    path: str
    found: str = ""
    why: str = ""

    @property
    def field(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def text(self) -> str:
        """Object, field and what stands there, such as `Service a/b .spec.ports[0].name: tcp`."""
        return f"{reference(self.item)} {self.path}" + (f": {self.found}" if self.found else "")


def spec_of(policy: Object) -> dict[str, Any]:
    """Return `spec`: a policy that sets nothing has none."""
    return policy.get("spec") or {}


def selector(policy: Object) -> dict[str, str]:
    """Return the labels by which a policy selects pods; empty if it is for all."""
    return (spec_of(policy).get("selector") or {}).get("matchLabels") or {}


def why_not_selected(
    policy: Object, selected_by: Mapping[str, str], labels: Mapping[str, str], path: str
) -> Reason | None:
    """Return the first label of a selector that pods with `labels` lack; None if it selects them.

    Args:
        policy: The object with the selector.
        selected_by: The selector.
        labels: The pods' labels.
        path: Where the selector stands.
    """
    for key, value in selected_by.items():
        if labels.get(key) != value:
            has = f"{key}={labels[key]}" if key in labels else f"no label {key}"
            return Reason(policy, f"{path}.{key}", value, f"the pods carry {has}")
    return None


def selects(policy: Object, labels: Mapping[str, str]) -> bool:
    """Whether a policy's selector matches pods with these labels; one without is for all."""
    return why_not_selected(policy, selector(policy), labels, SELECTOR) is None


SELECTOR = ".spec.selector.matchLabels"


def age(policy: Object) -> tuple[str, str, str]:
    """Return what Istio sorts by: the oldest of equals decides, then the name, then the namespace.

    See `configCompareByCreationTime` in pilot/pkg/model/config.go of Istio.
    """
    metadata = policy["metadata"]
    created = metadata.get("creationTimestamp") or ""
    return created, name_of(policy), metadata.get("namespace") or ""


def older(winner: Object, loser: Object) -> Reason:
    """Say that `winner` decides because it is the older, or the first by name."""
    created = loser["metadata"].get("creationTimestamp") or ""
    same = created == (winner["metadata"].get("creationTimestamp") or "")
    field, found = ("name", name_of(loser)) if same else ("creationTimestamp", created)
    order = "of the same age and first by name" if same else "older"
    return Reason(
        loser, f".metadata.{field}", found, f"{reference(winner)} is {order}, and decides alone"
    )
