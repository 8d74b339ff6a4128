"""NetworkPolicies that would keep new sidecars from istiod refuse the restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.chapters.injection import steps as injection
from runbook_lib.chapters.shared.preflight.traffic.istiod import istiod_out_of_reach
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Severity
from tests.unit.chapters.shared.preflight.traffic.site import DATABASE, service, site
from tests.unit.doubles.given_cluster import pod

TO_DNS: Object = {"to": [{"namespaceSelector": {}, "podSelector": {}}], "ports": [{"port": 53}]}
TO_DNS["ports"][0]["protocol"] = "UDP"


def policy(name: str, namespace: str = "xnat", **spec: Any) -> Object:
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, **spec},
    }


def test_egress_that_closes_istiods_port_names_policy_workloads_and_rule(tmp_path: Path) -> None:
    closing = policy("inside", policyTypes=["Egress"], egress=[TO_DNS])
    (finding,) = istiod_out_of_reach(site(tmp_path, closing))
    assert finding.refuses
    assert finding.where == "NetworkPolicy xnat/inside"
    assert "StatefulSet xnat/xnat-xnat-web, StatefulSet xnat/xnat-postgresql" in finding.what
    assert "istiod on TCP 15012" in finding.what
    assert "never become ready" in finding.effect
    assert "kubernetes.io/metadata.name: istio-system" in finding.remedy
    assert finding.evidence[0].startswith("NetworkPolicy xnat/inside .spec.egress:")


def test_egress_that_closes_dns_is_named_beside_istiod(tmp_path: Path) -> None:
    closing = policy("none", policyTypes=["Egress"], podSelector={"matchLabels": DATABASE})
    istiod, dns = istiod_out_of_reach(site(tmp_path, closing))
    assert "istiod on TCP 15012" in istiod.what
    assert "the cluster's DNS on UDP 53" in dns.what
    assert "xnat-xnat-web" not in dns.what


def test_ingress_of_istiods_namespace_counts_too(tmp_path: Path) -> None:
    closing = policy("own", "istio-system", ingress=[{"from": [{"podSelector": {}}]}])
    (finding,) = istiod_out_of_reach(site(tmp_path, closing))
    assert finding.where == "NetworkPolicy istio-system/own"
    assert finding.remedy.startswith(
        "add to .spec.ingress: {from: [{namespaceSelector: {matchLabels: "
        "{kubernetes.io/metadata.name: xnat}}}]"
    )


def test_addresses_leave_it_open_and_are_only_noted(tmp_path: Path) -> None:
    by_address = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    noted = policy("addresses", policyTypes=["Egress"], egress=[TO_DNS, by_address])
    (finding,) = istiod_out_of_reach(site(tmp_path, noted))
    assert finding.severity is Severity.NOTE
    assert "cannot be told" in finding.what


def test_ready_sidecars_have_proved_that_they_get_there(tmp_path: Path) -> None:
    closing = policy("none", policyTypes=["Egress"])
    (istiod, _) = istiod_out_of_reach(site(tmp_path, closing, pod()))
    assert "xnat-xnat-web" not in istiod.what
    everybody = (pod(), pod("xnat-postgresql-0", labels=DATABASE))
    assert list(istiod_out_of_reach(site(tmp_path, closing, *everybody))) == []


def test_what_is_open_says_nothing(tmp_path: Path) -> None:
    ingress_only = policy("database", ingress=[{"ports": [{"port": 5432}]}])
    everything = policy("all", policyTypes=["Egress"], egress=[{}])
    assert list(istiod_out_of_reach(site(tmp_path, ingress_only, everything))) == []
    assert list(istiod_out_of_reach(site(tmp_path))) == []


def test_the_restart_is_refused_for_both_what_is_closed_and_what_would_break(
    tmp_path: Path,
) -> None:
    closing = policy("inside", policyTypes=["Egress"], egress=[TO_DNS])
    broken = service("db", {"port": 5432, "name": "http"}, selector=DATABASE)
    given = site(tmp_path, closing, broken)
    *_, restart = injection.steps(given.parameters)
    assert [each.where for each in restart.obstacles(given)] == [
        "NetworkPolicy xnat/inside",
        "Service xnat/db",
    ]
