"""Causes that look like others: what is told from what, by which field, and what is left unsaid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbook_lib.cluster.events import KubeEvent
from runbook_lib.cluster.objects import Object
from runbook_lib.diagnosis.judging import judge
from runbook_lib.diagnosis.observation import Observation
from runbook_lib.diagnosis.parts import Injection
from runbook_lib.diagnosis.refusal import denial
from tests.unit.diagnosis.test_rules import (
    CASES,
    DATABASE,
    GONE,
    WEB,
    changed,
    configured,
    deny_all,
    healthy,
    in_init,
    labelled,
    missing,
    names,
    not_ready,
    pod,
    service,
    without_sidecar,
    workload,
)
from tests.unit.samples import lab_parameters

CALLS = f"until pg_isready -q -h {DATABASE} -U xnat; do sleep 0.2; done"
TAGS = {"prod": "default"}


def of_many(number: int, **state: Any) -> tuple[Object, ...]:
    """Pods of one Deployment whose sidecars are not ready."""
    found = []
    for at in range(number):
        item = not_ready(pod("many", 80), 1, **state)
        item["metadata"] |= {
            "name": f"many-5d4f-{at}",
            "labels": {"app": "many", "pod-template-hash": "5d4f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "many-5d4f", "controller": True}],
        }
        found.append(item)
    return tuple(found)


def begun(**before: float) -> dict[str, Any]:
    """The state of a container that runs since a while ago, and has not been ready yet."""
    started = datetime.now(UTC) - timedelta(**before)
    return {"started": False, "state": {"running": {"startedAt": started.isoformat()}}}


def test_many_pods_of_one_workload_are_one_cause_and_hide_no_fault_of_the_application() -> None:
    web = not_ready(pod(WEB, 8080), 0)
    seen = healthy(pods=(web, pod(DATABASE, 5432), *of_many(44)), **GONE)
    found = {cause.name: cause for cause in judge(seen)}
    assert found.keys() == {"container-not-ready", "sidecar-unstable"}
    assert found["sidecar-unstable"].where == "Deployment xnat/many"
    assert "44 pods of Deployment xnat/many, such as many-5d4f-0" in found["sidecar-unstable"].what


@pytest.mark.parametrize(
    ("state", "log", "found"),
    [
        (lambda: begun(seconds=5), "", []),
        (lambda: begun(minutes=5), "", ["sidecar-unstable"]),
        (
            lambda: begun(seconds=5),
            "t\terror\tcache\tfailed to sign: no such host",
            ["sidecar-unstable"],
        ),
        (lambda: begun(seconds=5), "t\terror\tprobes\tRequest to probe app failed: refused", []),
        (lambda: {"started": False, "state": {"waiting": {"reason": "PodInitializing"}}}, "", []),
        (lambda: {"restartCount": 1, **begun(seconds=5)}, "", ["sidecar-unstable"]),
    ],
)
def test_a_sidecar_that_merely_starts_is_not_called_unstable(
    state: Callable[[], dict[str, Any]], log: str, found: list[str]
) -> None:
    many = of_many(3, **state())
    logs = {("many-5d4f-1", "istio-proxy"): (log,)}
    assert names(judge(healthy(pods=(*healthy().pods, *many), logs=logs))) == found


def test_an_application_that_starts_while_others_serve_is_no_cause() -> None:
    starting = not_ready(pod(WEB, 8080), 0, started=False)
    starting["metadata"]["name"] = f"{WEB}-1"
    proxies = {**healthy().proxies, f"{WEB}-1.xnat": {"Listener": "SYNCED"}}
    assert judge(healthy(pods=(*healthy().pods, starting), proxies=proxies)) == ()


LONG_AGO = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
STRICT_DATABASE = "PeerAuthentication istio-system/default .spec.mtls.mode: STRICT"


@pytest.mark.parametrize(
    ("web", "changes", "what", "evidence"),
    [
        (
            in_init(pod(WEB, 8080), CALLS),
            {"services": ()},
            "no Service",
            "args[0]: … xnat-postgresql …",
        ),
        (
            in_init(pod(WEB, 8080), CALLS),
            {"database": not_ready(pod(DATABASE, 5432), 0)},
            "no pod is ready",
            "args[0]: … xnat-postgresql …",
        ),
        (
            in_init(
                pod(WEB, 8080), "sleep 1", state={"running": {"startedAt": "2026-01-01T00:00:00Z"}}
            ),
            {},
            "does not end",
            ".spec.initContainers[1].name: config",
        ),
        (
            in_init(pod(WEB, 8080), "exit 3", state={"terminated": {"exitCode": 3}}),
            {},
            "fails: Ended, exit code 3",
            ".spec.initContainers[1].name: config",
        ),
    ],
)
def test_an_init_container_that_waits_is_named_with_what_it_calls(
    web: Object, changes: dict[str, Any], what: str, evidence: str
) -> None:
    database = changes.pop("database", pod(DATABASE, 5432))
    found = judge(healthy(pods=(web, database), **changes))
    cause = next(each for each in found if each.name == "init-container-waits")
    assert "init container config" in cause.what
    assert what in cause.what
    assert evidence in cause.evidence[0]


def test_what_an_init_container_is_told_besides_is_not_shown() -> None:
    web = in_init(pod(WEB, 8080), f"psql postgres://xnat:secret@{DATABASE}/xnat")
    services = (service(WEB, 80, 8080, "http"),)
    (found,) = judge(healthy(pods=(web, pod(DATABASE, 5432)), services=services))
    assert found.name == "init-container-waits"
    assert "secret" not in str(found)


def test_a_service_whose_endpoints_others_write_is_not_waited_for_in_vain() -> None:
    outside = changed(service(DATABASE, 5432, 5432, "tcp"), "spec.selector", None)
    web = in_init(pod(WEB, 8080), CALLS)
    services = (service(WEB, 80, 8080, "http"), outside)
    assert judge(healthy(pods=(web, pod(DATABASE, 5432)), services=services)) == ()


def test_an_init_container_that_merely_runs_is_no_cause() -> None:
    assert judge(healthy(pods=(in_init(pod(WEB, 8080), CALLS), pod(DATABASE, 5432)))) == ()


def test_before_a_classic_sidecar_an_init_container_speaks_plaintext() -> None:
    web = in_init(pod(WEB, 8080), CALLS)
    native, config = web["spec"]["initContainers"]
    web["spec"]["initContainers"] = [config]
    web["spec"]["containers"].append({"name": native["name"]})
    web["status"]["initContainerStatuses"].pop(0)
    found = judge(healthy(pods=(web, pod(DATABASE, 5432)), **GONE))
    assert names(found) == ["init-container-waits"]
    assert "plaintext" in found[0].what
    assert STRICT_DATABASE in found[0].evidence
    assert "Pod xnat/xnat-xnat-web-0 .spec.containers[1].name: istio-proxy" in found[0].evidence


def test_pods_of_a_job_are_neither_restarted_nor_called_a_fault() -> None:
    job = without_sidecar(pod("work", 80))
    job["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "work", "controller": True}]
    assert judge(healthy(pods=(*healthy().pods, job))) == ()


def test_a_daemon_set_is_a_workload_like_others() -> None:
    item = {**workload("agent"), "kind": "DaemonSet", "status": {"desiredNumberScheduled": 1}}
    del item["spec"]["replicas"]
    order = [f"StatefulSet/{WEB}", f"StatefulSet/{DATABASE}", "DaemonSet/agent"]
    kept = pod("agent", 80)
    kept["metadata"]["ownerReferences"][0]["kind"] = "DaemonSet"
    given = healthy(
        parameters=lab_parameters(application={"restart_order": order}),
        workloads=(*healthy().workloads, item),
        pods=(*healthy().pods, kept),
        proxies={**healthy().proxies, "agent-0.xnat": {"Listener": "SYNCED"}},
    )
    assert judge(given) == ()
    (found,) = judge(replace(given, pods=healthy().pods))
    assert found.name == "pods-missing"
    assert found.evidence == ("DaemonSet xnat/agent .status.desiredNumberScheduled: 1, 0 pods",)


def test_pods_of_two_workloads_with_overlapping_selectors_are_told_apart() -> None:
    other = workload(f"{WEB}-upload")
    other["spec"]["selector"] = workload(WEB)["spec"]["selector"]
    order = [f"StatefulSet/{DATABASE}", f"StatefulSet/{WEB}", f"StatefulSet/{WEB}-upload"]
    seen = healthy(
        parameters=lab_parameters(application={"restart_order": order}),
        workloads=(*healthy().workloads, other),
    )
    found = next(cause for cause in judge(seen) if cause.name == "pods-missing")
    assert found.where == f"StatefulSet xnat/{WEB}-upload"


def tagged(**changes: Any) -> Observation:
    return healthy(
        parameters=lab_parameters(istio={"revision": "prod"}),
        namespace=labelled(**{"istio.io/rev": "prod"}),
        tags=TAGS,
        **changes,
    )


def test_a_namespace_labelled_with_a_tag_asks_for_the_revision_behind_it() -> None:
    assert judge(tagged()) == ()
    assert judge(replace(tagged(), parameters=lab_parameters())) == ()


def test_a_tag_of_another_revision_is_not_taken_for_this_one() -> None:
    seen = replace(tagged(), parameters=lab_parameters(), tags={"prod": "canary"})
    assert names(judge(seen)) == ["label-missing"]


def test_an_istiod_that_is_down_is_looked_for_under_the_revision_behind_the_tag() -> None:
    (found,) = judge(tagged(**CASES["istiod-down"]))
    assert found.name == "istiod-down"
    assert "istio.io/rev=prod" not in found.remedy


LIMITS = {
    "kind": "LimitRange",
    "metadata": {"name": "small", "namespace": "xnat"},
    "spec": {
        "limits": [
            {"type": "Pod", "max": {"cpu": "1"}},
            {
                "type": "Container",
                "max": {"cpu": "1"},
                "min": {"memory": "1Gi"},
                "maxLimitRequestRatio": {"cpu": "4"},
            },
        ]
    },
}
QUOTA = {
    "kind": "ResourceQuota",
    "metadata": {"name": "few", "namespace": "xnat"},
    "spec": {"hard": {"pods": "2", "limits.cpu": "4"}},
    "status": {"used": {"pods": "2"}},
}


@pytest.mark.parametrize(
    ("said", "who", "fields"),
    [
        (
            "maximum cpu usage per Container is 1, but limit is 2",
            "the LimitRange small",
            ["LimitRange xnat/small .spec.limits[1].max.cpu: 1"],
        ),
        (
            "maximum cpu usage per Pod is 1.  No limit is specified",
            "the LimitRange small",
            ["LimitRange xnat/small .spec.limits[0].max.cpu: 1"],
        ),
        (
            "[minimum memory usage per Container is 1Gi, but request is 128Mi]",
            "the LimitRange small",
            ["LimitRange xnat/small .spec.limits[1].min.memory: 1Gi"],
        ),
        (
            "cpu max limit to request ratio per Container is 4, but provided ratio is 20.000000",
            "the LimitRange small",
            ["LimitRange xnat/small .spec.limits[1].maxLimitRequestRatio.cpu: 4"],
        ),
        (
            "exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2",
            "the ResourceQuota few",
            [
                "ResourceQuota xnat/few .spec.hard.pods: 2",
                "ResourceQuota xnat/few .status.used.pods: 2",
            ],
        ),
        (
            "failed quota: few: must specify limits.cpu for: istio-init",
            "the ResourceQuota few",
            ["ResourceQuota xnat/few .spec.hard.limits.cpu: 4"],
        ),
    ],
)
def test_who_refuses_by_numbers_is_named_with_the_field(
    said: str, who: str, fields: list[str]
) -> None:
    found = denial(f'pods "x" is forbidden: {said}', None, (LIMITS, QUOTA))
    assert found is not None
    assert (found.who, list(found.fields)) == (who, fields)


def test_a_level_of_pod_security_is_shown_by_the_namespaces_label() -> None:
    key = "pod-security.kubernetes.io/enforce"
    namespace = labelled(**{key: "baseline", "istio-injection": "enabled"})
    refused = missing('violates PodSecurity "baseline:latest": (container "istio-init" …)')
    (found,) = judge(healthy(namespace=namespace, **refused))
    assert found.evidence[0] == f"Namespace xnat .metadata.labels.{key}: baseline"


def test_a_database_whose_pods_are_refused_explains_errors_of_the_application() -> None:
    said = 'pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
    event = KubeEvent("FailedCreate", said)
    seen = healthy(
        pods=(pod(WEB, 8080),),
        events={DATABASE: (event,)},
        limits=(LIMITS,),
        answers=CASES["unexplained"]["answers"],
        endpoints=healthy().endpoints,
    )
    assert names(judge(seen)) == ["pods-refused"]


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (
            {"service": {"name": "istiod", "namespace": "istio-system", "port": 15999}},
            "no port 15999",
        ),
        ({"service": {"name": "gone", "namespace": "istio-system"}}, "there is no Service"),
        ({"service": {"name": "istiod", "namespace": "xnat"}}, "Service xnat/istiod"),
    ],
)
def test_a_webhook_that_asks_at_the_wrong_door_is_named_by_its_field(
    asked: Object, what: str
) -> None:
    item = changed(healthy().webhooks[0], "webhooks.0.clientConfig", asked)
    seen = healthy(webhooks=(item,), **CASES["webhook-unreachable"])
    (found,) = judge(seen)
    assert what in found.what
    assert ".webhooks[0].clientConfig.service: " in found.evidence[1]
    assert "security group" not in found.remedy


@pytest.mark.parametrize(
    ("hook", "what", "field"),
    [
        ({"failurePolicy": "Ignore"}, "its failure is ignored", ".failurePolicy: Ignore"),
        (
            {"namespaceSelector": {"matchLabels": {"team": "x"}}},
            "no injection webhook selects the namespace",
            "MutatingWebhookConfigurations that inject: istio-sidecar-injector",
        ),
        ({}, "istiod puts no sidecar in", ".clientConfig.service: istio-system/istiod, port 443"),
    ],
)
def test_why_a_new_pod_gets_no_sidecar_is_told_by_the_webhooks_own_fields(
    hook: Object, what: str, field: str
) -> None:
    item = healthy().webhooks[0]
    item = {**item, "webhooks": [{**item["webhooks"][0], **hook}]}
    (found,) = judge(healthy(webhooks=(item,), injection=Injection(injected=False)))
    assert what in found.what
    assert field in found.evidence[1]


@pytest.mark.parametrize("name", ["discovery-selectors", "root-namespace"])
def test_what_istiods_configuration_leaves_out_explains_sidecars_without_policies(
    name: str,
) -> None:
    seen = healthy(configured=(configured(name),), authorization={f"{WEB}-0": ()}, proxies={})
    (found,) = judge(seen)
    assert {"policy-not-in-effect", "proxy-disconnected"} == {*names(found.consequences)}


def test_a_policy_of_a_root_that_others_chose_is_no_cause_before_there_is_one_of_ours() -> None:
    seen = healthy(configured=(configured("root-namespace"),))
    own = replace(seen.policies, peer_authentications=())
    assert "policy-not-mesh-wide" not in names(judge(replace(seen, policies=own)))


def test_a_port_in_the_parameters_that_no_pod_has_blames_no_service() -> None:
    (found,) = judge(healthy(**CASES["web-port-mistaken"]))
    assert found.parameter == "application.web.port: 8080"
    assert "edit service" not in found.remedy


def test_an_event_about_a_pod_of_that_name_before_it_is_no_evidence() -> None:
    web = not_ready(pod(WEB, 8080), 0)
    web["metadata"]["uid"] = "new"
    old = KubeEvent("Unhealthy", "of the pod before", uid="old")
    now = KubeEvent("Unhealthy", "of this one", uid="new")
    (found,) = judge(healthy(pods=(web, pod(DATABASE, 5432)), events={f"{WEB}-0": (now, old)}))
    assert "Unhealthy: of this one" in found.evidence
    assert not any("before" in line for line in found.evidence)


def test_the_service_that_is_led_past_by_labels_of_the_parameters_is_left_alone() -> None:
    (found,) = judge(healthy(**CASES["web-labels-mistaken"], **GONE))
    assert found.parameter.startswith("application.web.labels")
    assert "edit service" not in found.remedy
    assert service(WEB, 80, 8080, "http")["metadata"]["name"] not in found.remedy


def test_a_policy_that_sidecars_have_got_past_is_no_cause() -> None:
    closing = CASES["network-policy-closes"]["closed"]
    assert judge(healthy(closed=closing)) == ()


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (deny_all(ingress=[{}], egress=[{}]), ["unexplained"]),
        (
            deny_all(
                policyTypes=["Ingress"], ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]
            ),
            ["unexplained"],
        ),
        (
            deny_all(policyTypes=["Ingress"], ingress=[{"from": [{"namespaceSelector": {}}]}]),
            ["network-policy-locks-out"],
        ),
        (
            deny_all(podSelector={"matchLabels": {"app": "postgresql"}}, policyTypes=["Ingress"]),
            ["network-policy-locks-out"],
        ),
    ],
)
def test_a_network_policy_is_blamed_only_for_what_it_surely_closes(
    policy: Object, found: list[str]
) -> None:
    assert names(judge(healthy(network_policies=(policy,), **GONE))) == found


def test_another_image_that_a_pod_chose_itself_is_not_outdated() -> None:
    database = pod(DATABASE, 5432)
    database["metadata"]["annotations"] = {"sidecar.istio.io/proxyImage": "own"}
    web = pod(WEB, 8080)
    web["spec"]["containers"][1]["image"] = "proxyv2:1.32"
    seen = healthy(pods=(web, database), **CASES["sidecar-outdated"])
    assert judge(seen) == ()


def test_a_service_of_other_pods_that_the_parameters_name_is_left_as_it_is() -> None:
    (found,) = judge(healthy(**CASES["web-service-mistaken"], **GONE))
    assert found.name == "web-service-mistaken"
    assert found.parameter == f"application.web.service: {WEB}"
    assert "edit" not in found.remedy
