"""Roles as manifests: what they allow, where, and the group that has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from runbook_lib.chapters.shared.rights.right import DRY_RUN, LOOKING, RBAC, AccountRole, Right
from runbook_lib.cluster import Object

PREFIX = "istio-runbook:"
"""Begins the names of roles, bindings and groups."""

_API = f"{RBAC}/v1"


def manifests(roles: Iterable[AccountRole], names: Iterable[str]) -> Iterator[Object]:
    """Yield what gives rights: namespaces in which roles lie, roles, and their bindings to groups.

    A group is called as its role is. Whoever has the role of a chapter looks as well. Whoever only
    looks has the rights of dry runs, and an admission policy that refuses to do more with them.

    Args:
        roles: All roles.
        names: Those of the roles to give.
    """
    every = {role.name: role for role in roles}
    given = [every[name] for name in names]
    for space in dict.fromkeys(each.namespace for role in given for each in role.rights):
        if space:
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    for role in given:
        groups = [role.name]
        if role.name == LOOKING:
            groups = [name for name in every if name != DRY_RUN]
        elif role.name == DRY_RUN:
            groups = [LOOKING]
            yield from _dry_runs_only(role)
        for namespace in dict.fromkeys(each.namespace for each in role.rights):
            own = [each for each in role.rights if each.namespace == namespace]
            yield from _role(role.name, namespace, own, groups)


def _role(
    name: str, namespace: str, rights: Sequence[Right], groups: Sequence[str]
) -> Iterator[Object]:
    kind = "Role" if namespace else "ClusterRole"
    place = {"namespace": namespace} if namespace else {}
    yield {
        "apiVersion": _API,
        "kind": kind,
        "metadata": {"name": PREFIX + name, **place},
        "rules": [_rule(each) for each in rights],
    }
    yield {
        "apiVersion": _API,
        "kind": f"{kind}Binding",
        "metadata": {"name": PREFIX + name, **place},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": PREFIX + name},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": PREFIX + each} for each in groups],
    }


def _rule(right: Right) -> Object:
    names = {"resourceNames": list(right.names)} if right.names else {}
    return {
        "apiGroups": [right.group],
        "resources": list(right.resources),
        **names,
        "verbs": list(right.verbs),
    }


def _dry_runs_only(role: AccountRole) -> Iterator[Object]:
    """Yield an admission policy by which the group may try what it may not do.

    See https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/.
    """
    name, api = PREFIX.replace(":", "-") + role.name, "admissionregistration.k8s.io/v1"
    resources: dict[str, dict[str, None]] = {}
    for right in role.rights:
        resources.setdefault(right.group, {}).update(dict.fromkeys(right.resources))
    rules = [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "resources": list(names),
        }
        for group, names in resources.items()
    ]
    yield {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": rules},
            "matchConditions": [
                {"name": "looks", "expression": f"'{PREFIX}{LOOKING}' in request.userInfo.groups"}
            ],
            "validations": [
                {
                    "expression": "has(request.dryRun) && request.dryRun",
                    "message": f"the group {PREFIX}{LOOKING} may try this, and not do it",
                    "reason": "Forbidden",
                }
            ],
        },
    }
    yield {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
