"""The pod that is tried before the first one that serves users is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from runbook_lib.base.errors import VerificationFailed
from runbook_lib.chapters.shared.sidecars import TryOnePod
from tests.unit.chapters.shared.preflight.workloads.given import (
    DATABASE,
    TryingCluster,
    namespace,
    on,
    pod,
)
from tests.unit.samples import CLUSTER, from_mapping

TRIED = {"canary": True}


def test_where_there_are_no_users_it_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    found = on(tmp_path, *namespace())
    step = TryOnePod()
    plan = step.plan(found)
    assert plan.empty
    assert "Not tried" in plan.note
    seen = step.verify(found)
    assert seen.ok
    assert "Not tried" in seen.headline


def test_in_production_it_is_tried_unless_left_out() -> None:
    assert from_mapping(CLUSTER).tries_canary
    left_out = {**CLUSTER["application"], "canary": False}
    assert not from_mapping({**CLUSTER, "application": left_out}).tries_canary


def test_the_pod_is_of_the_sidecars_own_image_and_nothing_selects_it(tmp_path: Path) -> None:
    found = on(tmp_path, *namespace(), application=TRIED)
    step = TryOnePod()
    step.plan(found)
    made = cast(TryingCluster, found.cluster).tried[-1]
    assert made["kind"] == "Job"
    template = made["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["image"] == "istio/proxyv2"
    assert "volumes" not in template["spec"]
    assert set(template["metadata"]["labels"]) == {
        "istio-runbook/caller",
        "sidecar.istio.io/inject",
    }


def test_with_every_sidecar_in_place_there_is_nothing_to_try(tmp_path: Path) -> None:
    meshed = {"containers": [{"name": "main"}, {"name": "istio-proxy"}]}
    objects = namespace(web_pod=pod(**meshed))
    objects[2] = pod(DATABASE, **meshed)
    plan = TryOnePod().plan(on(tmp_path, *objects, application=TRIED))
    assert plan.empty
    assert "no pod is to be replaced" in plan.note


def test_a_pod_that_was_not_tried_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed, match="no pod has been tried"):
        TryOnePod().verify(on(tmp_path, *namespace(), application=TRIED))
