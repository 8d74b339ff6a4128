"""Accounts of people who may look at the mesh through Kiali, and change nothing."""

from __future__ import annotations

from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.shared import objects
from runbook_lib.cluster import (
    Object,
    accounts,
    labels_of,
    live_object,
    name_of,
    object_diff,
    ownership,
    reference,
)
from runbook_lib.lifecycle import Change, Context, Exports, Plan, Row, Step, Table, Verification
from runbook_lib.parameters import Parameters

_RBAC = "rbac.authorization.k8s.io/v1"

_MAY = (("list", "pods", ""), ("list", "authorizationpolicies", "security.istio.io"))
_MAY_NOT = (
    ("patch", "pods", ""),
    ("create", "authorizationpolicies", "security.istio.io"),
    ("get", "secrets", ""),
)
"""Verb, resource and API group: what a reader's account is tried with."""


class _LetReadersIn(Step):
    """Accounts for people who may look, and the end of those that are no longer desired."""

    name = "kiali-readers"
    title = "Give each reader an account"
    why = "Kiali acts with the rights of whoever logged in: with one account for all, no one "
    why += "could tell afterwards who it was"
    takes = "seconds"
    risk = "a reader sees configuration and logs of every namespace, and no Secrets"
    undo = "take the name out of kiali.readers and run this step again: deleting an account ends "
    undo += "its tokens"

    def plan(self, context: Context) -> Plan:
        desired = self._wanted(context.parameters)
        planned = objects.plan_objects(context, self.name, desired, own=True)
        gone = [Change.of_object(object_diff(item, None)) for item in self._unwanted(context)]
        note = "" if context.parameters.kiali.readers else "kiali.readers names no one."
        return Plan(
            self.name,
            context.target.uid,
            (*planned.changes, *gone),
            planned.unpredictable,
            "" if gone else note,
        )

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self._wanted(context.parameters))
        timeout = context.parameters.timeouts.policy
        objects.delete_objects(context, plan, self._unwanted(context), timeout=timeout)

    def verify(self, context: Context) -> Verification:
        parameters = context.parameters
        namespace, where = parameters.istio.namespace, parameters.application.namespace
        rows = [
            Row((name_of(each), each["kind"], "still there"), ok=False)
            for each in self._unwanted(context)
        ]
        for reader in parameters.kiali.readers:
            name = name_of(manifest.kiali_reader_account(parameters, reader))
            for rights, desired in ((_MAY, True), (_MAY_NOT, False)):
                for verb, resource, group in rights:
                    found = accounts.may(
                        context.cluster, namespace, name, verb, resource, where, group
                    )
                    answer = "may" if found else "may not"
                    rows.append(Row((name, f"{verb} {resource}", answer), found is desired))
        table = Table("Readers", ("account", "what", "found"), tuple(rows))
        return Verification(self.name, (table,))

    def exports(self, context: Context) -> Exports:
        return Exports(objects=tuple(self._wanted(context.parameters)))

    @staticmethod
    def _wanted(parameters: Parameters) -> list[Object]:
        readers = parameters.kiali.readers
        role = [manifest.kiali_reader_role()] if readers else []
        return role + [
            item
            for reader in readers
            for item in (
                manifest.kiali_reader_account(parameters, reader),
                manifest.kiali_reader_binding(parameters, reader),
            )
        ]

    @staticmethod
    def _unwanted(context: Context) -> list[Object]:
        """Accounts and bindings of people who are named no more."""
        readers = context.parameters.kiali.readers
        return [item for item in _given(context) if _reader(item) not in readers]


def step() -> Step:
    """The step that lets readers in."""
    return _LetReadersIn()


def everything(context: Context) -> list[Object]:
    """Return all that the step has made, whoever is named now: bindings, accounts, their role.

    The role stays as long as readers of another mesh on this cluster have it.
    """
    given = _given(context)
    role = live_object(context.cluster, manifest.kiali_reader_role())
    if role is None or not ownership.is_own(role):
        return given
    own = {reference(item) for item in given}
    others = [item for item in _bindings(context) if reference(item) not in own]
    return given if others else [*given, role]


def _given(context: Context) -> list[Object]:
    """Return the bindings and accounts of this mesh's readers that are there."""
    namespace = context.parameters.istio.namespace
    accounts_here = context.cluster.list("v1", "ServiceAccount", namespace)
    return [
        *(item for item in _bindings(context) if _is_for(item, namespace)),
        *(item for item in accounts_here if _reader(item) is not None),
    ]


def _bindings(context: Context) -> list[Object]:
    found = context.cluster.list(_RBAC, "ClusterRoleBinding")
    return [item for item in found if _reader(item) is not None]


def _is_for(binding: Object, namespace: str) -> bool:
    subjects = binding.get("subjects") or []
    return any(subject.get("namespace") == namespace for subject in subjects)


def _reader(item: Object) -> str | None:
    """Whose account or binding it is."""
    name: str | None = labels_of(item).get(manifest.READER_LABEL)
    return name
