"""Whether a plan is still the one that was reviewed, apart from what no review could know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runbook_lib.base import MASK
from runbook_lib.cluster import quantities
from runbook_lib.lifecycle.plan import Action, Change, Content, Plan, Unknown, of_json
from runbook_lib.lifecycle.review.sealing import is_sealed, sealed

_ZERO: tuple[Any, ...] = (None, "", 0, False, [], {})
"""What a manifest may say and the API server leaves out."""


@dataclass(frozen=True)
class ReviewedChange:
    """A change as it was reviewed; fields as in `Change`, its content sealed."""

    ref: str
    action: Action
    text: str
    digest: str
    content: Content | None
    unknown: tuple[Unknown, ...]


@dataclass(frozen=True)
class ReviewedPlan:
    """A plan as it was reviewed.

    Attributes:
        notebook: Whose step it is of.
        step: The step's name.
        digest: The plan's.
        target_uid: The cluster's UID.
        changes: What it would change.
        unpredictable: What could not be known, and why.
        interruptions: The keys of what users were said to lose.
        salt: By which its secrets are sealed.
    """

    notebook: str
    step: str
    digest: str
    target_uid: str
    changes: tuple[ReviewedChange, ...]
    unpredictable: tuple[str, ...]
    interruptions: tuple[tuple[str, ...], ...]
    salt: str

    def differences(self, plan: Plan, made: Callable[[], Mapping[str, str]]) -> list[str]:
        """Return in words what a plan holds that was not reviewed; nothing if the review holds.

        It may hold less: what is in place by now needs no approval.

        Args:
            plan: The same step's, as it is now.
            made: By its reference the digest of each object that steps have made on this cluster,
                as they left it.
        """
        if plan.digest == self.digest:
            return []
        if plan.target_uid != self.target_uid:
            return [f"it was reviewed on cluster {self.target_uid}, and this is {plan.target_uid}"]
        found = [line for change in plan.changes for line in self._of_change(change, made)]
        found += [
            f"not foreseen: {each}" for each in plan.unpredictable if each not in self.unpredictable
        ]
        found += [
            f"an interruption that was not announced: {each}"
            for each in plan.interruptions
            if tuple(each.key) not in self.interruptions
        ]
        return found

    def _of_change(self, change: Change, made: Callable[[], Mapping[str, str]]) -> Iterator[str]:
        what = f"{change.action} {change.ref}"
        reviewed = next((each for each in self.changes if each.ref == change.ref), None)
        if reviewed is None:
            yield f"{what}: was not in the plan that was reviewed\n{change.text}"
            return
        same_action = reviewed.action == change.action
        if same_action and (reviewed.digest == change.digest or _open(reviewed)):
            return
        if reviewed.content is None or change.content is None:
            yield (
                f"{what}: reviewed as {reviewed.action}:\n{reviewed.text}\nand now:\n{change.text}"
            )
            return
        before = sealed(change.content.before, self.salt)
        own = before is not None and made().get(change.ref) == of_json(change.content.before)
        if not own and not (same_action and reviewed.content.before == before):
            yield f"{what}: it is not what it was when it was reviewed:"
            yield from _lines(reviewed.content.before, before)
            return
        filled = own or Unknown.DEFAULTS in reviewed.unknown
        after = sealed(change.content.after, self.salt)
        if lines := list(_lines(reviewed.content.after, after, filled=filled)):
            yield f"{what}: it would become something else than was reviewed:"
            yield from lines


def _open(reviewed: ReviewedChange) -> bool:
    """Whether a change was approved before it was known what it is made of."""
    return Unknown.CONTENT in reviewed.unknown


def _lines(reviewed: Any, now: Any, place: str = "", *, filled: bool = False) -> Iterator[str]:
    """Yield where two JSON values differ, and how.

    Args:
        reviewed: One.
        now: The other one.
        place: Where they are, for people.
        filled: Whether the other one may hold more: what the API server fills in.
    """
    if isinstance(reviewed, dict) and isinstance(now, dict) and not is_sealed(reviewed):
        for key in dict.fromkeys((*reviewed, *now)):
            where = f"{place}.{key}" if place else str(key)
            if key not in now and filled and reviewed[key] in _ZERO:
                continue
            if key not in reviewed and filled:
                continue
            yield from _lines(reviewed.get(key), now.get(key), where, filled=filled)
    elif isinstance(reviewed, list) and isinstance(now, list) and len(reviewed) == len(now):
        for number, (old, new) in enumerate(zip(reviewed, now, strict=True)):
            yield from _lines(old, new, f"{place}[{number}]", filled=filled)
    elif reviewed != now and not quantities.alike(reviewed, now, *place.split(".")):
        yield f"  {place or 'the object'}: {_shown(reviewed)} when reviewed, {_shown(now)} now"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return MASK if is_sealed(value) else str(value)
