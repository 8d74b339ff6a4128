"""A right, and the role that gives several of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

LOOKING, DRY_RUN = "looking", "dry-run"
"""Roles of whoever plans and diagnoses, and changes nothing. RBAC knows no dry runs: it takes the
rights to change something to try that.
"""

LOOK = ("get", "list", "watch")
APPLY = ("create", "patch")
"""Verbs of a server-side apply: an object that is missing is asked for as both."""

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Right:
    """A rule of a role, and the steps that need it.

    Attributes:
        resources: What it is about, in the plural, with a subresource as in `pods/log`.
        verbs: What may be done.
        group: The resources' API group; empty for Kubernetes' core.
        namespace: Where; empty for all namespaces and for what is in none.
        names: The only objects; empty for all.
        steps: The steps that need it; empty if all do.
        tried: Whether the steps' plans need it as well, for dry runs.
    """

    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    group: str = ""
    namespace: str = ""
    names: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    tried: bool = False


@dataclass(frozen=True)
class Role:
    """What one kind of account may do.

    Attributes:
        name: The id of a chapter, `LOOKING` or `DRY_RUN`.
        rights: Its rules.
    """

    name: str
    rights: tuple[Right, ...]


def tried(rights: Iterable[Right]) -> tuple[Right, ...]:
    """Return what plans need, none of it bound to a step."""
    return tuple(replace(each, steps=(), tried=False) for each in rights if each.tried)


def grants(
    names: tuple[str, ...], step: str, namespace: str = "", *, tried: bool = False
) -> tuple[Right, ...]:
    """Return what it takes to write roles that say more than whoever writes them may do.

    Without `escalate` and `bind` nobody may, see
    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping.

    Args:
        names: The names of the roles and of their bindings, which mostly have the same.
        step: The step that writes them.
        namespace: Where they are; empty for cluster roles.
        tried: Whether the step's plan needs it as well.
    """
    prefix = "" if namespace else "cluster"
    return (
        Right(
            (f"{prefix}roles",),
            (*APPLY, "escalate", "bind"),
            RBAC,
            namespace,
            names,
            (step,),
            tried=tried,
        ),
        Right((f"{prefix}rolebindings",), APPLY, RBAC, namespace, names, (step,), tried=tried),
    )
