"""New pods that the API server would refuse are found, and other refusals do not block."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from runbook_lib.base.errors import ClusterRefused, RunbookError
from runbook_lib.chapters.autoscaling.trial import require_accepted
from runbook_lib.lifecycle.context import Context

ANNOTATION = "sidecar.istio.io/proxyMemory"
INVALID = ClusterRefused("apply: 422 Invalid: above memory limit", status=422, reason="Invalid")
NAKED = ClusterRefused("apply: 403 Forbidden: no naked pods", status=403, reason="Forbidden")
BROKEN = ClusterRefused("apply: 500: failed calling webhook", status=500, reason="InternalError")


class Cluster:
    """Answers dry runs: one kind of refusal for changed pods, one for those of today."""

    def __init__(self, changed: ClusterRefused | None, live: ClusterRefused | None) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = {True: changed, False: live}

    def apply(self, pod: dict[str, Any], *, dry_run: bool) -> None:
        assert dry_run
        self.asked.append(pod)
        refused = self._answers[ANNOTATION in pod["metadata"]["annotations"]]
        if refused:
            raise refused


def workload(**annotations: str) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "web"}, "annotations": annotations},
        "spec": {"containers": [{"name": "web"}], "volumes": [{"name": "tmp", "emptyDir": {}}]},
    }
    claims = [{"metadata": {"name": "data"}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "xnat"},
        "spec": {"template": template, "volumeClaimTemplates": claims},
    }


def outcome(cluster: Cluster) -> str:
    context = cast(Context, SimpleNamespace(cluster=cluster))
    return require_accepted(context, workload(), workload(**{ANNOTATION: "2Gi"}))


def test_a_pod_that_is_accepted_is_as_its_controller_would_create_it() -> None:
    cluster = Cluster(None, None)

    assert outcome(cluster) == ""

    (pod,) = cluster.asked
    assert pod["metadata"]["labels"] == {"app": "web"}
    assert pod["metadata"]["annotations"] == {ANNOTATION: "2Gi"}
    assert [each["name"] for each in pod["spec"]["volumes"]] == ["tmp", "data"]


def test_what_the_annotations_ask_is_refused_in_the_api_servers_words() -> None:
    with pytest.raises(RunbookError, match=r"StatefulSet xnat/web: .*above memory limit") as caught:
        outcome(Cluster(INVALID, None))
    assert "autoscaling.proxy" in caught.value.remedy


@pytest.mark.parametrize(
    ("changed", "live"), [(NAKED, NAKED), (INVALID, NAKED), (BROKEN, None), (BROKEN, BROKEN)]
)
def test_other_refusals_are_told_and_do_not_block(
    changed: ClusterRefused, live: ClusterRefused | None
) -> None:
    told = outcome(Cluster(changed, live))

    assert told == f"whether new pods of StatefulSet xnat/web are accepted, because {changed.cause}"
