"""From which version an upgrade may begin, and what is said where it may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runbook_lib import chapters
from runbook_lib.chapters.upgrade import gate
from runbook_lib.lifecycle import Finding
from runbook_lib.lifecycle.finding import Refused
from tests.unit.doubles.upgrading import Given, Istioctl


def findings(given: Given, folder: Path, to: str, **upgrade: str) -> list[Finding]:
    """What is in the way of an upgrade to this version."""
    return list(gate.in_the_way(given.context(folder, to=to, **upgrade)))


@pytest.mark.parametrize("to", ["1.30.2", "1.30.3", "1.31.0"])
def test_one_minor_version_or_a_patch_is_a_step(tmp_path: Path, to: str) -> None:
    proxies = {"a.xnat": "1.30.2", "b.shop": "1.30.0"}
    assert findings(Given(proxies=proxies), tmp_path, to) == []


def test_more_than_one_minor_version_is_refused_with_the_next_one(tmp_path: Path) -> None:
    (refusal,) = findings(Given("1.29.4"), tmp_path, "1.31.0")
    assert refusal.refuses
    assert "it is of Istio 1.29.4, and 1.31.0 is more than one minor version newer" in refusal.text
    assert refusal.parameter == "upgrade.to: 1.30.x"


def test_an_older_version_is_refused_and_the_way_back_is_named(tmp_path: Path) -> None:
    (refusal,) = findings(Given("1.31.1"), tmp_path, "1.31.0")
    assert "1.31.0 is older" in refusal.text
    assert "run notebook 90 with rollback.keep: 06_kiali" in refusal.remedy


@pytest.mark.parametrize("version", [None, "1.30.1, 1.30.2", "unknown"])
def test_a_version_that_cannot_be_told_refuses(tmp_path: Path, version: str | None) -> None:
    (refusal,) = findings(Given(version), tmp_path, "1.31.0")
    assert refusal.refuses
    assert "its version cannot be told" in refusal.text


def test_proxies_that_would_be_two_minor_versions_behind_refuse(tmp_path: Path) -> None:
    proxies = {"a.xnat": "1.30.2", "old.shop": "1.29.1", "odd.shop": ""}
    (refusal,) = findings(Given(proxies=proxies), tmp_path, "1.31.0")
    assert refusal.refuses
    assert "old.shop (1.29.1), odd.shop (unknown)" in refusal.text
    assert "a.xnat" not in refusal.text


def test_proxies_that_cannot_be_told_refuse(tmp_path: Path) -> None:
    (refusal,) = findings(Given(proxies=None), tmp_path, "1.31.0")
    assert refusal.refuses
    assert "which proxies it has cannot be told" in refusal.text


def test_a_kubernetes_that_one_of_both_versions_does_not_support_refuses(tmp_path: Path) -> None:
    (refusal,) = findings(Given("1.28.1", kubernetes="v1.30.4"), tmp_path, "1.29.0")
    assert refusal.refuses
    assert "Kubernetes v1.30.4: Istio 1.29.0 supports 1.31 to 1.35" in refusal.text
    assert refusal.remedy == "upgrade Kubernetes first"


def test_a_version_of_which_nothing_is_known_is_a_note(tmp_path: Path) -> None:
    (note,) = findings(Given("1.31.0"), tmp_path, "1.32.0")
    assert not note.refuses
    assert "whether Istio 1.32.0 supports it is not known here" in note.text


def test_without_an_istiod_of_the_release_there_is_nothing_to_upgrade(tmp_path: Path) -> None:
    (refusal,) = findings(Given(objects=()), tmp_path, "1.31.0")
    assert refusal.text.startswith("Helm release istio-system/istiod: no istiod is of it")


def test_a_lab_upgrades_to_what_it_brings(tmp_path: Path) -> None:
    context = Given("1.31.0").context(tmp_path, to="1.32.7")
    first = replace(context.target, istio_version="1.31.0")
    target = replace(first, upgrades={"1.32.0": replace(first, istio_version="1.32.0")})
    context = replace(context, target=target)
    context.__dict__["istioctl"] = Istioctl("1.31.0", {})
    refusal = next(iter(gate.in_the_way(context)))
    assert "lab-default: it does not bring Istio 1.32.7" in refusal.text
    assert "choose from: 1.31.0, 1.32.0" in refusal.remedy


def test_without_a_version_no_step_has_anything_to_do(tmp_path: Path) -> None:
    context = Given().context(tmp_path, to=None)
    for step in chapters.of("08_upgrade", context.parameters):
        assert list(step.obstacles(context)) == []
        assert step.plan(context).empty
        assert "upgrade.to names no version" in step.plan(context).note
        assert step.verify(context).ok


def test_what_is_in_the_way_refuses_the_plan_of_every_step(tmp_path: Path) -> None:
    context = Given("1.28.0").context(tmp_path, to="1.31.0", strategy="canary")
    for step in chapters.of("08_upgrade", context.parameters):
        with pytest.raises(Refused, match=r"first to 1\.29"):
            step.plan(context)
