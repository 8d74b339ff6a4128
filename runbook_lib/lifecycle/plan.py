"""What a step would change: shown to people, and bound to their approval by its digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

from runbook_lib.cluster import Author, ObjectDiff
from runbook_lib.lifecycle.interruption import Interruption

Action = Literal[
    "create",
    "change",
    "delete",
    "install",
    "upgrade",
    "recover",
    "uninstall",
    "restart",
    "run",
]
"""What happens to an object; one that is `run` does its work and is removed again."""


@dataclass(frozen=True)
class Change:
    """One change to the cluster.

    Attributes:
        ref: What changes, such as `PeerAuthentication xnat/default` or `Helm release istiod`.
        action: What happens to it.
        text: The difference, or the reason, as text for people; secrets are masked.
        digest: Identifies the change; differs for secrets that differ, though their text is equal.
        authors: Who set the fields that change, where the object says so.
    """

    ref: str
    action: Action
    text: str
    digest: str
    authors: tuple[Author, ...] = ()

    @property
    def lasts(self) -> bool:
        """Whether something is different afterwards."""
        return self.action != "run"

    @classmethod
    def of_object(cls, diff: ObjectDiff) -> Change:
        """The change that makes an object what it should be.

        Raises:
            ValueError: There is no difference.
        """
        if diff.action == "none":
            raise ValueError(f"{diff.ref} does not change")
        return cls(diff.ref, diff.action, diff.text, diff.digest, diff.authors)

    @classmethod
    def of_text(cls, ref: str, action: Action, text: str) -> Change:
        """A change that its text describes in full."""
        return cls(ref, action, text, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class Plan:
    """Everything that a step would change on one cluster.

    Attributes:
        step: The step's name.
        target_uid: The cluster's UID.
        changes: In the order in which they will be made.
        unpredictable: What cannot be known before it is done, and why.
        fallback: What happens if it is not verified; empty where nothing lasting is changed.
        note: Why there is nothing to do, or what else a reader should know.
        interruptions: What users lose meanwhile.
    """

    step: str
    target_uid: str
    changes: tuple[Change, ...] = ()
    unpredictable: tuple[str, ...] = ()
    note: str = ""
    interruptions: tuple[Interruption, ...] = field(default=(), kw_only=True)
    fallback: str = field(default="", kw_only=True)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to change."""
        return not self.changes

    @property
    def lasting(self) -> tuple[Change, ...]:
        """The changes after which something is different: without them the state is right."""
        return tuple(change for change in self.changes if change.lasts)

    @property
    def digest(self) -> str:
        """SHA-256 over all that is approved: cluster, step, changes, interruptions and fallback."""
        content = [
            self.step,
            self.target_uid,
            [[change.ref, change.action, change.digest] for change in self.changes],
            list(self.unpredictable),
            [each.key for each in self.interruptions],
            self.fallback,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def summary(self) -> str:
        """The plan in a line."""
        if self.empty:
            return f"Nothing to change. {self.note}".strip()
        return ", ".join(f"{change.action} {change.ref}" for change in self.changes)

    def __str__(self) -> str:
        """The plan as text: a headline, and what changes below it."""
        if self.empty:
            return self.summary
        count = "1 change" if len(self.changes) == 1 else f"{len(self.changes)} changes"
        parts = [f"{count} (plan {self.digest[:12]})"]
        if self.note:
            parts.append(self.note)
        parts += [
            f"\n{change.action} {change.ref}\n{_indent(change.text)}".rstrip()
            for change in self.changes
        ]
        parts += [f"\ninterruption: {item}" for item in self.interruptions]
        parts += [f"\ncannot be predicted: {item}" for item in self.unpredictable]
        if self.fallback:
            parts.append(f"\nIf it is not verified: {self.fallback}")
        return "\n".join(parts)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
