"""Kiali's ways in: what has to go first, what is in the way, and what is judged."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import ClusterRefused
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.kiali.instance import judging, obstacles, parts, replacing
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Context, Finding, Refused, Severity
from tests.unit.doubles.given_cluster import context
from tests.unit.samples import lab_parameters

CERTIFICATE = "arn:aws:acm:ap-southeast-2:111122223333:certificate/0a1b2c3d"
WAYS: dict[str, dict[str, Any]] = {
    "cluster": {},
    "load-balancer": {},
    "nlb-tls": {"host": "kiali.example.com", "certificate_arn": CERTIFICATE},
    "alb-ingress": {"host": "kiali.example.com", "certificate_arn": CERTIFICATE},
    "ingress": {"host": "kiali.example.com", "ingress_class": "traefik"},
}
OWNED = {"ownerReferences": [{"kind": "Kiali", "name": "kiali", "uid": "uid-of-kiali"}]}
LBC: Object = {
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "targetgroupbindings.elbv2.k8s.aws"},
}

NODE: Object = {
    "kind": "Node",
    "metadata": {"name": "node"},
    "spec": {},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def way(exposure: str, **more: Any) -> dict[str, Any]:
    return {"exposure": exposure, **WAYS[exposure], **more}


def carried_out(kiali: dict[str, Any]) -> list[Object]:
    """The resource for these parameters, and what the operator has made of it."""
    resource = deepcopy(manifest.kiali(lab_parameters(kiali=kiali)))
    resource["metadata"]["uid"] = "uid-of-kiali"
    made = deepcopy(list(parts.of(resource)))
    for item in made:
        item["metadata"] |= OWNED
    return [resource, *made]


def ingress_class(name: str, controller: str) -> Object:
    return {"kind": "IngressClass", "metadata": {"name": name}, "spec": {"controller": controller}}


@pytest.fixture
def replaced(tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """What goes first on the way from one exposure to another, and why."""

    def look(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
        looking = context(tmp_path, *carried_out(before), kiali=after)
        found = replacing.needed(looking, manifest.kiali(looking.parameters))
        return [(each.item["kind"], each.why) for each in found]

    return look


@pytest.mark.parametrize(
    ("before", "after", "kind", "why"),
    [
        (way("nlb-tls"), way("cluster"), "Service", "its type changes"),
        (way("load-balancer"), way("alb-ingress"), "Service", "its type changes"),
        (way("load-balancer"), way("nlb-tls"), "Service", "aws-load-balancer-type"),
        (way("nlb-tls"), way("load-balancer"), "Service", "would leave .*-ssl-cert"),
        (
            way("nlb-tls"),
            way("nlb-tls", load_balancer_class="eks.amazonaws.com/nlb"),
            "Service",
            "loadBalancerClass cannot change: none becomes eks.amazonaws.com/nlb",
        ),
        (
            way("nlb-tls", load_balancer_class="eks.amazonaws.com/nlb"),
            way("nlb-tls"),
            "Service",
            "eks.amazonaws.com/nlb becomes none",
        ),
        (way("alb-ingress"), way("ingress"), "Ingress", "alb becomes traefik; .*certificate-arn"),
        (
            way("alb-ingress", source_ranges=["10.0.0.0/8"]),
            way("alb-ingress"),
            "Ingress",
            "would leave alb.ingress.kubernetes.io/inbound-cidrs",
        ),
    ],
)
def test_what_cannot_be_changed_in_place_goes_first(
    replaced: Callable[..., list[tuple[str, str]]],
    before: dict[str, Any],
    after: dict[str, Any],
    kind: str,
    why: str,
) -> None:
    ((found, reason),) = replaced(before, after)
    assert found == kind
    assert re.search(why, reason)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((way(each), way(each)) for each in WAYS),
        (way("cluster"), way("nlb-tls")),
        (way("alb-ingress"), way("cluster")),
        (way("nlb-tls"), way("nlb-tls", tls_policy="ELBSecurityPolicy-TLS13-1-3-2021-06")),
        (way("nlb-tls", source_ranges=["10.0.0.0/8"]), way("nlb-tls")),
        (way("alb-ingress"), way("alb-ingress", source_ranges=["10.0.0.0/8"])),
    ],
)
def test_what_can_be_changed_in_place_stays(
    replaced: Callable[..., list[tuple[str, str]]], before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert replaced(before, after) == []


def test_a_class_that_the_cluster_gave_the_service_is_no_reason(tmp_path: Path) -> None:
    """Webhooks of controllers set theirs on every Service that asks for a load balancer."""
    resource, service = carried_out(way("nlb-tls"))
    service["spec"]["loadBalancerClass"] = "service.k8s.aws/nlb"
    looking = context(tmp_path, resource, service, kiali=way("nlb-tls"))
    assert replacing.needed(looking, manifest.kiali(looking.parameters)) == []


def test_what_the_operator_did_not_make_is_never_deleted(tmp_path: Path) -> None:
    resource, service = carried_out(way("nlb-tls"))
    service["metadata"]["ownerReferences"] = [{"kind": "Kiali", "uid": "another"}]
    looking = context(tmp_path, resource, service, kiali=way("cluster"))
    with pytest.raises(Refused, match="does not own it") as refused:
        replacing.needed(looking, manifest.kiali(looking.parameters))
    assert "kubectl --namespace istio-system delete service kiali" in refused.value.remedy


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """What is in the way of an exposure on a cluster with these objects."""

    def look(
        kiali: dict[str, Any], *objects: Object, refuse: ClusterRefused | None = None
    ) -> list[Finding]:
        nodes = [] if any(each["kind"] == "Node" for each in objects) else [NODE]
        looking = context(tmp_path, *objects, *nodes, kiali=kiali)
        desired = manifest.kiali(looking.parameters)

        def apply(_manifest: Object, **_options: Any) -> None:
            if refuse:
                raise refuse

        monkeypatch.setattr(looking.cluster, "apply", apply, raising=False)
        replaced = replacing.needed(looking, desired)
        return list(obstacles.find(looking, desired, replaced))

    return look


Look = Callable[..., list[Finding]]


def test_an_ingress_of_a_class_that_is_not_there_is_refused(found: Look) -> None:
    there = ingress_class("haproxy", "haproxy.org/ingress-controller")
    (finding,) = found(way("ingress"), there)
    assert finding.refuses
    assert "the classes that are there: haproxy" in finding.remedy
    (finding,) = found(way("alb-ingress"))
    assert (finding.where, finding.refuses) == ("IngressClass alb", True)


def test_load_balancer_settings_need_a_controller_that_reads_them(found: Look) -> None:
    given = way("alb-ingress", ingress_class="front")
    (finding,) = found(given, ingress_class("front", "traefik.io/ingress-controller"))
    assert "makes no application load balancers" in finding.what
    for controller in ("ingress.k8s.aws/alb", "eks.amazonaws.com/alb"):
        assert found(given, ingress_class("front", controller)) == []


def test_that_ingress_nginx_is_retired_is_a_note_and_its_successors_are_none(found: Look) -> None:
    given = way("ingress", ingress_class="nginx")
    (finding,) = found(given, ingress_class("nginx", "k8s.io/ingress-nginx"))
    assert finding.severity is Severity.NOTE
    assert "retired in March 2026" in finding.what
    assert found(given, ingress_class("nginx", "nginx.org/ingress-controller")) == []


@pytest.mark.parametrize(
    ("kiali", "there"),
    [
        (way("nlb-tls"), LBC),
        (way("nlb-tls", load_balancer_class="service.k8s.aws/nlb"), LBC),
        (
            way("nlb-tls", load_balancer_class="example.com/metal"),
            {
                "kind": "Service",
                "metadata": {"name": "other", "namespace": "shop"},
                "spec": {"loadBalancerClass": "example.com/metal"},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
            },
        ),
    ],
)
def test_a_class_that_no_controller_shows_for_is_said(
    found: Look, kiali: dict[str, Any], there: Object
) -> None:
    (finding,) = found(kiali)
    assert finding.severity is Severity.NOTE
    assert "nothing shows a controller" in finding.what
    assert found(kiali, there) == []


def test_what_the_api_server_would_refuse_is_found_before_the_operator_fails(found: Look) -> None:
    refusal = ClusterRefused("denied: load balancers are internal", status=422, reason="Invalid")
    (finding,) = found(way("load-balancer"), refuse=refusal)
    assert finding.refuses
    assert "load balancers are internal" in finding.what


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        ('namespaces "istio-system" not found', 404),
        ('services "kiali" is forbidden: User "ana" cannot patch resource "services"', 403),
        ('admission webhook "services.example.com" does not support dry run', 400),
    ],
)
def test_what_could_not_be_tried_is_not_refused(found: Look, cause: str, status: int) -> None:
    refusal = ClusterRefused(cause, status=status, reason="Forbidden")
    assert found(way("load-balancer"), refuse=refusal) == []


def test_a_quota_that_the_old_service_still_fills_is_no_obstacle(found: Look) -> None:
    refusal = ClusterRefused("exceeded quota: balancers", status=403, reason="Forbidden")
    there = carried_out(way("load-balancer"))
    assert found(way("nlb-tls"), LBC, *there, refuse=refusal) == []
    (finding,) = found(way("load-balancer"), refuse=refusal)
    assert "exceeded quota" in finding.what


def judged(looking: Context) -> dict[str, bool | None]:
    return {check.subject: check.ok for check in judging.checks(looking)}


def test_what_a_platforms_policy_adds_is_not_judged(tmp_path: Path) -> None:
    resource, service = carried_out(way("nlb-tls"))
    service["metadata"]["annotations"] |= {
        "policy.example.com/cost-centre": "imaging",
        f"{manifest.NLB}-additional-resource-tags": "owner=imaging",
    }
    service["metadata"]["labels"] = {"policy.example.com/tier": "2"}
    looking = context(tmp_path, resource, service, kiali=way("nlb-tls"))
    assert set(judged(looking).values()) == {True}


@pytest.mark.parametrize(
    "change",
    [
        lambda item: item["metadata"]["annotations"].update({f"{manifest.NLB}-ssl-cert": "other"}),
        lambda item: item["metadata"]["annotations"].pop(f"{manifest.NLB}-ssl-ports"),
        lambda item: item["spec"].update(loadBalancerSourceRanges=["0.0.0.0/0"]),
        lambda item: item["spec"].pop("loadBalancerClass"),
    ],
)
def test_what_was_asked_for_and_is_not_there_is_wrong(
    tmp_path: Path, change: Callable[[Object], Any]
) -> None:
    given = way("nlb-tls", load_balancer_class="a.b/c", source_ranges=["10.0.0.0/8"])
    resource, service = carried_out(given)
    change(service)
    looking = context(tmp_path, resource, service, kiali=given)
    assert judged(looking)["settings of Service istio-system/kiali"] is False


def test_an_ingress_that_is_missing_is_wrong(tmp_path: Path) -> None:
    resource, service, _ = carried_out(way("ingress"))
    looking = context(tmp_path, resource, service, kiali=way("ingress"))
    assert judged(looking)["settings of Ingress istio-system/kiali"] is False


@pytest.mark.parametrize(
    ("exposure", "key"),
    [
        ("nlb-tls", "service.beta.kubernetes.io/aws-load-balancer-ip-address-type"),
        ("alb-ingress", "alb.ingress.kubernetes.io/ip-address-type"),
    ],
)
def test_a_load_balancer_for_ipv4_is_refused_where_pods_have_ipv6(
    found: Look, exposure: str, key: str
) -> None:
    kubernetes = {
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"ipFamilies": ["IPv6"]},
    }
    alb = ingress_class("alb", "eks.amazonaws.com/alb")
    (finding,) = found(way(exposure), LBC, alb, kubernetes)
    assert finding.refuses
    assert f"{key}: dualstack" in finding.parameter
    annotations = {key: "dualstack"}
    deployment: Object = {"service_annotations": annotations}
    if exposure == "alb-ingress":
        deployment = {"ingress": {"override_yaml": {"metadata": {"annotations": annotations}}}}
    spec = {"deployment": deployment}
    assert found(way(exposure, spec=spec), LBC, alb, kubernetes) == []


def test_kialis_tolerations_count_before_its_pods_are_there(found: Look) -> None:
    taint = {"key": "tools", "value": "yes", "effect": "NoSchedule"}
    tainted = {**NODE, "spec": {"taints": [taint]}}
    (finding,) = found(way("cluster"), tainted)
    assert finding.refuses
    assert finding.parameter == (
        "kiali.spec.deployment.tolerations: [{key: tools, operator: Exists}]"
    )
    spec = {"deployment": {"tolerations": [{"key": "tools", "operator": "Exists"}]}}
    assert found(way("cluster", spec=spec), tainted) == []


NAMESPACE: Object = {"kind": "Namespace", "metadata": {"name": "istio-system"}}


@pytest.mark.parametrize(
    ("kind", "there", "refuses", "said"),
    [
        (None, [NAMESPACE], True, "there is none"),
        ("Opaque", [NAMESPACE], True, "its type is Opaque, and not kubernetes.io/tls"),
        (None, [], False, "there is none"),
        ("kubernetes.io/tls", [NAMESPACE], False, "of type kubernetes.io/tls"),
    ],
)
def test_the_secret_of_an_ingresss_certificate_is_looked_for_by_its_type(
    found: Look,
    monkeypatch: pytest.MonkeyPatch,
    kind: str | None,
    there: list[Object],
    refuses: bool,
    said: str,
) -> None:
    asked: list[tuple[str, str]] = []

    def type_of(_cluster: object, name: str, namespace: str) -> str | None:
        asked.append((name, namespace))
        return kind

    monkeypatch.setattr(obstacles, "type_of_secret", type_of)
    traefik = ingress_class("traefik", "traefik.io/ingress-controller")
    (finding,) = found(way("ingress", tls_secret="kiali-tls"), traefik, *there)
    assert asked == [("kiali-tls", "istio-system")]
    assert finding.refuses is refuses
    assert finding.where == "Secret istio-system/kiali-tls"
    assert said in finding.what
