"""What was there before a step changed it: where it can go back to."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.cluster import Object


@dataclass(frozen=True)
class Former:
    """An object as it was before a step changed it, or the part of it that the step changes.

    Attributes:
        ref: The object.
        item: A manifest that names it and says nothing else.
        manifest: As it was, to be applied; None if there was none.
        planned: Digest of what the step makes of it: anything else is a change by others.
        command: Takes it back by hand, in a shell.
    """

    ref: str
    item: Object
    manifest: Object | None
    planned: str
    command: str

    @property
    def text(self) -> str:
        """What it goes back to, in words."""
        return f"{self.ref} ({'there was none' if self.manifest is None else 'as it was'})"


@dataclass(frozen=True)
class Before:
    """What a step found before it changed something: where it can go back to.

    Attributes:
        objects: What it changes, in the order of its changes.
        served: Whether the answers from outside were those that the policies implied.
    """

    objects: tuple[Former, ...]
    served: bool
