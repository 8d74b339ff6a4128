"""Rules register themselves: what a rule needs, and what explains it, stands on its function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import TypeVar

from runbook_lib.diagnosis import Cause, Observation

_Find = Callable[[Observation], Iterable[Cause]]
_F = TypeVar("_F", bound=_Find)


class Area(StrEnum):
    """What rules are about."""

    CONTROL_PLANE = "istiod and its webhook"
    INJECTION = "sidecar injection"
    APPLICATION = "workloads and Services"
    SIDECARS = "sidecars and their configuration"
    MUTUAL_TLS = "mutual TLS"
    AUTHORIZATION = "authorization"
    AUTOSCALING = "autoscaling"
    KIALI = "Kiali"
    CONFIGURATION = "istioctl analyze"
    OUTSIDE = "answers from outside"


@dataclass(frozen=True)
class Rule:
    """How one cause is recognised.

    Attributes:
        name: The cause, and the name of its findings: the function's name in kebab case.
        find: Finds it in an observation.
        area: What it is about.
        chapter: The id of the chapter that is about it.
        order: Where it stands among all rules, the smallest first: what other things depend on
            comes early, and among causes of equal reach the order is their likelihood.
        needs: Fields of the observation without which it cannot be judged.
        uses: Fields that are seen pod by pod: where one is missing, other pods are still judged.
        explained_by: Names of causes that explain it: with one of these it is no cause of its own.
    """

    name: str
    find: _Find
    area: Area
    chapter: str
    order: int
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()


_RULES: dict[str, Rule] = {}


def rule(
    area: Area,
    chapter: str,
    *,
    order: int,
    needs: tuple[str, ...] = (),
    uses: tuple[str, ...] = (),
    explained_by: tuple[str, ...] = (),
) -> Callable[[_F], _F]:
    """Register a function as a rule; the arguments are the fields of `Rule`.

    Raises:
        ValueError: There is a rule of that name, or at that place in the order.
    """

    def register(find: _F) -> _F:
        name = find.__name__.replace("_", "-")
        new = Rule(name, find, area, chapter, order, needs, uses, explained_by)
        for other in _RULES.values():
            if name == other.name or order == other.order:
                raise ValueError(f"{new} takes the place of {other}")
        _RULES[name] = new
        return find

    return register


def registered() -> tuple[Rule, ...]:
    """Return the rules of all modules imported so far, in their order."""
    return tuple(sorted(_RULES.values(), key=attrgetter("order")))
