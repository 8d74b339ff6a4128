"""A chapter: one notebook, the steps it takes, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runbook_lib.chapters.shared.rights import Right
from runbook_lib.chapters.shared.rollback import RollbackStep
from runbook_lib.lifecycle import Step
from runbook_lib.parameters import Parameters


def _nothing(_parameters: Parameters) -> tuple[()]:
    return ()


def _no_stages(_parameters: Parameters) -> dict[str, tuple[Step, ...]]:
    return {}


@dataclass(frozen=True)
class Chapter:
    """What the rest of the runbook has to know about one of its notebooks.

    Attributes:
        id: The notebook's file name without suffix. It begins with two digits, so chapters sort in
            the order of the story.
        title: The notebook's title.
        steps: Makes the steps in the order in which the notebook takes them; none in a notebook
            that only looks.
        way_back: Makes the steps by which the rollback takes the chapter back, in order.
        stages: Makes its steps in groups that are approved as one, by what each is about; none
            where every step is approved by itself.
        rights: Returns what an account needs for the steps besides looking.
        rights_back: Returns what it needs to take the chapter back.
        on_request: Whether a run takes the notebook only if it is named.
    """

    id: str
    title: str
    steps: Callable[[Parameters], tuple[Step, ...]] = _nothing
    way_back: Callable[[Parameters], tuple[RollbackStep, ...]] = _nothing
    stages: Callable[[Parameters], Mapping[str, tuple[Step, ...]]] = _no_stages
    rights: Callable[[Parameters], tuple[Right, ...]] = _nothing
    rights_back: Callable[[Parameters], tuple[Right, ...]] = _nothing
    on_request: bool = False

    @property
    def has_way_back(self) -> bool:
        """Whether the rollback has something to take back of this chapter."""
        return self.way_back is not _nothing
