"""Manifests: plain YAML with the defaults, and every name and number from the parameters."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runbook_lib import chapters as steps
from runbook_lib.base.errors import ParameterError
from runbook_lib.base.locations import repository_root
from runbook_lib.chapters.kiali import manifest as kiali
from runbook_lib.chapters.policies import manifest as policies
from runbook_lib.chapters.shared.release import manifest as install
from runbook_lib.chapters.shared.sidecars import manifest as injection
from runbook_lib.mesh import callers, dry_run
from runbook_lib.mesh.callers import Asker, Endpoint, Speaks
from runbook_lib.mesh.links import End
from runbook_lib.parameters import RuleParameters
from runbook_lib.parameters.balancers import RECOMMENDED_TLS_POLICY
from runbook_lib.parameters.loading import Parameters
from tests.unit.doubles.given_cluster import WEB
from tests.unit.samples import lab_parameters

CERTIFICATE = "arn:aws:acm:ap-southeast-2:111122223333:certificate/0a1b2c3d"


def exposed(how: str, **more: Any) -> Parameters:
    """Parameters with a way into Kiali that ends TLS."""
    given = {"exposure": how, "host": "kiali.example.com", "certificate_arn": CERTIFICATE}
    if how == "ingress":
        given |= {"ingress_class": "traefik", "tls_secret": "kiali-tls"}
    return lab_parameters(kiali={**given, **more})


EXPOSURES = {
    "cluster": "ClusterIP",
    "load-balancer": "LoadBalancer",
    "nlb-tls": "LoadBalancer",
    "alb-ingress": "ClusterIP",
    "ingress": "ClusterIP",
}
"""The type of Kiali's Service for each."""

DEFAULTS = lab_parameters()
FRONT = {"tier": "web"}
RENDERED: dict[str, dict[str, Any]] = {
    "namespace-istio-system": install.istio_namespace(DEFAULTS),
    "namespace-injection": injection.labelled_namespace(DEFAULTS),
    "peer-authentication-strict": policies.strict_mutual_tls(DEFAULTS),
    "peer-authentication-exception": policies.mutual_tls_exception(DEFAULTS, WEB),
    "destination-rule": policies.destination_rule(DEFAULTS, [80]),
    "authorization-policy": policies.authorization_policy(DEFAULTS, WEB, ["GET", "HEAD"]),
    "dry-run-log": dry_run.access_log(DEFAULTS, WEB),
    "namespace-kiali-operator": kiali.operator_namespace(DEFAULTS),
    "kiali": kiali.kiali(DEFAULTS),
    "kiali-nlb-tls": kiali.kiali_nlb_tls(exposed("nlb-tls")),
    "kiali-alb-ingress": kiali.kiali_alb_ingress(exposed("alb-ingress")),
    "kiali-ingress": kiali.kiali_ingress(exposed("ingress")),
    "telemetry": kiali.telemetry(DEFAULTS),
    "kiali-reader-role": kiali.kiali_reader_role(),
    "kiali-reader-account": kiali.kiali_reader_account(DEFAULTS, "ana"),
    "kiali-reader-binding": kiali.kiali_reader_binding(DEFAULTS, "ana"),
}
SERVER = Endpoint(
    End("xnat-xnat-web", sidecars=True),
    "xnat-xnat-web",
    "xnat-xnat-web.xnat.svc.cluster.local",
    80,
    Speaks.HTTP,
)
SIDECAR = {"name": "istio-proxy", "image": "istio/proxyv2:1.31.1"}
RENDERED["caller"] = callers.job(
    Asker("xnat"), [SERVER], {"spec": {"containers": [SIDECAR]}}, seconds=180, revision="default"
)
OTHER = lab_parameters(
    application={
        "namespace": "shop",
        "web": {"name": "front", "service": "front-svc", "port": 3000},
        "restart_order": ["StatefulSet/front"],
    },
    istio={"namespace": "mesh", "revision": "canary"},
    mutual_tls={"policy": "all", "exception": "edge"},
    authorization={"policy": "methods", "destination_rule": "front"},
)


FILES = {path.stem: path for path in (repository_root() / "runbook_lib").rglob("manifests/*.yaml")}


def stored(name: str) -> Any:
    """A manifest as a reader would apply it by hand."""
    return yaml.safe_load(FILES[name].read_text())


def test_every_file_is_rendered_by_a_function() -> None:
    assert set(RENDERED) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_with_the_defaults_a_manifest_is_what_its_file_says(name: str) -> None:
    assert RENDERED[name] == stored(name)


