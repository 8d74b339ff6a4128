"""The lab's own applications have nothing about them that refuses a step."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import yaml

from runbook_lib import chapters
from runbook_lib.base.journal import Journal
from runbook_lib.base.locations import repository_root
from runbook_lib.chapters.shared.outsiders import cut_off
from runbook_lib.chapters.shared.preflight import traffic
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle.context import Context
from runbook_lib.parameters import loading
from tests.unit.doubles.given_cluster import GivenCluster
from tests.unit.samples import LAB

ROOT = repository_root()


NODE = {
    "kind": "Node",
    "metadata": {"name": "node"},
    "status": {"nodeInfo": {"kubeletVersion": "v1.34.1"}},
}


@pytest.mark.parametrize(
    ("application", "parameters"), [("application", "lab"), ("portal", "portal")]
)
def test_nothing_about_the_traffic_of_the_labs_applications_refuses(
    tmp_path: Path, application: str, parameters: str
) -> None:
    text = (ROOT / f"runbook_lib/lab/standins/{application}.yaml").read_text(encoding="utf-8")
    cluster = GivenCluster(NODE, *filter(None, yaml.safe_load_all(text)))
    loaded = loading.load(ROOT / f"parameters/{parameters}.yaml", []).parameters
    context = Context(loaded, LAB, cast("Cluster", cluster), Journal(tmp_path / "e.jsonl", run="r"))
    found = [*cut_off(context), *traffic.istiod_out_of_reach(context), *traffic.not_spoken(context)]
    for notebook in ("04_mutual_tls", "05_authorization"):
        *policies, _asked = chapters.of(notebook, loaded)
        found += [each for step in policies for each in step.obstacles(context)]
    assert [each.text for each in found] == []
