"""Kubernetes' quantities: `500m`, `0.5`, `1Gi`.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

from decimal import Decimal

_BLOCKS = {"requests", "limits", "hard", "capacity"}
_FIELDS = {"averageValue", "sizeLimit", "storage"}


def number(quantity: str | float) -> Decimal:
    """Return a quantity as a number, such as 0.1 for `100m`.

    Raises:
        ValueError: It is none.
    """
    from kubernetes.utils.quantity import parse_quantity

    found: Decimal = parse_quantity(quantity)
    return found


def alike(one: object, other: object, *place: str) -> bool:
    """Whether two values are one quantity in two spellings: the API server has its own.

    Args:
        one: A value.
        other: Another one.
        place: The keys of the field that has it; elsewhere a text is only that.
    """
    here = bool(place) and (place[-1] in _FIELDS or not _BLOCKS.isdisjoint(place[:-1]))
    if not here or not all(isinstance(each, str | int | float) for each in (one, other)):
        return False
    try:
        return number(one) == number(other)  # type: ignore[arg-type]
    except ValueError:
        return False
