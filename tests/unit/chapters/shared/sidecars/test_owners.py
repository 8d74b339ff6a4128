"""Pods that their owner restarts are waited for, and how to restart them is said in full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base import State, WaitTimeout, journal
from runbook_lib.base.wait import until
from runbook_lib.chapters.shared.sidecars import owners
from runbook_lib.cluster import Cluster, Object
from runbook_lib.lifecycle import ByHand, Context
from tests.unit.doubles.given_cluster import GivenCluster, context, pod

OWNER = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "xnat-db"}


class Later(GivenCluster):
    """A watch sees what is there later, once, and then time is up."""

    later: tuple[Object, ...] = ()

    def watch_until(
        self,
        what: str,
        _version: str,
        _kind: str,
        _namespace: str,
        observe: Callable[[list[Object]], State],
        **_options: Any,
    ) -> State:
        return until(what, lambda: observe(list(self.later)), timeout=0)


def owned(number: int, *, sidecar: bool, api: str = OWNER["apiVersion"]) -> Object:
    references = [{**OWNER, "apiVersion": api, "controller": True}]
    labels = {"cnpg.io/cluster": "xnat-db"}
    return pod(f"xnat-db-{number}", labels=labels, sidecar=sidecar, ownerReferences=references)


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Context]:
    def make(*now: Object, later: tuple[Object, ...] = ()) -> Context:
        made = context(tmp_path, *now, application={"restarted_by_owner": ["Cluster/xnat-db"]})
        cluster = Later(*now)
        cluster.later = later
        return replace(made, cluster=cast(Cluster, cluster))

    return make


Given = Callable[..., Context]


def test_owners_whose_pods_have_sidecars_are_done(given: Given) -> None:
    assert list(owners.unfinished(given(owned(1, sidecar=True)))) == []


def test_a_plan_says_which_pods_and_how(given: Given) -> None:
    (found,) = owners.unfinished(given(owned(1, sidecar=False), owned(2, sidecar=True)))
    assert (found.count, len(found.older)) == (2, 1)
    note = owners.note(found)
    assert "only waited for: the pods of Cluster xnat/xnat-db (xnat-db-1)" in note
    assert "kubectl cnpg restart xnat-db --namespace xnat" in note


def test_of_another_operator_the_pods_are_named_to_be_deleted(given: Given) -> None:
    (found,) = owners.unfinished(given(owned(1, sidecar=False, api="acid.zalan.do/v1")))
    assert found.how.endswith("kubectl delete pod --namespace xnat xnat-db-1")


def test_it_waits_until_each_pod_is_back_with_a_sidecar(given: Given) -> None:
    before = owned(1, sidecar=False), owned(2, sidecar=False)
    after = owned(1, sidecar=True), owned(2, sidecar=True)
    owners.wait(given(*before, later=after))


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ((owned(1, sidecar=True), owned(2, sidecar=False)), "xnat-db-2 has no istio-proxy"),
        ((owned(1, sidecar=True),), "1 of 2 pods"),
    ],
)
def test_pods_that_lack_one_or_have_not_come_back_are_not_enough(
    given: Given, later: tuple[Object, ...], said: str
) -> None:
    found = given(owned(1, sidecar=False), owned(2, sidecar=False), later=later)
    with pytest.raises(WaitTimeout, match=said) as error:
        owners.wait(found)
    assert "restart them, and run this step again: kubectl cnpg restart" in str(error.value)


def test_on_the_way_back_those_with_a_sidecar_are_waited_for(given: Given) -> None:
    found = given(owned(1, sidecar=True), later=(owned(1, sidecar=True),))
    with pytest.raises(WaitTimeout, match="xnat-db-1 has still an istio-proxy"):
        owners.wait(found, sidecars=False)
    owners.wait(given(owned(1, sidecar=True), later=(owned(1, sidecar=False),)), sidecars=False)


def test_what_a_person_has_to_do_is_in_the_evidence(given: Given) -> None:
    found = given(owned(1, sidecar=False), later=(owned(1, sidecar=True),))
    owners.wait(found)
    (entry,) = journal.read(found.journal.path).entries
    assert isinstance(entry.event, ByHand)
    assert "kubectl cnpg restart xnat-db" in entry.event.what
