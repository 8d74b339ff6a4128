"""A right, and the role that gives several of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from runbook_lib.lifecycle import lease
from runbook_lib.parameters import Parameters

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
        steps: The steps that need it, or the notebooks that look so; empty if all do.
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
class AccountRole:
    """What one kind of account may do.

    Attributes:
        name: The id of a chapter, `LOOKING` or `DRY_RUN`.
        rights: Its rules.
    """

    name: str
    rights: tuple[Right, ...]


def tried(rights: Iterable[Right]) -> tuple[Right, ...]:
    """Return what plans need, none of it bound to a step; deleting is not tried."""
    return merged(
        replace(each, verbs=tuple(v for v in each.verbs if v != "delete"), steps=())
        for each in rights
        if each.tried
    )


def planned(rights: Iterable[Right]) -> tuple[Right, ...]:
    """Return what plans try, and what they read besides what everybody may."""
    every = tuple(rights)
    reading = (replace(each, verbs=tuple(v for v in each.verbs if v in LOOK)) for each in every)
    return (*tried(every), *(each for each in reading if each.verbs))


def merged(rights: Iterable[Right]) -> tuple[Right, ...]:
    """Return the same rights, each verb of a resource in one of them only."""
    rules: dict[Right, Right] = {}
    for right in rights:
        for resource, verb in product(right.resources, right.verbs):
            rule = replace(right, resources=(resource,), verbs=(verb,), steps=(), tried=False)
            known = rules.get(rule)
            steps = tuple(dict.fromkeys((*known.steps, *right.steps))) if known else right.steps
            tries = right.tried or (known is not None and known.tried)
            rules[rule] = replace(rule, steps=steps, tried=tries)
    verbs: dict[Right, tuple[str, ...]] = {}
    for rule in rules.values():
        key = replace(rule, verbs=())
        verbs[key] = (*verbs.get(key, ()), *rule.verbs)
    resources: dict[Right, tuple[str, ...]] = {}
    for rule, every in verbs.items():
        key = replace(rule, verbs=every, resources=())
        resources[key] = (*resources.get(key, ()), *rule.resources)
    return tuple(replace(rule, resources=every) for rule, every in resources.items())


def turns() -> tuple[Right, ...]:
    """Return what it takes to hold the Lease by which runs take turns.

    Whoever creates an object is asked for the kind alone, see
    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources.
    """
    kind, place = ("leases",), ("coordination.k8s.io", lease.NAMESPACE)
    return (
        Right(kind, ("create",), *place),
        Right(kind, ("get", "update"), *place, (lease.NAME,)),
    )


def workloads(
    parameters: Parameters, verbs: tuple[str, ...], steps: tuple[str, ...], *, tried: bool = False
) -> tuple[Right, ...]:
    """Return rights to the workloads of the application.

    Args:
        parameters: They name them.
        verbs: What may be done with them.
        steps: The steps that need it.
        tried: Whether the steps' plans need it as well.
    """
    namespace = parameters.application.namespace
    by_kind: dict[str, tuple[str, ...]] = {}
    for kind, name in parameters.application.workloads:
        by_kind[kind] = (*by_kind.get(kind, ()), name)
    return tuple(
        Right((f"{kind.lower()}s",), verbs, "apps", namespace, names, steps, tried)
        for kind, names in by_kind.items()
    )


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
