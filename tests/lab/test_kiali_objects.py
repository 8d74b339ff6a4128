"""What the stand-in for the Kiali operator makes of a resource, from Istio's own sample."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runbook_lib.lab.build.binaries import find_build
from runbook_lib.lab.standins import kiali_status
from runbook_lib.lab.standins.kiali_objects import (
    Operator,
    Sample,
    SpecRejected,
    check_version,
    configure,
    merge,
    objects,
    settle,
)
from runbook_lib.lab.standins.kiali_operator import InvalidPeriod, parse_period

OPERATOR = Operator("v1.2.3")
FIRST, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


@pytest.fixture(scope="module")
def sample() -> Sample:
    build = find_build()
    assert build is not None, "make test-lab builds it"
    return Sample.read(build.share("samples/addons/kiali.yaml"))


def _made(sample: Sample, spec: dict[str, Any], operator: Operator = OPERATOR) -> dict[str, Any]:
    """The objects by kind."""
    resource = {"metadata": {"name": "kiali", "namespace": "istio-system"}, "spec": spec}
    config = settle(configure(resource, sample, operator), sample, operator)
    return {each["kind"]: each for each in objects(config, sample)}


def _config(made: dict[str, Any]) -> Any:
    return yaml.safe_load(made["ConfigMap"]["data"]["config.yaml"])


def test_mappings_are_merged_lists_replaced_and_nulls_left_out() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert merge(base, {"a": {"c": [3], "b": None}, "d": None, "e": {"f": 5}}) == {
        "a": {"b": 1, "c": [3]},
        "d": 4,
        "e": {"f": 5},
    }
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 4}


def test_an_empty_spec_has_the_defaults_of_the_operator(sample: Sample) -> None:
    """Not those of the sample, which is anonymous and has a signing key of its own."""
    made = _made(sample, {})
    config = _config(made)
    assert config["auth"]["strategy"] == "token"
    assert config["server"]["web_root"] == "/kiali"
    assert config["login_token"]["signing_key"] == "secret:kiali-signing-key:key"
    assert config["external_services"]["prometheus"]["url"] == "http://prometheus.istio-system:9090"
    assert set(made) == {
        *("ServiceAccount", "ConfigMap", "ClusterRole", "ClusterRoleBinding"),
        *("Deployment", "Service", "NetworkPolicy"),
    }
    [container] = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "quay.io/kiali/kiali:v1.2.3"


def test_names_and_labels_follow_the_instance(sample: Sample) -> None:
    spec = {"deployment": {"instance_name": "other", "namespace": "there"}}
    made = _made(sample, spec)
    assert {each["metadata"].get("namespace", "there") for each in made.values()} == {"there"}
    assert made["ServiceAccount"]["metadata"]["name"] == "other-service-account"
    assert made["ClusterRoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "other-service-account", "namespace": "there"}
    ]
    for each in made.values():
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "other"
        assert "helm.sh/chart" not in each["metadata"]["labels"]


@pytest.mark.parametrize(
    ("spec", "role"),
    [
        ({"auth": {"strategy": "anonymous"}}, "kiali"),
        ({"auth": {"strategy": "token"}}, "kiali-viewer"),
        (
            {"auth": {"strategy": "anonymous"}, "deployment": {"view_only_mode": True}},
            "kiali-viewer",
        ),
    ],
)
def test_kiali_writes_only_for_people_without_an_account(
    sample: Sample, spec: dict[str, Any], role: str
) -> None:
    made = _made(sample, spec)
    assert made["ClusterRole"]["metadata"]["name"] == role
    assert made["ClusterRoleBinding"]["roleRef"]["name"] == role
    writing = [rule for rule in made["ClusterRole"]["rules"] if "patch" in rule["verbs"]]
    assert bool(writing) == (role == "kiali")
    resources = [name for rule in made["ClusterRole"]["rules"] for name in rule["resources"]]
    assert "tokenreviews" in resources


def test_the_web_root_decides_the_probes(sample: Sample) -> None:
    for root, path in (("/mesh/", "/mesh/healthz"), ("/", "/healthz")):
        made = _made(sample, {"server": {"web_root": root}})
        [container] = made["Deployment"]["spec"]["template"]["spec"]["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == path


def test_the_metrics_port_goes_everywhere_or_nowhere(sample: Sample) -> None:
    metrics = {"server": {"observability": {"metrics": {"enabled": False}}}}
    ports = {}
    for spec in ({}, metrics):
        made = _made(sample, spec)
        [container] = made["Deployment"]["spec"]["template"]["spec"]["containers"]
        [rule] = made["NetworkPolicy"]["spec"]["ingress"]
        ports[bool(spec)] = (
            [each["port"] for each in made["Service"]["spec"]["ports"]],
            [each["containerPort"] for each in container["ports"]],
            [each["port"] for each in rule["ports"]],
        )
    assert ports == {False: ([20001, 9090],) * 3, True: ([20001],) * 3}


def test_a_changed_configuration_changes_the_pod(sample: Sample) -> None:
    def template(spec: dict[str, Any]) -> Any:
        return _made(sample, spec)["Deployment"]["spec"]["template"]

    tracing = {"external_services": {"tracing": {"enabled": True}}}
    assert template({}) == template({})
    assert template({}) != template(tracing)


def test_the_service_takes_type_annotations_and_more(sample: Sample) -> None:
    service = _made(
        sample,
        {
            "deployment": {
                "service_type": "LoadBalancer",
                "service_annotations": {"a": "1"},
                "additional_service_yaml": {"loadBalancerClass": "x", "externalIPs": ["10.0.0.1"]},
            },
            "server": {"web_fqdn": "k.example", "web_schema": "https", "web_port": "443"},
        },
    )["Service"]
    assert service["metadata"]["annotations"] == {
        "a": "1",
        "kiali.io/external-url": "https://k.example:443/kiali",
    }
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerClass"] == "x"
    assert service["spec"]["externalIPs"] == ["10.0.0.1"]


def test_the_overriding_spec_of_an_ingress_replaces_all(sample: Sample) -> None:
    ingress: dict[str, Any] = {"enabled": True, "class_name": "alb"}
    plain = _made(sample, {"deployment": {"ingress": ingress}})["Ingress"]
    assert plain["spec"]["ingressClassName"] == "alb"
    [path] = plain["spec"]["rules"][0]["http"]["paths"]
    assert path["path"] == "/kiali"
    assert path["backend"]["service"] == {"name": "kiali", "port": {"number": 20001}}
    assert "nginx.ingress.kubernetes.io/backend-protocol" in plain["metadata"]["annotations"]
    ingress["override_yaml"] = {"metadata": {"annotations": {"a": "1"}}}
    annotated = _made(sample, {"deployment": {"ingress": ingress}})["Ingress"]
    assert annotated["metadata"]["annotations"] == {"a": "1"}
    assert annotated["spec"] == plain["spec"]
    ingress["override_yaml"]["spec"] = {"defaultBackend": {"service": {"name": "other"}}}
    replaced = _made(sample, {"deployment": {"ingress": ingress}})["Ingress"]
    assert replaced["spec"] == ingress["override_yaml"]["spec"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"auth": {"strategy": "ldap"}}, r"Invalid auth.strategy \[ldap\]! Must be one of either"),
        ({"server": {"web_schema": "ftp"}}, r"Invalid server.web_schema \[ftp\]!"),
        ({"login_token": {"signing_key": "short"}}, "must be 16, 24 or 32 byte"),
        ({"deployment": {"image_version": "v9"}}, "forbidden from accepting a Kiali CR"),
        ({"deployment": {"instance_name": "No"}}, "does not follow the DNS label standard"),
        ({"deployment": {"hpa": {"spec": {"maxReplicas": 2}}}}, "stand-in does not have spec.*hpa"),
        ({"deployment": {"cluster_wide_access": False}}, "cluster-wide access only"),
    ],
)
def test_what_the_operator_refuses_it_names(
    sample: Sample, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecRejected, match=message):
        _made(sample, spec)


def test_the_operator_can_be_kept_to_the_namespace_of_the_resource(sample: Sample) -> None:
    with pytest.raises(SpecRejected, match=r"forbidden from installing Kiali in a namespace \[x\]"):
        _made(sample, {"deployment": {"namespace": "x"}}, Operator("v1", any_namespace=False))


def test_a_deployed_kiali_does_not_move(sample: Sample) -> None:
    resource = {
        "metadata": {"namespace": "new"},
        "status": {"deployment": {"instanceName": "kiali", "namespace": "old"}},
    }
    with pytest.raises(SpecRejected, match=r"namespace cannot be changed.*\[old\].*\[new\]"):
        configure(resource, sample, OPERATOR)


def test_an_unknown_version_has_no_image() -> None:
    check_version({"version": "default"})
    with pytest.raises(SpecRejected, match=r"version \[v0.1\] that does not have a known"):
        check_version({"version": "v0.1"})


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1m30s", 90), ("0", 0), ("1.5h", 5400)]
)
def test_periods_are_durations_of_go(text: str, seconds: float) -> None:
    assert parse_period(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "1 m", "one minute"])
def test_another_period_is_refused(text: str) -> None:
    with pytest.raises(InvalidPeriod, match="invalid duration"):
        parse_period(text)


def _brief(conditions: kiali_status.Conditions) -> dict[str, tuple[str, str, str]]:
    return {
        each["type"]: (each["status"], each["reason"], each["lastTransitionTime"])
        for each in conditions
    }


def test_the_first_reconciliation_goes_from_running_to_successful() -> None:
    conditions = kiali_status.running([], FIRST)
    assert _brief(conditions) == {"Running": ("True", "Running", FIRST)}
    assert _brief(kiali_status.succeeded(conditions, LATER)) == {
        "Running": ("True", "Successful", FIRST),
        "Successful": ("True", "Successful", LATER),
        "Failure": ("False", "", LATER),
    }


def test_a_failure_is_not_successful_and_the_next_success_no_failure() -> None:
    good = kiali_status.succeeded(kiali_status.running([], FIRST), FIRST)
    again = kiali_status.running(good, LATER)
    assert _brief(again)["Successful"] == ("False", "Successful", LATER)
    failed = kiali_status.failed(again, "why", LATER)
    assert _brief(failed) == {
        "Running": ("False", "Running", LATER),
        "Failure": ("True", "Failed", LATER),
        "Successful": ("False", "", LATER),
    }
    assert next(each for each in failed if each["type"] == "Failure")["message"] == "why"
    mended = kiali_status.succeeded(kiali_status.running(failed, LATER), LATER)
    assert {kind: each[0] for kind, each in _brief(mended).items()} == {
        "Running": "True",
        "Successful": "True",
        "Failure": "False",
    }


def test_progress_counts_steps_and_time() -> None:
    assert kiali_status.progress(6, 65.9) == {
        "message": "6. Finished all resource creation",
        "duration": "0:01:05",
    }
