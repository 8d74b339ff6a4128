"""A canary: its names, and what keeps the control plane before it from being removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import ParameterError
from runbook_lib.chapters.upgrade import course
from runbook_lib.chapters.upgrade.old import RemoveOld
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Severity
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.finding import Refused
from tests.unit.doubles.given_cluster import pod
from tests.unit.doubles.upgrading import ISTIOD, Given
from tests.unit.samples import lab_parameters

TO = {"to": "1.31.0", "strategy": "canary"}


def namespace(name: str, **labels: str) -> Object:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def injected(revision: str, where: str = "shop") -> Object:
    found = pod()
    found["metadata"].update(namespace=where, annotations={"istio.io/rev": revision})
    return found


def situation(folder: Path, *objects: Object, proxies: dict[str, str] | None = None) -> Context:
    return Given("1.30.2", proxies or {}, objects=(ISTIOD, *objects)).context(folder, **TO)


def test_a_canary_is_a_release_and_a_revision_of_its_own() -> None:
    istio = course.upgraded(lab_parameters(upgrade=TO)).istio
    assert (istio.version, istio.revision) == ("1.31.0", "1-31-0")
    assert istio.istiod.release == "istiod-1-31-0"


def test_in_place_the_release_and_the_revision_stay() -> None:
    istio = course.upgraded(lab_parameters(upgrade={"to": "1.31.0"})).istio
    assert (istio.version, istio.revision) == ("1.31.0", "default")
    assert istio.istiod.release == "istiod"


@pytest.mark.parametrize(
    ("upgrade", "message"),
    [
        ({"revision": "default"}, "upgrade.revision: default is taken"),
        ({"revision": "stable"}, "upgrade.revision: stable is taken"),
        ({"tag": "default"}, "upgrade.tag: the tag default answers to istio-injection"),
    ],
)
def test_names_that_would_be_taken_twice_are_mistakes(
    upgrade: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        lab_parameters(upgrade={**TO, **upgrade})


@pytest.mark.parametrize(
    ("used", "proxies", "said"),
    [
        ((), {"cart-0.shop": "1.30.2"}, "proxies are connected to it: cart-0.shop"),
        ((injected("default"),), {}, "pods have sidecars of its revision default"),
        ((namespace("shop", **{"istio-injection": "enabled"}),), {}, "namespaces ask for its"),
        ((namespace("shop", **{"istio.io/rev": "default"}),), {}, "namespaces ask for its"),
    ],
)
def test_an_istiod_that_anything_uses_is_not_removed(
    tmp_path: Path, used: tuple[Object, ...], proxies: dict[str, str], said: str
) -> None:
    context = situation(tmp_path, *used, proxies=proxies)
    step = RemoveOld(context.parameters)
    with pytest.raises(Refused, match=said):
        step.plan(context)
    (note,) = step.obstacles(context)
    assert note.severity is Severity.NOTE
    assert said in note.text


def test_what_the_steps_before_move_is_not_told_beforehand(tmp_path: Path) -> None:
    """The application's own pods and namespace follow in the course of the same notebook."""
    own = injected("default", "xnat"), namespace("xnat", **{"istio-injection": "enabled"})
    context = situation(tmp_path, *own, proxies={"web-0.xnat": "1.30.2"})
    step = RemoveOld(context.parameters)
    assert list(step.obstacles(context)) == []
    with pytest.raises(Refused, match="3 things are in the way"):
        step.plan(context)


def test_an_istiod_that_does_not_answer_may_have_proxies(tmp_path: Path) -> None:
    context = Given("1.30.2", None).context(tmp_path, **TO)
    with pytest.raises(Refused, match="cannot be told"):
        RemoveOld(context.parameters).plan(context)


def test_in_place_there_is_nothing_to_remove(tmp_path: Path) -> None:
    context = Given("1.30.2").context(tmp_path, to="1.31.0")
    step = RemoveOld(context.parameters)
    assert step.plan(context).empty
    assert step.verify(context).ok
