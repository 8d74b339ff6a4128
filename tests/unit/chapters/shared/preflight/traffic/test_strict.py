"""Calls past the web pods' sidecars to what will insist on mutual TLS refuse STRICT."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.shared.preflight.traffic.strict import (
    Closing,
    dependencies_past_sidecars,
)
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Context, Finding
from tests.unit.chapters.shared.preflight.traffic.site import (
    DATABASE,
    database,
    service,
    site,
    web,
)
from tests.unit.samples import lab_parameters


def found_by(context: Context, planned: list[Object]) -> list[Finding]:
    return list(dependencies_past_sidecars(context, Closing.by(context, planned)))


STRICT = [manifest.strict_mutual_tls(lab_parameters())]
PREFIX = "traffic.sidecar.istio.io/"
SERVICE = service("xnat-postgresql", {"port": 5432}, selector=DATABASE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("excludeOutboundPorts", "25,5432"),
        ("excludeOutboundIPRanges", "10.0.0.0/16"),
        ("includeOutboundIPRanges", "172.16.0.0/12"),
    ],
)
def test_the_annotation_that_leads_calls_past_the_sidecars_is_named(
    tmp_path: Path, name: str, value: str
) -> None:
    found = site(tmp_path, web(**{PREFIX + name: value}), SERVICE)
    (finding,) = found_by(found, STRICT)
    assert finding.refuses
    assert finding.where == "Service xnat/xnat-postgresql port 5432"
    annotations = "StatefulSet xnat/xnat-xnat-web .spec.template.metadata.annotations"
    assert finding.evidence == (f"{annotations}.{PREFIX}{name}: {value}",)
    assert "StatefulSet xnat/xnat-postgresql would refuse them" in finding.effect


PERMISSIVE: Object = {
    "kind": "PeerAuthentication",
    "metadata": {"name": "database", "namespace": "xnat"},
    "spec": {"selector": {"matchLabels": DATABASE}, "mtls": {"mode": "PERMISSIVE"}},
}
NOT_CAPTURED = database(**{f"{PREFIX}excludeInboundPorts": "5432"})
NO_SIDECAR = database(**{"sidecar.istio.io/inject": "false"})


@pytest.mark.parametrize("beside", [PERMISSIVE, NOT_CAPTURED, NO_SIDECAR])
def test_a_dependency_that_takes_plaintext_all_the_same_is_reached(
    tmp_path: Path, beside: Object
) -> None:
    past = web(**{f"{PREFIX}excludeOutboundPorts": "5432"})
    assert list(found_by(site(tmp_path, past, SERVICE, beside), STRICT)) == []


def test_calls_through_the_sidecars_say_nothing(tmp_path: Path) -> None:
    other = web(**{f"{PREFIX}excludeOutboundPorts": "25"})
    assert list(found_by(site(tmp_path, other, SERVICE), STRICT)) == []