def test_the_mesh_wide_policy_has_no_selector_and_is_in_the_root_namespace() -> None:
    rendered = policies.strict_mutual_tls(OTHER)
    assert rendered["metadata"] == {"name": "all", "namespace": "mesh"}
    assert rendered["spec"] == {"mtls": {"mode": "STRICT"}}


def test_the_exception_names_the_containers_port_as_text() -> None:
    rendered = policies.mutual_tls_exception(OTHER, FRONT)
    assert rendered["metadata"] == {"name": "edge", "namespace": "shop"}
    assert rendered["spec"] == {
        "selector": {"matchLabels": {"tier": "web"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"3000": {"mode": "DISABLE"}},
    }


def test_the_destination_rule_names_the_services_ports() -> None:
    rendered = policies.destination_rule(OTHER, [80, 8443])
    assert rendered["metadata"] == {"name": "front", "namespace": "shop"}
    assert rendered["spec"]["host"] == "front-svc.shop.svc.cluster.local"
    assert rendered["spec"]["trafficPolicy"]["portLevelSettings"] == [
        {"port": {"number": 80}, "tls": {"mode": "DISABLE"}},
        {"port": {"number": 8443}, "tls": {"mode": "DISABLE"}},
    ]


def test_the_authorization_policy_names_methods_and_pods() -> None:
    rendered = policies.authorization_policy(OTHER, FRONT, ["GET"])
    assert rendered["metadata"] == {"name": "methods", "namespace": "shop"}
    assert rendered["spec"]["selector"] == {"matchLabels": {"tier": "web"}}
    assert rendered["spec"]["rules"] == [{"to": [{"operation": {"methods": ["GET"]}}]}]


def test_a_permissive_exception_comes_with_a_rule_that_has_callers_use_mutual_tls() -> None:
    permissive = lab_parameters(mutual_tls={"exception_mode": "PERMISSIVE"})
    exception = policies.mutual_tls_exception(permissive, WEB)["spec"]
    assert exception["portLevelMtls"] == {"8080": {"mode": "PERMISSIVE"}}
    rule = policies.destination_rule(permissive, [80])["spec"]
    assert rule["trafficPolicy"] == {"tls": {"mode": "ISTIO_MUTUAL"}}


def test_a_rule_is_for_any_of_its_sources() -> None:
    account = "cluster.local/ns/xnat/sa/importer"
    rule = RuleParameters(methods=["POST"], namespaces=["imaging"], principals=[account])
    rendered = policies.authorization_policy(DEFAULTS, WEB, ["GET"], [rule])["spec"]["rules"]
    assert rendered == [
        {"to": [{"operation": {"methods": ["GET"]}}]},
        {
            "from": [
                {"source": {"namespaces": ["imaging"]}},
                {"source": {"principals": [account]}},
            ],
            "to": [{"operation": {"methods": ["POST"]}}],
        },
    ]


def test_other_ports_are_left_out_of_mutual_tls_and_allowed_by_a_rule_of_their_own() -> None:
    dicom = lab_parameters(application={"plaintext_ports": [8104, 104]})
    exception = policies.mutual_tls_exception(dicom, WEB)["spec"]
    assert exception["mtls"] == {"mode": "STRICT"}
    assert exception["portLevelMtls"] == {
        "8080": {"mode": "DISABLE"},
        "8104": {"mode": "DISABLE"},
        "104": {"mode": "DISABLE"},
    }
    assert policies.authorization_policy(dicom, WEB, ["GET"])["spec"]["rules"] == [
        {"to": [{"operation": {"methods": ["GET"]}}]},
        {"to": [{"operation": {"ports": ["8104", "104"]}}]},
    ]


def test_a_dry_run_is_an_annotation() -> None:
    rendered = policies.authorization_policy(OTHER, FRONT, ["GET"], dry_run=True)
    assert rendered["metadata"]["annotations"] == {"istio.io/dry-run": "true"}


def test_a_revision_has_a_label_of_its_own() -> None:
    assert injection.labelled_namespace(DEFAULTS)["metadata"]["labels"] == {
        "istio-injection": "enabled"
    }
    assert injection.labelled_namespace(OTHER)["metadata"]["labels"] == {"istio.io/rev": "canary"}


def test_rendering_does_not_change_what_is_rendered_next() -> None:
    policies.authorization_policy(OTHER, FRONT, ["DELETE"], dry_run=True)
    assert policies.authorization_policy(DEFAULTS, WEB, ["GET", "HEAD"]) == stored(
        "authorization-policy"
    )


def test_text_that_looks_like_yaml_stays_text() -> None:
    odd = lab_parameters(
        application={"namespace": "true"},
    )
    rendered = policies.mutual_tls_exception(odd, {"app": "yes"})
    assert rendered["metadata"]["namespace"] == "true"
    assert rendered["spec"]["selector"]["matchLabels"] == {"app": "yes"}


@pytest.mark.parametrize("name", FILES)
def test_no_manifest_uses_an_outdated_api(name: str) -> None:
    assert stored(name)["apiVersion"] in {
        "v1",
        "batch/v1",
        "security.istio.io/v1",
        "networking.istio.io/v1",
        "networking.istio.io/v1alpha3",  # EnvoyFilter has no other
        "telemetry.istio.io/v1",
        "kiali.io/v1alpha1",
        "rbac.authorization.k8s.io/v1",
    }


def test_kiali_is_told_where_everything_is() -> None:
    rendered = kiali.kiali(
        lab_parameters(
            istio={"namespace": "mesh"}, kiali={"name": "look", "web_root": "/k", "view_only": True}
        )
    )
    assert rendered["metadata"] == {"name": "look", "namespace": "mesh"}
    spec = rendered["spec"]
    assert spec["deployment"]["instance_name"] == "look"
    assert spec["deployment"]["view_only_mode"] is True
    assert spec["server"]["web_root"] == "/k"
    assert spec["external_services"]["prometheus"]["url"] == "http://prometheus.mesh:9090"
    assert spec["external_services"]["tracing"]["internal_url"] == "http://tracing.mesh:80/jaeger"


def test_kiali_reads_a_prometheus_and_a_jaeger_that_are_there_already() -> None:
    rendered = kiali.kiali(
        lab_parameters(
            kiali={"prometheus_url": "http://prom.monitoring:80/", "tracing_url": "https://j/x"}
        )
    )
    services = rendered["spec"]["external_services"]
    assert services["prometheus"]["url"] == "http://prom.monitoring:80"
    assert services["tracing"]["internal_url"] == "https://j/x"


def test_traces_are_of_the_applications_namespace_alone_and_of_a_share_of_requests() -> None:
    rendered = kiali.telemetry(
        lab_parameters(application={"namespace": "shop"}, kiali={"tracing_sampling": 0.05})
    )
    assert rendered["metadata"] == {"name": "tracing", "namespace": "shop"}
    assert rendered["spec"]["tracing"] == [
        {"providers": [{"name": "jaeger"}], "randomSamplingPercentage": 0.05}
    ]


@pytest.mark.parametrize("how", [*EXPOSURES])
def test_every_exposure_asks_for_a_token_and_publishes_no_metrics(how: str) -> None:
    spec = kiali.kiali(exposed(how))["spec"]
    assert spec["auth"] == {"strategy": "token"}
    assert spec["server"]["observability"] == {"metrics": {"enabled": False}}


@pytest.mark.parametrize(("how", "kind"), EXPOSURES.items())
def test_only_a_load_balancer_of_its_own_makes_kialis_service_one(how: str, kind: str) -> None:
    assert kiali.kiali(exposed(how))["spec"]["deployment"]["service_type"] == kind


def test_tls_at_a_network_load_balancer_is_on_kialis_port_alone() -> None:
    spec = kiali.kiali(exposed("nlb-tls"))["spec"]
    annotations = spec["deployment"]["service_annotations"]
    name = "service.beta.kubernetes.io/aws-load-balancer"
    assert annotations[f"{name}-ssl-cert"] == CERTIFICATE
    assert annotations[f"{name}-ssl-ports"] == "20001"
    assert annotations[f"{name}-scheme"] == "internal"
    assert spec["server"]["web_fqdn"] == "kiali.example.com"
    assert (spec["server"]["web_schema"], spec["server"]["web_port"]) == ("https", "20001")


def test_load_balancers_offer_nothing_older_than_tls_1_2_unless_told() -> None:
    for policy in (RECOMMENDED_TLS_POLICY, "ELBSecurityPolicy-TLS13-1-3-2021-06"):
        nlb = kiali.kiali(exposed("nlb-tls", tls_policy=policy))["spec"]["deployment"]
        name = "service.beta.kubernetes.io/aws-load-balancer-ssl-negotiation-policy"
        assert nlb["service_annotations"][name] == policy
        alb = kiali.kiali(exposed("alb-ingress", tls_policy=policy))["spec"]["deployment"]
        annotations = alb["ingress"]["override_yaml"]["metadata"]["annotations"]
        assert annotations["alb.ingress.kubernetes.io/ssl-policy"] == policy
    assert "TLS13-1-2" in lab_parameters().kiali.tls_policy


def test_source_ranges_go_to_whatever_makes_the_load_balancer() -> None:
    ranges = ["10.0.0.0/8", "192.168.0.0/16"]
    for how in ("load-balancer", "nlb-tls"):
        service = kiali.kiali(exposed(how, source_ranges=ranges))["spec"]["deployment"]
        assert service["additional_service_yaml"] == {"loadBalancerSourceRanges": ranges}
    alb = kiali.kiali(exposed("alb-ingress", source_ranges=ranges))["spec"]["deployment"]
    assert "additional_service_yaml" not in alb
    annotations = alb["ingress"]["override_yaml"]["metadata"]["annotations"]
    cidrs = annotations["alb.ingress.kubernetes.io/inbound-cidrs"]
    assert cidrs == "10.0.0.0/8, 192.168.0.0/16"


def test_a_class_names_the_controller_of_the_load_balancer() -> None:
    asked = exposed("nlb-tls", load_balancer_class="eks.amazonaws.com/nlb")
    service = kiali.kiali(asked)["spec"]["deployment"]["additional_service_yaml"]
    assert service["loadBalancerClass"] == "eks.amazonaws.com/nlb"


def test_an_ingress_without_a_secret_ends_tls_with_the_controllers_certificate() -> None:
    spec = kiali.kiali(exposed("ingress", tls_secret=None, ingress_class="haproxy"))["spec"]
    ingress = spec["deployment"]["ingress"]["override_yaml"]["spec"]
    assert ingress["ingressClassName"] == spec["deployment"]["ingress"]["class_name"] == "haproxy"
    assert ingress["tls"] == [{"hosts": ["kiali.example.com"]}]


def test_more_of_the_spec_is_merged_into_what_the_runbook_says() -> None:
    toleration = {"key": "tools", "operator": "Exists"}
    auth = {"type": "bearer", "token": "secret:prometheus:token"}
    more = {
        "deployment": {"tolerations": [toleration], "service_annotations": {"owner": "imaging"}},
        "external_services": {"prometheus": {"auth": auth}},
    }
    given = exposed("nlb-tls", spec=more)
    kiali.check_spec(given)
    spec = kiali.kiali(given)["spec"]
    assert spec["deployment"]["tolerations"] == [toleration]
    assert spec["deployment"]["service_annotations"]["owner"] == "imaging"
    assert f"{kiali.NLB}-ssl-cert" in spec["deployment"]["service_annotations"]
    prometheus = spec["external_services"]["prometheus"]
    assert prometheus == {"url": "http://prometheus.istio-system:9090", "auth": auth}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"auth": {"strategy": "anonymous"}}, "auth.strategy"),
        ({"deployment": {"namespace": "elsewhere"}}, "deployment.namespace"),
        ({"deployment": None}, "deployment"),
        ({"server": {"port": 8080, "web_root": "/x"}}, "server.port, server.web_root"),
        (
            {"deployment": {"service_annotations": {f"{kiali.NLB}-scheme": "internet-facing"}}},
            f"deployment.service_annotations.{kiali.NLB}-scheme",
        ),
    ],
)
def test_what_the_runbook_sets_itself_is_refused_with_its_path(
    spec: dict[str, Any], path: str
) -> None:
    given = exposed("nlb-tls", spec=spec)
    with pytest.raises(ParameterError, match=f"kiali.spec: the runbook sets {path} itself"):
        steps.of("00_start_here", given)


def test_what_the_runbook_sets_may_be_said_again() -> None:
    kiali.check_spec(lab_parameters(kiali={"spec": {"auth": {"strategy": "token"}}}))


def test_an_application_load_balancer_asks_where_kiali_answers() -> None:
    rendered = kiali.kiali(exposed("alb-ingress", name="look", web_root="/k"))
    ingress = rendered["spec"]["deployment"]["ingress"]
    assert (ingress["enabled"], ingress["class_name"]) == (True, "alb")
    annotations = ingress["override_yaml"]["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/healthcheck-path"] == "/k/healthz"
    assert annotations["alb.ingress.kubernetes.io/certificate-arn"] == CERTIFICATE
    (rule,) = ingress["override_yaml"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"]) == ("kiali.example.com", "/k")
    assert path["backend"]["service"] == {"name": "look", "port": {"number": 20001}}


def test_readers_may_read_and_nothing_else_and_no_secrets() -> None:
    for rule in kiali.kiali_reader_role()["rules"]:
        assert rule["verbs"] == ["get", "list", "watch"]
        assert rule["apiGroups"] != [""] or not {"secrets", "*"} & set(rule["resources"])
