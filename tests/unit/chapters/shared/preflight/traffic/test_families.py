"""Pods with addresses of both families need an Istio that cares for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared.preflight.traffic import past_sidecars, two_families
from runbook_lib.cluster.objects import Object
from tests.unit.doubles.given_cluster import context, pod

BOTH = ["10.1.2.3", "2001:db8::3"]
SET = {"ISTIO_DUAL_STACK": "true"}
VALUES = {"pilot": {"env": SET}, "meshConfig": {"defaultConfig": {"proxyMetadata": SET}}}


def web(addresses: list[str], *, sidecar: bool = False, **env: str) -> Object:
    found = pod(sidecar=sidecar)
    found["status"]["podIPs"] = [{"ip": each} for each in addresses]
    if sidecar:
        proxy = found["spec"]["containers"][-1]
        proxy["env"] = [{"name": name, "value": value} for name, value in env.items()]
    return found


@pytest.mark.parametrize(
    "values", [{}, {"pilot": VALUES["pilot"]}, {"meshConfig": VALUES["meshConfig"]}]
)
def test_an_istiod_that_cares_for_one_family_is_refused(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    (finding,) = two_families(context(tmp_path, web(BOTH)), values)
    assert finding.refuses
    assert finding.evidence == ("pod xnat-xnat-web-0 .status.podIPs: 10.1.2.3, 2001:db8::3",)
    assert 'ISTIO_DUAL_STACK: "true"' in finding.parameter


@pytest.mark.parametrize(
    ("addresses", "values"),
    [(BOTH, VALUES), (["10.1.2.3"], {}), (["2001:db8::3"], {}), ([], {})],
)
def test_one_family_alone_needs_nothing(
    tmp_path: Path, addresses: list[str], values: dict[str, Any]
) -> None:
    assert list(two_families(context(tmp_path, web(addresses)), values)) == []


def test_sidecars_that_care_for_one_family_refuse_the_policies(tmp_path: Path) -> None:
    (finding,) = past_sidecars(context(tmp_path, web(BOTH, sidecar=True)))
    assert finding.refuses
    assert "no policy holds" in finding.effect
    assert "restart these pods" in finding.remedy


def test_sidecars_that_care_for_both_are_as_they_should_be(tmp_path: Path) -> None:
    found = context(tmp_path, web(BOTH, sidecar=True, ISTIO_DUAL_STACK="true"))
    assert list(past_sidecars(found)) == []
