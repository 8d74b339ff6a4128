"""A pod that would be refused with its sidecar is found before the old one is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.base.errors import ClusterRefused
from runbook_lib.chapters.shared.preflight import workloads
from runbook_lib.cluster.objects import Object
from tests.unit.chapters.shared.preflight.workloads.given import namespace, on, refusing


def refusal(cause: str, status: int = 403) -> ClusterRefused:
    return ClusterRefused(cause, status=status, reason="Forbidden")


def has_sidecar(pod: Object) -> bool:
    return any(each["name"] == "istio-proxy" for each in pod["spec"]["containers"])


def test_what_is_refused_with_a_sidecar_alone_is_refused_by_its_reason(tmp_path: Path) -> None:
    cause = "maximum cpu usage per Container is 1, but limit is 2"
    found = on(
        tmp_path,
        *namespace(),
        refuse=lambda pod: refusal(cause) if has_sidecar(pod) else None,
    )
    database, web = refusing(workloads.before_restart(found))
    assert database.where == "StatefulSet xnat/xnat-postgresql"
    assert web.where == "StatefulSet xnat/xnat-xnat-web"
    assert cause in web.what
    assert web.parameter == "istio.istiod.values.global.proxy.resources"
    assert refusing(workloads.before_label(found)) == [database, web]


def test_what_pod_security_refuses_counts_even_if_it_refuses_all_else(tmp_path: Path) -> None:
    cause = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": NET_ADMIN'
    found = on(tmp_path, *namespace(), refuse=lambda _: refusal(cause))
    finding, _ = refusing(workloads.before_restart(found))
    assert finding.where == "Namespace xnat"
    assert "pod-security.kubernetes.io/enforce=privileged" in finding.remedy


@pytest.mark.parametrize(
    "cause",
    ['User "ci" cannot create resource "pods"', "admission webhook denied: only by controllers"],
)
def test_what_is_refused_either_way_is_for_a_person_to_judge(tmp_path: Path, cause: str) -> None:
    found = on(tmp_path, *namespace(), refuse=lambda _: refusal(cause))
    finding, _ = refusing(workloads.before_restart(found))
    assert cause in finding.what
    assert finding.parameter == "application.accept: [untried-pods]"
    accepting = {"accept": ["untried-pods"]}
    found = on(tmp_path, *namespace(), refuse=lambda _: refusal(cause), application=accepting)
    assert refusing(workloads.before_restart(found)) == []


def test_a_webhook_without_an_answer_is_refused_with_its_port(tmp_path: Path) -> None:
    cause = 'failed calling webhook "namespace.sidecar-injector.istio.io": connection refused'
    found = on(tmp_path, *namespace(), refuse=lambda _: refusal(cause, status=500))
    finding, _ = refusing(workloads.before_label(found))
    assert "TCP 15017" in finding.remedy
    assert finding.evidence == (".webhooks[*].clientConfig.service.port",)
