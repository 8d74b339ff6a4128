"""Revision tags: which revision a name, or a namespace's label, stands for."""

from __future__ import annotations

from typing import cast

import pytest

from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.mesh import of_revision, revisions
from tests.unit.doubles.given_cluster import GivenCluster
from tests.unit.samples import lab_parameters


def webhook(**labels: str) -> Object:
    kind = "MutatingWebhookConfiguration"
    return {"kind": kind, "metadata": {"name": "x", "labels": labels}}


TAGS = revisions.tags_among(
    [
        webhook(**{"istio.io/tag": "prod", "istio.io/rev": "1-31"}),
        webhook(**{"istio.io/tag": "default", "istio.io/rev": "1-31"}),
        webhook(**{"istio.io/rev": "1-30"}),
        webhook(),
    ]
)


def test_a_tag_is_a_webhook_configuration_with_both_labels() -> None:
    assert TAGS == {"prod": "1-31", "default": "1-31"}


@pytest.mark.parametrize(("named", "meant"), [("prod", "1-31"), ("1-30", "1-30")])
def test_a_revision_that_is_no_tag_stands_for_itself(named: str, meant: str) -> None:
    given = lab_parameters(istio={"revision": named})
    assert revisions.resolved(given, TAGS).istio.revision == meant


def test_objects_of_istiods_chart_are_named_by_the_revision_behind_a_tag() -> None:
    cluster = GivenCluster(webhook(**{"istio.io/tag": "prod", "istio.io/rev": "1-31"}))
    given = lab_parameters(istio={"revision": "prod"})
    found = revisions.of_cluster(cast("Cluster", cluster), given)
    assert of_revision(found, "istio") == "istio-1-31"


@pytest.mark.parametrize(
    ("labels", "asked"),
    [
        ({"istio.io/rev": "prod"}, "1-31"),
        ({"istio.io/rev": "1-30"}, "1-30"),
        ({"istio-injection": "enabled"}, "1-31"),
        ({"istio-injection": "enabled", "istio.io/rev": "1-30"}, "1-31"),
        ({"istio-injection": "disabled", "istio.io/rev": "1-30"}, None),
        ({}, None),
    ],
)
def test_the_older_label_decides_and_asks_for_the_default(
    labels: dict[str, str], asked: str | None
) -> None:
    assert revisions.asked_for(labels, TAGS) == asked
