"""An object goes back to what it was if it is what the step made of it, and not otherwise."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.chapters.injection import steps as injection
from runbook_lib.chapters.shared import RevertibleStep
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Before, Context, Former, Plan, Verification
from tests.unit.doubles import given_cluster

NAMES = {"name": "default", "namespace": "istio-system"}
POLICY: Object = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": NAMES,
    "spec": {"mtls": {"mode": "STRICT"}},
}
FORMER = {**POLICY, "spec": {"mtls": {"mode": "PERMISSIVE"}}}


class Stored(given_cluster.GivenCluster):
    """Holds what is applied, as an API server does; a dry run is told from the real thing."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(*(self._stored(each, "7") for each in objects))
        self.deleted: list[Mapping[str, str]] = []

    @staticmethod
    def _stored(item: Object, version: str) -> Object:
        written = {"uid": "u1", "resourceVersion": version, "generation": 3}
        return {**item, "metadata": {**item["metadata"], **written}}

    def apply(self, manifest: Object, *, dry_run: bool = False) -> Object:
        stored = self._stored(manifest, "8")
        if not dry_run:
            self.objects = [stored]
        return stored

    def delete(self, *_place: str, only: Mapping[str, str]) -> None:
        self.deleted.append(only)
        self.objects = []


class SetPolicy(RevertibleStep):
    name, title, why, takes, risk, undo = "set", "Set it", "why", "a second", "none", "delete it"

    def manifests(self, context: Context) -> list[Object]:
        del context
        return [POLICY]

    def plan(self, context: Context) -> Plan:
        raise NotImplementedError

    def apply(self, context: Context, plan: Plan) -> None:
        raise NotImplementedError

    def verify(self, context: Context) -> Verification:
        raise NotImplementedError


def on(folder: Path, cluster: Stored) -> Context:
    return replace(given_cluster.context(folder), cluster=cast(Cluster, cluster))


def found(context: Context) -> Former:
    """What the step records before it changes the policy."""
    return SetPolicy()._former(context, POLICY)


def restore(context: Context, former: Former) -> None:
    SetPolicy().restore(context, Before((former,), served=True))


def test_what_was_not_there_is_deleted_if_it_is_still_the_same_one(tmp_path: Path) -> None:
    cluster = Stored()
    context = on(tmp_path, cluster)
    former = found(context)
    cluster.apply(POLICY)
    restore(context, former)
    assert cluster.deleted == [{"uid": "u1", "resourceVersion": "8"}]


def test_what_was_there_is_applied_as_it_was_and_not_replaced(tmp_path: Path) -> None:
    cluster = Stored(FORMER)
    context = on(tmp_path, cluster)
    former = found(context)
    assert former.manifest == FORMER, "without what the cluster has written there"
    cluster.apply(POLICY)
    restore(context, former)
    assert cluster.deleted == []
    assert cluster.objects[0]["spec"] == FORMER["spec"]


def test_what_is_as_it_was_already_is_left_alone(tmp_path: Path) -> None:
    cluster = Stored()
    context = on(tmp_path, cluster)
    restore(context, found(context))
    assert cluster.deleted == []


@pytest.mark.parametrize(
    "theirs",
    [
        {**POLICY, "spec": {"mtls": {"mode": "DISABLE"}}},
        {**POLICY, "metadata": {**NAMES, "labels": {"owner": "somebody"}}},
        {
            **POLICY,
            "metadata": {
                **NAMES,
                "managedFields": [
                    {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:mtls": {"f:mode": {}}}}}
                ],
            },
        },
    ],
)
def test_what_others_have_changed_or_share_is_left_to_them(tmp_path: Path, theirs: Object) -> None:
    cluster = Stored()
    context = on(tmp_path, cluster)
    former = found(context)
    cluster.apply(theirs)
    with pytest.raises(RunbookError, match="PeerAuthentication istio-system/default"):
        restore(context, former)
    assert cluster.deleted == []


def test_the_command_names_the_cluster_and_survives_a_shell(tmp_path: Path) -> None:
    command = found(on(tmp_path, Stored())).command
    assert shlex.split(command) == [
        *("kubectl", "--kubeconfig", "/nowhere/kubeconfig", "--context", "lab-default", "delete"),
        *("peerauthentication.security.istio.io", "default"),
        *("--namespace", "istio-system", "--ignore-not-found"),
    ]
    printf, _, json, pipe, *kubectl = shlex.split(found(on(tmp_path, Stored(FORMER))).command)
    assert (printf, pipe, kubectl[0]) == ("printf", "|", "kubectl")
    assert '{"mode": "PERMISSIVE"}' in json
    assert kubectl[-3:] == ["--server-side", "--field-manager=istio-runbook", "--filename=-"]


def namespace(**labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "xnat", "labels": {"team": "imaging", **labels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def test_of_a_namespace_only_the_label_goes_back(tmp_path: Path) -> None:
    _, label, _ = injection.steps(on(tmp_path, Stored()).parameters)
    assert isinstance(label, RevertibleStep)
    bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "xnat"}}
    assert label.part(namespace()) == bare
    other = label.part(namespace(**{"istio.io/rev": "canary"}))
    assert other == {**bare, "metadata": {"name": "xnat", "labels": {"istio.io/rev": "canary"}}}
    context = on(tmp_path, Stored())
    assert label.command(context, bare, bare).endswith("label namespace xnat istio-injection-")
    assert "printf" in label.command(context, bare, other)
