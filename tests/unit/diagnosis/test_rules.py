"""The rules of the diagnosis, each on a small observation; and how findings are ordered."""

from __future__ import annotations

import copy
import html
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from runbook_lib.base.errors import ClusterRefused
from runbook_lib.chapters import CHAPTERS
from runbook_lib.chapters.autoscaling.cases import Autoscaler, Condition
from runbook_lib.chapters.autoscaling.scale_out import Metric, Requests, Scaling, Usage
from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.shared.preflight.traffic.istiod import Closed, closed_to_sidecars
from runbook_lib.cluster.connection import Kubeconfig
from runbook_lib.cluster.events import KubeEvent
from runbook_lib.cluster.objects import Object
from runbook_lib.diagnosis.commands import Transcript
from runbook_lib.diagnosis.judging import health, judge, unjudged
from runbook_lib.diagnosis.looking import Looker
from runbook_lib.diagnosis.model import Cause, Diagnosis, Look
from runbook_lib.diagnosis.observation import Observation
from runbook_lib.diagnosis.parts import Injection, SiteAnswer, Token
from runbook_lib.diagnosis.registry import Area, Rule, registered, rule
from runbook_lib.lifecycle.finding import Finding, Severity
from runbook_lib.lifecycle.table import Row
from runbook_lib.mesh.templates import of_workload
from runbook_lib.mesh.traffic import Policies
from runbook_lib.notebook.views.diagnosis import diagnosis_html, transcript_html
from runbook_lib.site.probe import Observed
from runbook_lib.tools.istioctl import Istioctl, Message
from tests.unit.doubles import given_cluster
from tests.unit.doubles.given_cluster import kept_by
from tests.unit.samples import lab_parameters

if TYPE_CHECKING:
    from runbook_lib.lifecycle.context import Context

GIVEN = lab_parameters()
WEB, DATABASE = "xnat-xnat-web", "xnat-postgresql"
CARRIED = {"app": "xnat-web"}
SENT = {"Listener": "SYNCED", "Cluster": "SYNCED"}
DRY_RUN_LOG = {
    "kind": "EnvoyFilter",
    "metadata": {"name": "xnat-all-dry-run", "namespace": "xnat"},
}
DENIED = Observed("", 403, body="RBAC: access denied")
BAD_GATEWAY = Observed("", 502)


def ready_since(moment: datetime) -> Object:
    return {"type": "Ready", "status": "True", "lastTransitionTime": moment.isoformat()}


def pod(app: str, port: int, **status: Any) -> Object:
    names = [app, "istio-proxy"]
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{app}-0",
            "namespace": "xnat",
            "labels": {"app": app.removeprefix("xnat-")},
            **kept_by(app),
        },
        "spec": {
            "containers": [
                {"name": app, "ports": [{"name": "main", "containerPort": port}]},
                {"name": "istio-proxy"},
            ]
        },
        "status": {
            "phase": "Running",
            "conditions": [ready_since(datetime(2026, 1, 1, tzinfo=UTC))],
            "containerStatuses": [{"name": n, "ready": True, "started": True} for n in names],
            **status,
        },
    }


def workload(app: str, replicas: int = 1) -> Object:
    return {
        "kind": "StatefulSet",
        "metadata": {"name": app, "namespace": "xnat"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app.removeprefix("xnat-")}},
            "template": {
                "metadata": {"labels": {"app": app.removeprefix("xnat-")}},
                "spec": {"containers": []},
            },
        },
    }


def service(app: str, port: int, target: int | str, name: str) -> Object:
    ports = [{"port": port, "targetPort": target, "name": name}]
    return {
        "kind": "Service",
        "metadata": {"name": app, "namespace": "xnat"},
        "spec": {"selector": {"app": app.removeprefix("xnat-")}, "ports": ports},
    }


def listener(port: int, protocol: str) -> dict[str, Any]:
    match = {"destinationPort": port, "transportProtocol": protocol}
    return {"trafficDirection": "INBOUND", "filterChains": [{"filterChainMatch": match}]}


def answers(**seen: Observed) -> tuple[SiteAnswer, ...]:
    """The right answers, but for some methods."""
    right = {"GET": 200, "HEAD": 200, "POST": 200, "DELETE": 405}
    return tuple(
        SiteAnswer(
            method,
            "/",
            status,
            method in GIVEN.authorization.methods,
            seen.get(method, DENIED if method == "DELETE" else Observed(method, status)),
        )
        for method, status in right.items()
    )


def dated(item: Object, second: int = 0) -> Object:
    item["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{second:02}Z"
    return item


STRICT = dated(manifest.strict_mutual_tls(GIVEN))
EXCEPTION = dated(manifest.mutual_tls_exception(GIVEN, CARRIED), 5)
METHODS = dated(manifest.authorization_policy(GIVEN, CARRIED, GIVEN.authorization.methods))
RULE = manifest.destination_rule(GIVEN, [80])
ISTIOD = {
    "kind": "Deployment",
    "metadata": {"name": "istiod", "namespace": "istio-system"},
    "spec": {"replicas": 1},
}
ISTIOD_POD = {
    **pod("istiod", 15017),
    "metadata": {"name": "istiod-1", "namespace": "istio-system", "labels": {"app": "istiod"}},
}
WEBHOOK = {
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "istio-sidecar-injector"},
    "webhooks": [
        {
            "name": "namespace.sidecar-injector.istio.io",
            "clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}},
        }
    ],
}


ISTIOD_SERVICE = {
    "kind": "Service",
    "metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod"}},
    "spec": {"selector": {"app": "istiod"}, "ports": [{"port": 443, "targetPort": 15017}]},
}


def policies(*found: Object) -> dict[str, Any]:
    """The fields of an observation with exactly these policies."""
    peers = tuple(p for p in found if p["kind"] == "PeerAuthentication")
    others = tuple(p for p in found if p["kind"] == "AuthorizationPolicy")
    here = tuple(p for p in peers if p["metadata"]["namespace"] in ("xnat", "istio-system"))
    return {"policies": Policies(here, others, {"app": "xnat-web"}), "elsewhere": peers}


def healthy(**changes: Any) -> Observation:
    """What is seen of a mesh with the whole runbook applied, but for some fields."""
    return replace(
        Observation(
            GIVEN,
            namespace={
                "kind": "Namespace",
                "metadata": {"name": "xnat", "labels": {"istio-injection": "enabled"}},
            },
            pods=(pod(WEB, 8080), pod(DATABASE, 5432)),
            workloads=(workload(WEB), workload(DATABASE)),
            services=(
                service(WEB, 80, 8080, "http"),
                service(DATABASE, 5432, "main", "tcp-postgresql"),
            ),
            endpoints=(
                {
                    "metadata": {"labels": {"kubernetes.io/service-name": WEB}},
                    "endpoints": [{"conditions": {"ready": True}}],
                },
            ),
            istiod=(ISTIOD,),
            istiod_pods=(ISTIOD_POD,),
            webhooks=(WEBHOOK,),
            istio_services=(ISTIOD_SERVICE,),
            injection=Injection(injected=True),
            rules=(RULE,),
            answers=answers(),
            proxies={f"{WEB}-0.xnat": SENT, f"{DATABASE}-0.xnat": SENT},
            listeners={
                f"{WEB}-0": [listener(8080, "raw_buffer")],
                f"{DATABASE}-0": [listener(5432, "tls")],
            },
            authorization={f"{WEB}-0": ("xnat-all.xnat",)},
            **policies(STRICT, EXCEPTION, METHODS),
        ),
        **changes,
    )


def changed(item: Object, path: str, value: Any) -> Object:
    """A copy with one field otherwise; None takes it away."""
    result = copy.deepcopy(item)
    at: Any = result
    *parents, last = path.split(".")
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    if value is None:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return result


def without_sidecar(item: Object) -> Object:
    found = copy.deepcopy(item)
    found["spec"]["containers"].pop()
    found["status"]["containerStatuses"].pop()
    return found


def not_ready(item: Object, container: int, **state: Any) -> Object:
    found = copy.deepcopy(item)
    found["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    found["status"]["containerStatuses"][container].update(ready=False, **state)
    return found


def labelled(**labels: str) -> Object:
    return {"kind": "Namespace", "metadata": {"name": "xnat", "labels": labels}}


def names(found: tuple[Cause, ...]) -> list[str]:
    return [finding.name for finding in found]


LOCKED = {
    "answers": answers(GET=BAD_GATEWAY, HEAD=BAD_GATEWAY, POST=BAD_GATEWAY, DELETE=BAD_GATEWAY),
    "listeners": {},
}
GONE = {"answers": LOCKED["answers"]}
OTHER = {"name": "other", "namespace": "xnat"}


def with_exception(path: str, value: Any, *more: Object) -> dict[str, Any]:
    return {**policies(STRICT, changed(EXCEPTION, path, value), METHODS, *more), **LOCKED}


def with_methods(path: str, value: Any, **seen: Observed) -> dict[str, Any]:
    wrong = changed(METHODS, path, value)
    return {**policies(STRICT, EXCEPTION, wrong), "answers": answers(**seen)}


OPERATION = "spec.rules.0.to.0.operation"
OTHERS_DENY = changed(
    {**changed(METHODS, f"{OPERATION}.methods", ["GET"]), "metadata": OTHER}, "spec.action", "DENY"
)
OTHERS_ALLOW = {**changed(METHODS, f"{OPERATION}.methods", ["DELETE"]), "metadata": OTHER}
KIALI = {
    "kind": "Kiali",
    "metadata": {"name": "kiali", "namespace": "istio-system"},
    "status": {"conditions": [{"type": "Failure", "status": "True", "message": "no such image"}]},
}


def annotated(item: Object, **traffic: str) -> Object:
    found = copy.deepcopy(item)
    annotations = {f"traffic.sidecar.istio.io/{key}": value for key, value in traffic.items()}
    found["metadata"]["annotations"] = annotations
    return found


def tells(name: str, mode: str, *, second: int = 0, **spec: Any) -> Object:
    """A DestinationRule that tells callers of a Service what to send."""
    spec = {"host": name, "trafficPolicy": {"tls": {"mode": mode}}, **spec}
    metadata = {"name": f"{name}-{second}", "namespace": "xnat"}
    return dated({"kind": "DestinationRule", "metadata": metadata, "spec": spec}, second)


def autoscaler(
    *conditions: Condition,
    own: int | None = 100,
    proxy: int | None = 100,
    used: int | None = None,
    container: str = "",
) -> Autoscaler:
    """One that looks at 70 % of the pod's CPU, or has been mended to look at one container's."""
    goal = Metric("Resource", "cpu", percent=70)
    metric = Metric("ContainerResource", "cpu", container, percent=70) if container else goal
    usage = None if used is None else Usage(application=used, added=5)
    requests = Requests({WEB: own}, {"istio-proxy": proxy})
    scaling = Scaling("cpu", (goal,), (metric,), requests, usage)
    replicas = "1, wants 1 (1 to 3)"
    return Autoscaler(WEB, f"StatefulSet/{WEB}", (metric,), (scaling,), replicas, conditions)


NO_METRICS = Condition(
    *("ScalingActive", "False", "FailedGetResourceMetric"),
    "the HPA was unable to compute the replica "
    "count: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics "
    "returned from resource metrics API",
)
NO_TARGET = Condition(
    "AbleToScale", "False", "FailedGetScale", "the HPA controller was unable to get the scale"
)
NOT_DECIDED = Condition("ScalingActive", "Unknown", "", "the controller has not looked at it yet")
DISABLED = Condition(
    *("ScalingActive", "False", "ScalingDisabled"),
    "scaling is disabled since the replica count of the target is zero",
)


REFUSED = "apply Pod xnat/xnat-xnat-web-injection-check (dry run): "
KYVERNO_DENIES = (
    'admission webhook "validate.kyverno.svc-fail" denied the request: \n\nresource Pod/xnat/x '
    "was blocked due to the following policies"
)
KYVERNO_IS_AWAY = (
    'Internal error occurred: failed calling webhook "validate.kyverno.svc-fail": failed to call '
    'webhook: Post "https://kyverno-svc.kyverno.svc:443/validate/fail?timeout=10s": context '
    "deadline exceeded"
)
INJECTOR_IS_AWAY = (
    'Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": failed '
    'to call webhook: Post "https://istiod.istio-system.svc:443/inject?timeout=10s": context '
    "deadline exceeded"
)
PRIVILEGES = (
    'pods "x" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities '
    '(container "istio-init" must not include "NET_ADMIN", "NET_RAW" in '
    "securityContext.capabilities.add)"
)
NO_ROOM = 'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2'
NAKED = (
    "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'owned' with binding 'all' denied request: "
    "a pod needs an owner"
)


NO_IMAGE = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}


def missing(said: str) -> dict[str, Any]:
    """A web pod is missing, and the event about it says why."""
    return {
        "workloads": (workload(WEB, 2), workload(DATABASE)),
        "events": {
            WEB: (
                KubeEvent(
                    "FailedCreate", f"create Pod {WEB}-1 in StatefulSet failed error: {said}"
                ),
            )
        },
    }


def unscheduled(item: Object) -> Object:
    """A pod that no node takes."""
    said = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient cpu"}
    return {**dated(item), "status": {"phase": "Pending", "conditions": [said]}}


def in_init(item: Object, calls: str, **state: Any) -> Object:
    """A pod whose sidecar is native, and whose init container runs a command."""
    app, proxy = item["spec"]["containers"]
    native = {**proxy, "restartPolicy": "Always"}
    init = [native, {"name": "config", "args": [calls]}]
    running = {"running": {"startedAt": datetime.now(UTC).isoformat()}}
    return {
        **item,
        "spec": {"containers": [app], "initContainers": init},
        "status": {
            "phase": "Pending",
            "initContainerStatuses": [
                {"name": "istio-proxy", "ready": True, "started": True},
                {"name": "config", "ready": False, "state": running, **state},
            ],
        },
    }


def done_but_for_its_sidecar() -> Object:
    item = pod("work", 80)
    item["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "work", "controller": True}]
    ended = {"terminated": {"exitCode": 0}}
    item["status"]["containerStatuses"][0].update(ready=False, state=ended)
    return item


def configured(name: str) -> Finding:
    """What preflight finds in istiod's configuration, or about its sidecars."""
    where = "ConfigMap istio-system/istio"
    return Finding(where, "says so", "would be so", "mend it", (f"{where} .data.mesh",), name=name)


def deny_all(**spec: Any) -> Object:
    metadata = {"name": "deny-all", "namespace": "xnat"}
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **spec}
    return {"kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def closed(*found: Object) -> tuple[Closed, ...]:
    """What NetworkPolicies close to the web pod's sidecar, which has not got to istiod."""
    made = of_workload(workload(WEB), (not_ready(pod(WEB, 8080), 1),))
    return tuple(closed_to_sidecars(given_cluster.context(Path("/nowhere"), *found), [made]))


def of_aws(name: str, severity: Severity = Severity.REFUSES) -> Finding:
    """What preflight found in an AWS account."""
    link = "https://docs.aws.amazon.com/"
    named = {"name": name, "severity": severity, "link": link}
    return Finding("group sg-1", "it is closed", "calls fail", "aws ec2 …", ("a field",), **named)


CASES: Mapping[str, dict[str, Any]] = {
    "istiod-down": {
        "istiod": (changed(ISTIOD, "spec.replicas", 0),),
        "istiod_pods": (),
        "injection": Injection(injected=False, refused=INJECTOR_IS_AWAY),
    },
    "webhook-unreachable": {
        "injection": Injection(injected=False, refused=INJECTOR_IS_AWAY),
    },
    "webhook-missing": {"webhooks": (), "injection": Injection(injected=False)},
    "other-webhook-unreachable": missing(KYVERNO_IS_AWAY),
    "pods-refused": missing(KYVERNO_DENIES),
    "two-labels": {"namespace": labelled(**{"istio-injection": "enabled", "istio.io/rev": "x"})},
    "label-missing": {"namespace": labelled(), "injection": Injection(injected=False)},
    "workload-missing": {"workloads": (workload(WEB),)},
    "scaled-to-zero": {
        "workloads": (workload(WEB, 0), workload(DATABASE)),
        "pods": (pod(DATABASE, 5432),),
        "endpoints": (),
        **GONE,
    },
    "pods-missing": {"workloads": (workload(WEB, 2), workload(DATABASE))},
    "pod-without-sidecar": {
        "pods": (without_sidecar(pod(WEB, 8080)), pod(DATABASE, 5432)),
        "listeners": {},
        "answers": answers(DELETE=Observed("DELETE", 405)),
    },
    "sidecar-unstable": {
        "pods": (not_ready(pod(WEB, 8080), 1), pod(DATABASE, 5432)),
        "endpoints": (),
        **GONE,
    },
    "container-not-ready": {
        "pods": (not_ready(pod(WEB, 8080), 0), pod(DATABASE, 5432)),
        "endpoints": (),
        **GONE,
    },
    "container-not-started": {
        "pods": (not_ready(pod(WEB, 8080), 0, **NO_IMAGE), pod(DATABASE, 5432)),
        "endpoints": (),
        **GONE,
    },
    "service-missing": {"services": (), **GONE},
    "web-labels-mistaken": {
        "parameters": lab_parameters(application={"web": {"labels": {"app": WEB}}})
    },
    "service-selects-nothing": {
        "services": (changed(service(WEB, 80, 8080, "http"), "spec.selector.app", "x"),),
        "endpoints": (),
        **GONE,
    },
    "target-port-wrong": {"services": (service(WEB, 80, 9090, "http"),), **GONE},
    "no-endpoints": {"endpoints": (), **GONE},
    "exception-service-port": with_exception("spec.portLevelMtls", {"80": {"mode": "DISABLE"}}),
    "exception-other-port": with_exception("spec.portLevelMtls", {"9": {"mode": "DISABLE"}}),
    "exception-selects-nothing": with_exception("spec.selector.matchLabels", {"app": "typo"}),
    "exception-without-selector": with_exception("spec.selector", None),
    "exception-elsewhere": with_exception("metadata.namespace", "default"),
    "exception-is-strict": with_exception("spec.portLevelMtls", {"8080": {"mode": "STRICT"}}),
    "exception-shadowed": with_exception(
        "metadata.name",
        "default",
        changed(
            changed(dated(copy.deepcopy(EXCEPTION), 1), "metadata.name", "older"),
            "spec.portLevelMtls",
            None,
        ),
    ),
    "exception-missing": {**policies(STRICT, METHODS), **LOCKED},
    "protocol-not-http": {
        "services": (service(WEB, 80, 8080, "tcp-web"),),
        "answers": LOCKED["answers"],
    },
    "denied-by-policy": {
        **policies(STRICT, EXCEPTION, METHODS, OTHERS_DENY),
        "answers": answers(GET=DENIED),
        "authorization": {},
    },
    "method-missing": with_methods(f"{OPERATION}.methods", ["GET", "HEAD"], POST=DENIED),
    "allow-policy-excludes": with_methods(f"{OPERATION}.paths", ["/app/*"], GET=DENIED),
    "access-widened": {
        **policies(STRICT, EXCEPTION, METHODS, OTHERS_ALLOW),
        "answers": answers(DELETE=Observed("DELETE", 405)),
        "authorization": {},
    },
    "policy-selects-nothing": {
        **with_methods(
            "spec.selector.matchLabels", {"app": "typo"}, DELETE=Observed("DELETE", 405)
        ),
        "authorization": {},
    },
    "destination-rule-conflict": {
        "rules": (changed(RULE, "spec.trafficPolicy.portLevelSettings.0.tls.mode", "ISTIO_MUTUAL"),)
    },
    "destination-rule-without-effect": {
        "rules": (RULE, tells(DATABASE, "DISABLE", host=f"{DATABASE}.xnat")),
    },
    "inbound-not-captured": {
        "pods": (annotated(pod(WEB, 8080), excludeInboundPorts="8080"), pod(DATABASE, 5432)),
        "answers": answers(DELETE=Observed("DELETE", 405)),
    },
    "outbound-not-captured": {
        "pods": (annotated(pod(WEB, 8080), excludeOutboundPorts="5432"), pod(DATABASE, 5432)),
    },
    "proxy-disconnected": {"proxies": {f"{WEB}-0.xnat": SENT}},
    "proxy-stale": {
        "proxies": {f"{WEB}-0.xnat": {"Listener": "STALE"}, f"{DATABASE}-0.xnat": SENT}
    },
    "policy-not-in-effect": {"authorization": {f"{WEB}-0": ()}},
    "autoscaler-blind": {"autoscalers": (autoscaler(proxy=None),)},
    "autoscaler-inactive": {"autoscalers": (autoscaler(NO_METRICS),)},
    "autoscaler-skewed": {"autoscalers": (autoscaler(proxy=100, used=80),)},
    "kiali-failed": {"kiali": KIALI},
    "kiali-down": {"kiali_deployment": changed(ISTIOD, "metadata.name", "kiali")},
    "kiali-token": {"token": Token("", "invalid bearer token")},
    "pod-not-scheduled": {"pods": (unscheduled(pod(WEB, 8080)), pod(DATABASE, 5432)), **GONE},
    "pod-left-behind": {
        "workloads": (changed(workload(WEB), "status.updateRevision", "new"), workload(DATABASE)),
        "pods": (
            changed(
                not_ready(pod(WEB, 8080), 0), "metadata.labels.controller-revision-hash", "old"
            ),
            pod(DATABASE, 5432),
        ),
        **GONE,
    },
    "pod-starting": {
        "pods": (not_ready(pod(WEB, 8080), 0, started=False), pod(DATABASE, 5432)),
        "endpoints": (),
        **GONE,
    },
    "init-container-waits": {
        "pods": (
            in_init(pod(WEB, 8080), f"until pg_isready -h {DATABASE}; do :; done"),
            pod(DATABASE, 5432),
        ),
        "services": (service(WEB, 80, 8080, "http"),),
    },
    "job-not-completed": {
        "pods": (*healthy().pods, done_but_for_its_sidecar()),
        "proxies": {**healthy().proxies, "work-0.xnat": SENT},
    },
    "pod-opts-out": {
        "workloads": (
            changed(
                workload(WEB),
                "spec.template.metadata.labels",
                {"app": "xnat-web", "sidecar.istio.io/inject": "false"},
            ),
            workload(DATABASE),
        ),
        "pods": (
            changed(
                without_sidecar(pod(WEB, 8080)),
                "metadata.labels",
                {"app": "xnat-web", "sidecar.istio.io/inject": "false"},
            ),
            pod(DATABASE, 5432),
        ),
        "listeners": {},
        "answers": answers(DELETE=Observed("DELETE", 405)),
    },
    "namespace-not-discovered": {"configured": (configured("discovery-selectors"),)},
    "policy-not-mesh-wide": {"configured": (configured("root-namespace"),)},
    "injector-leaves-out": {"configured": (configured("injector-config"),)},
    "sidecar-of-another-istiod": {"stale": (configured("stale-sidecar"),)},
    "sidecar-outdated": {"injection": Injection(injected=True, image="proxyv2:1.32")},
    "web-port-mistaken": {"parameters": lab_parameters(application={"web": {"port": 80}})},
    "web-service-mistaken": {
        "parameters": lab_parameters(application={"web": {"service": DATABASE}}),
    },
    "network-policy-closes": {
        "closed": closed(deny_all()),
        "pods": (not_ready(pod(WEB, 8080), 1), pod(DATABASE, 5432)),
    },
    "network-policy-locks-out": {"network_policies": (deny_all(),), **GONE},
    "dry-run-log-left": {
        "dry_run_log": DRY_RUN_LOG,
        "messages": (Message("IST0151", "Warning", "EnvoyFilter xnat/xnat-all-dry-run", "odd"),),
    },
    "analyze": {"messages": (Message("IST0101", "Error", "X xnat/x", "not found"),)},
    "security-group-closes": {"aws_ports": (of_aws("security-group-closes"),)},
    "load-balancer-reaches-no-pod": {"aws_balancers": (of_aws("targets-unhealthy"),), **GONE},
    "load-balancer-certificate": {"aws_balancers": (of_aws("certificate-host"),)},
    "load-balancer-settings": {"aws_balancers": (of_aws("idle-timeout"),)},
    "not-in-the-account": {"aws_ports": (of_aws("nodes-unknown"),)},
    "subnets-run-short": {"aws_networks": (of_aws("subnet-addresses"),)},
    "versions-apart": {"aws_versions": (of_aws("node-group-version"),)},
    "unexplained": {"answers": answers(GET=Observed("GET", 500))},
}


def test_a_mesh_with_the_whole_runbook_has_no_finding() -> None:
    assert judge(healthy()) == ()


def test_a_cluster_on_which_nothing_was_done_has_no_finding() -> None:
    bare = healthy(
        namespace=labelled(),
        pods=tuple(without_sidecar(p) for p in healthy().pods),
        istiod=(),
        istiod_pods=(),
        webhooks=(),
        injection=Injection(injected=False),
        rules=(),
        answers=answers(DELETE=Observed("DELETE", 405)),
        proxies={},
        listeners={},
        authorization={},
        **policies(),
    )
    assert judge(bare) == ()


def test_rules_name_chapters_and_other_rules_that_exist() -> None:
    known = {rule.name for rule in registered()}
    assert {name for rule in registered() for name in rule.explained_by} <= known
    assert {rule.chapter for rule in registered()} <= set(CHAPTERS)


def test_a_second_rule_of_a_name_is_refused() -> None:
    register = rule(Area.KIALI, "06_kiali", order=10_000)

    def kiali_down(_seen: Observation) -> tuple[Cause, ...]:
        return ()

    with pytest.raises(ValueError, match="kiali-down"):
        register(kiali_down)


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in registered()} | {"unexplained"} == set(CASES)


@pytest.mark.parametrize("cause", CASES)
def test_a_cause_is_found_alone(cause: str) -> None:
    found = judge(healthy(**CASES[cause]))
    assert names(found) == [cause]
    assert found[0].chapter in {"", *CHAPTERS}
    assert all([found[0].where, found[0].effect, found[0].what, found[0].remedy, found[0].evidence])
    assert re.match(r"https://(istio\.io|kubernetes\.io|docs\.aws\.amazon\.com)/", found[0].link)


@pytest.mark.parametrize(
    ("cause", "evidence"),
    [
        ("istiod-down", "Deployment istio-system/istiod .spec.replicas: 0"),
        ("label-missing", "Namespace xnat .metadata.labels.istio-injection: missing"),
        ("exception-service-port", "PeerAuthentication xnat/default .spec.portLevelMtls.80"),
        (
            "exception-selects-nothing",
            "PeerAuthentication xnat/default .spec.selector.matchLabels.app: typo",
        ),
        ("exception-shadowed", "PeerAuthentication xnat/older .metadata.creationTimestamp: "),
        (
            "allow-policy-excludes",
            "AuthorizationPolicy xnat/xnat-all .spec.rules[0].to[0].operation.paths",
        ),
        (
            "method-missing",
            "AuthorizationPolicy xnat/xnat-all .spec.rules[0].to[0].operation.methods: GET, HEAD",
        ),
        ("denied-by-policy", "AuthorizationPolicy xnat/other .spec.rules[0]"),
        (
            "destination-rule-conflict",
            "DestinationRule xnat/xnat-xnat-web .spec.trafficPolicy.portLevelSettings[0].tls.mode",
        ),
        ("protocol-not-http", "Service xnat/xnat-xnat-web .spec.ports[0].name: tcp-web"),
        ("target-port-wrong", "Service xnat/xnat-xnat-web .spec.ports[0].targetPort: 9090"),
    ],
)
def test_the_evidence_is_the_very_field(cause: str, evidence: str) -> None:
    (found,) = judge(healthy(**CASES[cause]))
    assert found.evidence[0].startswith(evidence)


@pytest.mark.parametrize("rule", registered(), ids=lambda rule: rule.name)
def test_what_could_not_be_seen_is_not_judged(rule: Rule) -> None:
    for field in rule.needs:
        seen = healthy(**CASES[rule.name], unseen={field: "forbidden"})
        assert rule.name not in names(judge(seen)), field
        assert rule in unjudged(seen)


def test_a_cause_explains_what_follows_from_it() -> None:
    (found,) = judge(healthy(**CASES["istiod-down"], proxies={}))
    assert names(found.consequences) == ["webhook-unreachable", "proxy-disconnected"]


def test_a_closed_security_group_explains_a_webhook_that_is_not_reached() -> None:
    (found,) = judge(healthy(**{**CASES["security-group-closes"], **CASES["webhook-unreachable"]}))
    assert (found.name, found.severity) == ("security-group-closes", Severity.FAULT)
    assert names(found.consequences) == ["webhook-unreachable"]


def test_what_is_only_a_note_in_preflight_is_one_in_the_diagnosis() -> None:
    (found,) = judge(healthy(aws_ports=(of_aws("security-group-closes", Severity.NOTE),)))
    assert found.severity is Severity.NOTE


def test_targets_without_health_follow_from_pods_that_are_not_there() -> None:
    unhealthy = CASES["load-balancer-reaches-no-pod"]
    (found,) = judge(healthy(**{**unhealthy, **CASES["scaled-to-zero"]}))
    assert found.name == "scaled-to-zero"
    assert "load-balancer-reaches-no-pod" in names(found.consequences)


def test_health_checks_that_fail_while_users_are_answered_are_a_note() -> None:
    (found,) = judge(healthy(aws_balancers=(of_aws("targets-unhealthy"),)))
    assert (found.name, found.severity) == ("load-balancer-settings", Severity.NOTE)


def test_consequences_of_consequences_hang_on_the_first_cause() -> None:
    seen = healthy(
        **{**CASES["scaled-to-zero"], **CASES["istiod-down"]},
    )
    found = {finding.name: names(finding.consequences) for finding in judge(seen)}
    assert found == {"scaled-to-zero": ["no-endpoints"], "istiod-down": ["webhook-unreachable"]}


def test_what_users_notice_comes_first() -> None:
    seen = healthy(**{**CASES["method-missing"], **CASES["webhook-missing"]})
    assert names(judge(seen)) == ["method-missing", "webhook-missing"]


@pytest.mark.parametrize(
    ("cause", "changes", "severity"),
    [
        ("exception-missing", {}, Severity.NOT_DONE),
        ("method-missing", {}, Severity.NOT_DONE),
        (
            "method-missing",
            with_methods(f"{OPERATION}.methods", ["GET"], POST=DENIED, HEAD=DENIED),
            Severity.FAULT,
        ),
        (
            "pod-without-sidecar",
            {
                "pods": tuple(without_sidecar(p) for p in healthy().pods),
                "rules": (),
                "answers": answers(DELETE=Observed("DELETE", 405)),
                **policies(),
            },
            Severity.NOT_DONE,
        ),
        ("pod-without-sidecar", {}, Severity.FAULT),
        ("webhook-missing", {"istiod": (), "pods": ()}, Severity.NOT_DONE),
    ],
)
def test_a_chapter_not_run_yet_is_no_fault(
    cause: str, changes: dict[str, Any], severity: Severity
) -> None:
    found = judge(healthy(**{**CASES[cause], **changes}))
    assert {f.severity for f in found if f.name == cause} == {severity}


def test_a_sidecar_that_was_restarted_a_moment_ago_is_news_and_later_is_not() -> None:
    def seen(finished: datetime) -> Observation:
        web = pod(WEB, 8080)
        ended = {"exitCode": 137, "finishedAt": finished.isoformat()}
        web["status"]["containerStatuses"][1].update(
            restartCount=2, lastState={"terminated": ended}
        )
        return healthy(pods=(web, pod(DATABASE, 5432)))

    now = datetime.now(UTC)
    assert names(judge(seen(now))) == ["sidecar-unstable"]
    assert judge(seen(now - timedelta(hours=1))) == ()


def test_a_skewed_autoscaler_is_a_finding_only_where_it_matters() -> None:
    idle, busy = autoscaler(proxy=100, used=20), autoscaler(proxy=100, used=80)
    assert judge(healthy(autoscalers=(idle,))) == ()
    assert judge(healthy(autoscalers=(autoscaler(proxy=100),))) == ()
    (waiting,) = judge(healthy(autoscalers=(busy,)))
    assert waiting.severity is Severity.NOT_DONE
    (undone,) = judge(healthy(autoscalers=(idle,), mended=(WEB,)))
    assert undone.severity is Severity.FAULT
    assert "above 140m cpu a pod, and without sidecars did above 70m" in undone.effect


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (autoscaler(own=None), f"{WEB} has no cpu request"),
        (autoscaler(NO_METRICS), str(NO_METRICS)),
        (autoscaler(NO_TARGET, NOT_DECIDED), str(NO_TARGET)),
    ],
)
def test_an_autoscaler_that_never_scales_is_a_fault_in_the_controllers_words(
    broken: Autoscaler, said: str
) -> None:
    (found,) = judge(healthy(autoscalers=(broken,)))
    assert found.name == "autoscaler-inactive"
    assert found.severity is Severity.FAULT
    assert said in found.what
    (evidence,) = found.evidence
    assert evidence.startswith(f"HorizontalPodAutoscaler xnat/{WEB}: {said}")


def test_an_autoscaler_that_has_not_decided_yet_or_has_nothing_to_decide_is_none() -> None:
    waiting = autoscaler(replace(NOT_DECIDED, kind="AbleToScale"))
    assert (
        judge(healthy(autoscalers=(waiting, autoscaler(NOT_DECIDED), autoscaler(DISABLED)))) == ()
    )


def test_new_pods_get_a_moment_until_they_must_have_metrics() -> None:
    def seen(ago: timedelta, *conditions: Condition) -> list[str]:
        web = pod(WEB, 8080, conditions=[ready_since(datetime.now(UTC) - ago)])
        blind = autoscaler(*conditions)
        return names(judge(healthy(pods=(web, pod(DATABASE, 5432)), autoscalers=(blind,))))

    now, later = timedelta(seconds=5), timedelta(minutes=3)
    assert seen(now, NO_METRICS) == []
    assert seen(later, NO_METRICS) == ["autoscaler-inactive"]
    assert seen(now, NO_TARGET) == ["autoscaler-inactive"]


def test_an_autoscaler_without_pods_lacks_metrics_for_that_reason() -> None:
    lost = {**CASES["pods-missing"], "pods": (pod(DATABASE, 5432),), "endpoints": (), **GONE}
    (found,) = judge(healthy(**lost, autoscalers=(autoscaler(NO_METRICS),)))
    assert found.name == "pods-missing"


def test_a_blind_autoscaler_is_told_why_and_only_a_sidecar_needs_annotations() -> None:
    (sidecar,) = judge(healthy(autoscalers=(autoscaler(NO_METRICS, proxy=None),)))
    assert "istio-proxy has no cpu request" in sidecar.what
    assert "four sidecar.istio.io/proxy* annotations" in sidecar.remedy
    (renamed,) = judge(healthy(autoscalers=(autoscaler(NO_METRICS, container="renamed"),)))
    assert renamed.name == "autoscaler-blind"
    assert "the pods have no container renamed" in renamed.what
    assert "annotations" not in renamed.remedy
    assert str(NO_METRICS) in renamed.evidence


def in_shop(**labels: str) -> Object:
    """An exception of another team, in a namespace of its own."""
    own = changed(EXCEPTION, "metadata.namespace", "shop")
    own["spec"] = {
        "selector": {"matchLabels": labels},
        "portLevelMtls": {"9000": {"mode": "DISABLE"}},
    }
    return own


def test_an_exception_of_another_team_hides_nothing() -> None:
    seen = healthy(**{**LOCKED, **policies(STRICT, METHODS, in_shop(app="shop"))})
    (found,) = judge(seen)
    assert found.name == "exception-missing"
    assert found.severity is Severity.NOT_DONE
    without_selector = changed(in_shop(), "spec.selector", None)
    seen = healthy(**{**LOCKED, **policies(STRICT, METHODS, without_selector)})
    assert names(judge(seen)) == ["exception-missing"]


def with_dicom(**changes: Any) -> Observation:
    """The web Service has a second port, for what is not HTTP, which the parameters open."""
    given = lab_parameters(application={"plaintext_ports": [8104]})
    dicom = {"port": 104, "targetPort": 8104, "name": "tcp-dicom"}
    web = service(WEB, 80, 8080, "http")
    web["spec"]["ports"].append(dicom)
    right = {
        "parameters": given,
        "services": (web, healthy().services[1]),
        "rules": (manifest.destination_rule(given, [80, 104]),),
        **policies(
            STRICT,
            dated(manifest.mutual_tls_exception(given, CARRIED)),
            dated(manifest.authorization_policy(given, CARRIED, given.authorization.methods)),
        ),
    }
    return healthy(**{**right, **changes})


def test_a_port_of_the_web_service_for_other_callers_may_be_no_http() -> None:
    assert judge(with_dicom()) == ()
    for target in (8080, "main"):
        both = changed(with_dicom().services[0], "spec.ports.1.targetPort", target)
        # Of two ports of a Service that lead to one of a container, the first decides.
        assert names(judge(with_dicom(services=(both,)))) == []
        both["spec"]["ports"].reverse()
        (found,) = judge(with_dicom(services=(both,)))
        assert found.name == "protocol-not-http"
        assert found.evidence[0].endswith(".spec.ports[0].name: tcp-dicom")


def test_an_older_service_that_names_the_port_tcp_is_the_cause() -> None:
    own = dated(service(WEB, 80, 8080, "http"), 5)
    older = dated(changed(service(WEB, 80, 8080, "tcp-web"), "metadata.name", "older"), 1)
    (found,) = judge(healthy(services=(own, older), **GONE))
    assert found.name == "protocol-not-http"
    assert found.evidence[0] == "Service xnat/older .spec.ports[0].name: tcp-web"
    assert "the oldest Service of the port decides" in found.what


@pytest.mark.parametrize(
    "rules",
    [
        # Newer: the oldest of equals holds.
        (tells(DATABASE, "ISTIO_MUTUAL", second=1), tells(DATABASE, "DISABLE", second=2)),
        # Wider: the most specific host holds.
        (
            tells(DATABASE, "ISTIO_MUTUAL", second=2),
            tells("wide", "DISABLE", host="*.xnat.svc.cluster.local", second=1),
        ),
        # For others: another namespace, or other callers.
        (tells(DATABASE, "DISABLE", exportTo=["shop"]),),
        (tells(DATABASE, "DISABLE", workloadSelector={"matchLabels": {"app": "backup"}}),),
        (
            changed(
                tells(DATABASE, "DISABLE", host=f"{DATABASE}.xnat.svc.cluster.local"),
                "metadata.namespace",
                "shop",
            ),
        ),
    ],
)
def test_a_destination_rule_that_does_not_hold_is_no_finding(rules: tuple[Object, ...]) -> None:
    assert judge(healthy(rules=rules)) == ()


def test_a_destination_rule_without_tls_for_a_port_inherits_it() -> None:
    """The port replaces all settings, but endpoints still get what the rule says of TLS."""
    settings = [{"port": {"number": 5432}, "connectionPool": {"tcp": {"maxConnections": 9}}}]
    rule_ = tells(DATABASE, "DISABLE")
    rule_["spec"]["trafficPolicy"]["portLevelSettings"] = settings
    (found,) = judge(healthy(rules=(rule_,)))
    assert found.name == "destination-rule-conflict"
    assert found.evidence[0].endswith(".spec.trafficPolicy.tls.mode: DISABLE")
    assert found.breaks == {f"{WEB}-0"}


def test_a_rule_that_would_hold_once_the_guilty_one_is_gone_is_named_beside_it() -> None:
    rules_ = tells(DATABASE, "DISABLE", second=1), tells(DATABASE, "SIMPLE", second=2)
    (found,) = judge(healthy(rules=(RULE, *rules_)))
    assert found.evidence[-1] == (
        f"passed over: DestinationRule xnat/{DATABASE}-2 .metadata.creationTimestamp: "
        f"2026-01-01T00:00:02Z; DestinationRule xnat/{DATABASE}-1 is older, and decides alone"
    )


def outside(**spec: Any) -> Object:
    """A Service that no selector fills."""
    metadata = {"name": "db", "namespace": "xnat"}
    ports = [{"port": 5432, "name": "tcp"}]
    return {"kind": "Service", "metadata": metadata, "spec": {"ports": ports, **spec}}


def entry(**spec: Any) -> Object:
    metadata = {"name": "db", "namespace": "xnat"}
    ports = [{"number": 5432, "name": "tcp"}]
    found = {"hosts": ["db.example.com"], "ports": ports, **spec}
    return {"kind": "ServiceEntry", "metadata": metadata, "spec": found}


def slice_of(*addresses: str) -> Object:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": "db"}},
        "endpoints": [{"addresses": list(addresses), "conditions": {"ready": True}}],
    }


DEMANDS = tells("db", "ISTIO_MUTUAL")
DEMANDS_OUTSIDE = tells("db", "ISTIO_MUTUAL", host="db.example.com")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"services": (outside(),), "rules": (DEMANDS,)}, "conflict"),
        (
            {
                "services": (outside(),),
                "rules": (DEMANDS,),
                "endpoints": (*healthy().endpoints, slice_of("192.0.2.1")),
            },
            "conflict",
        ),
        # Endpoints written by hand may be pods with sidecars.
        (
            {
                "services": (outside(),),
                "rules": (DEMANDS,),
                "endpoints": (*healthy().endpoints, slice_of("10.1.0.2")),
                "pods": (pod(WEB, 8080), pod(DATABASE, 5432, podIP="10.1.0.2")),
            },
            "",
        ),
        ({"services": (outside(),), "rules": (tells("db", "SIMPLE"),)}, ""),
        # An alias is none of the hosts that callers' sidecars know.
        (
            {
                "services": (outside(type="ExternalName", externalName="db.example.com"),),
                "rules": (DEMANDS,),
            },
            "without-effect",
        ),
        ({"entries": (entry(),), "rules": (DEMANDS_OUTSIDE,)}, "conflict"),
        ({"entries": (entry(exportTo=["."]),), "rules": (DEMANDS_OUTSIDE,)}, "conflict"),
        ({"entries": (entry(exportTo=["shop"]),), "rules": (DEMANDS_OUTSIDE,)}, ""),
        ({"entries": (entry(location="MESH_INTERNAL"),), "rules": (DEMANDS_OUTSIDE,)}, ""),
    ],
)
def test_mutual_tls_is_demanded_of_what_has_no_sidecar(changes: dict[str, Any], cause: str) -> None:
    services = (*healthy().services, *changes.pop("services", ()))
    rules = (RULE, *changes.pop("rules"))
    found = judge(healthy(**changes, services=services, rules=rules))
    assert names(found) == ([f"destination-rule-{cause}"] if cause else [])


@pytest.mark.parametrize(
    ("inbound", "mode", "found"),
    [
        # The web workload's sidecar speaks mutual TLS to a container that does not.
        ({"excludeInboundPorts": "5432"}, None, ["inbound-not-captured"]),
        ({"includeInboundPorts": "9999"}, None, ["inbound-not-captured"]),
        # Told to send plaintext, it does not; nothing fails.
        ({"excludeInboundPorts": "5432"}, "DISABLE", []),
        ({"excludeInboundPorts": "5432"}, "ISTIO_MUTUAL", ["destination-rule-conflict"]),
        ({"excludeInboundPorts": "9999"}, None, []),
    ],
)
def test_calls_to_a_port_past_the_servers_sidecar(
    inbound: dict[str, str], mode: str | None, found: list[str]
) -> None:
    rules = (RULE, tells(DATABASE, mode)) if mode else (RULE,)
    pods = (pod(WEB, 8080), annotated(pod(DATABASE, 5432), **inbound))
    assert names(judge(healthy(pods=pods, rules=rules))) == found


@pytest.mark.parametrize(
    ("outbound", "found"),
    [
        ({"excludeOutboundPorts": "5432"}, ["outbound-not-captured"]),
        ({"excludeOutboundIPRanges": "10.0.0.0/8"}, ["outbound-not-captured"]),
        ({"includeOutboundIPRanges": "192.168.0.0/16"}, ["outbound-not-captured"]),
        ({"includeOutboundIPRanges": "192.168.0.0/16", "includeOutboundPorts": "5432"}, []),
        ({"excludeOutboundPorts": "9999"}, []),
    ],
)
def test_calls_past_the_callers_sidecar(outbound: dict[str, str], found: list[str]) -> None:
    web, database = healthy().services
    services = web, changed(database, "spec.clusterIP", "10.0.0.7")
    pods = (annotated(pod(WEB, 8080), **outbound), pod(DATABASE, 5432))
    assert names(judge(healthy(pods=pods, services=services))) == found
    # A server that takes plaintext answers.
    permissive = policies(changed(STRICT, "spec.mtls.mode", "PERMISSIVE"), EXCEPTION, METHODS)
    listeners = {**healthy().listeners, f"{DATABASE}-0": [listener(5432, "raw_buffer")]}
    seen = healthy(pods=pods, services=services, listeners=listeners, **permissive)
    assert judge(seen) == ()


def test_a_strict_web_port_past_its_sidecar_locks_nobody_out() -> None:
    web = annotated(pod(WEB, 8080), excludeInboundPorts="8080")
    seen = healthy(
        pods=(web, pod(DATABASE, 5432)),
        rules=(tells(WEB, "DISABLE"),),
        listeners={f"{DATABASE}-0": [listener(5432, "tls")]},
        **policies(STRICT, METHODS),
    )
    (found,) = judge(seen)
    assert found.name == "inbound-not-captured"
    assert "no policy holds on the web port" in found.effect


BY_ADDRESS = [{"source": {"ipBlocks": ["203.0.113.0/24"]}}]


def test_an_allow_by_address_is_named_with_the_address_that_the_sidecar_sees() -> None:
    theirs = {**changed(METHODS, "spec.rules.0.from", BY_ADDRESS), "metadata": OTHER}
    seen = healthy(
        **policies(STRICT, EXCEPTION, theirs), answers=answers(GET=DENIED), authorization={}
    )
    (found,) = judge(seen)
    assert found.name == "allow-policy-excludes"
    assert found.evidence[0].endswith("from[0].source.ipBlocks: 203.0.113.0/24")
    assert "the sidecar sees the load balancer's address" in found.what


def test_a_denial_by_address_is_blamed_only_where_nothing_else_denies() -> None:
    theirs = changed({**METHODS, "metadata": OTHER}, "spec.action", "DENY")
    theirs["spec"]["rules"] = [{"from": BY_ADDRESS}]
    reading = changed(METHODS, f"{OPERATION}.methods", ["GET", "HEAD"])

    def seen(own: Object, **denied: Observed) -> tuple[Cause, ...]:
        found = policies(STRICT, EXCEPTION, own, theirs)
        return judge(healthy(**found, answers=answers(**denied), authorization={}))

    assert names(seen(reading, POST=DENIED)) == ["method-missing"]
    (found,) = seen(METHODS, GET=DENIED)
    assert found.name == "denied-by-policy"
    assert found.evidence[0].endswith("from[0].source.ipBlocks: 203.0.113.0/24")
    assert "may match" in found.what


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("methods", ["GET", "HEAD"], "method-missing"),
        ("paths", ["/app/*"], "allow-policy-excludes"),
        ("ports", ["9090"], "allow-policy-excludes"),
    ],
)
@pytest.mark.parametrize("apart", [True, False])
def test_a_rule_for_another_port_is_no_reason(
    field: str, value: list[str], cause: str, *, apart: bool
) -> None:
    seen = with_dicom()
    (policy,) = seen.policies.authorization_policies
    wrong = changed(policy, f"{OPERATION}.{field}", value)
    if not apart:  # two operations of one rule
        first, second = wrong["spec"]["rules"]
        wrong["spec"]["rules"] = [{"to": [*first["to"], *second["to"]]}]
    mended = replace(seen.policies, authorization_policies=(wrong,))
    (found,) = judge(replace(seen, policies=mended, answers=answers(POST=DENIED)))
    assert found.name == cause
    assert f".spec.rules[0].to[0].operation.{field}" in found.evidence[0]


@pytest.mark.parametrize(
    ("port", "cause"),
    [("80", "exception-service-port"), ("9", "exception-other-port")],
)
def test_a_port_that_is_open_for_others_is_no_mistake_in_the_exception(
    port: str, cause: str
) -> None:
    def locked_by(ports: list[str]) -> list[Cause]:
        wrong = changed(EXCEPTION, "spec.portLevelMtls", {p: {"mode": "DISABLE"} for p in ports})
        seen = with_dicom(**{**LOCKED, **policies(STRICT, wrong, METHODS)})
        return list(judge(seen))

    (found,) = locked_by([port, "8104"])
    assert found.name == cause
    assert found.evidence[0].endswith(f".spec.portLevelMtls.{port}")
    (alone,) = locked_by(["8104"])
    assert alone.name == "exception-other-port"


@pytest.mark.parametrize("field", ["listeners", "authorization"])
def test_an_envoy_that_cannot_be_read_leaves_its_rule_unjudged(field: str) -> None:
    seen = healthy(**{field: {}}, unseen={field: "context deadline exceeded"})
    found = Diagnosis(judge(seen), (), (), tuple(rule.name for rule in unjudged(seen)))
    assert found.unjudged == ("policy-not-in-effect",)
    rows = {row.cells[0]: row for row in health(found).rows}
    assert rows[Area.SIDECARS] == Row((Area.SIDECARS, "could not be judged"), ok=None)


def test_an_envoy_that_can_be_read_is_judged_beside_one_that_cannot() -> None:
    seen = healthy(
        listeners={f"{DATABASE}-0": [listener(5432, "raw_buffer")]},
        unseen={"listeners": "context deadline exceeded"},
    )
    assert names(judge(seen)) == ["policy-not-in-effect"]


def test_pods_on_their_way_out_lack_no_sidecar() -> None:
    leaving = without_sidecar(pod(WEB, 8080))
    leaving["metadata"].update(name=f"{WEB}-old", deletionTimestamp="2026-01-01T00:00:00Z")
    there = (*healthy().pods, leaving)
    assert judge(healthy(pods=there)) == ()
    (found,) = judge(healthy(**{**CASES["label-missing"], "pods": there}))
    assert "already without" not in found.effect


@pytest.mark.parametrize(
    ("revision", "deployment"), [("default", "istiod"), ("1-30", "istiod-1-30")]
)
def test_the_istiod_of_the_revision_is_the_one_whose_log_to_read(
    revision: str, deployment: str
) -> None:
    given = lab_parameters(istio={"revision": revision})
    labels = {"istio.io/rev": revision} if revision != "default" else {"istio-injection": "enabled"}
    seen = healthy(**CASES["proxy-stale"], parameters=given, namespace=labelled(**labels))
    (found,) = judge(seen)
    assert f"logs deployment/{deployment} | grep {WEB}-0" in found.remedy


def test_a_token_that_is_accepted_is_no_finding() -> None:
    assert judge(healthy(token=Token("system:serviceaccount:istio-system:kiali"))) == ()


def test_a_policy_whose_path_template_is_not_judged_is_still_named() -> None:
    changes = with_methods(f"{OPERATION}.paths", ["/app/{*}"], GET=DENIED)
    assert names(judge(healthy(**changes))) == ["allow-policy-excludes"]


def test_health_names_causes_and_blindness_by_area() -> None:
    found = judge(healthy(**CASES["two-labels"]))
    table = health(Diagnosis(found, (), (), ("exception-missing",)))
    rows = {row.cells[0]: (row.cells[1], row.ok) for row in table.rows}
    assert list(rows) == list(Area)
    assert rows[Area.INJECTION] == ("two-labels", False)
    assert rows[Area.MUTUAL_TLS] == ("could not be judged", None)
    assert rows[Area.AUTHORIZATION] == ("no cause found", True)


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (KYVERNO_DENIES, "the admission webhook validate.kyverno.svc-fail refuses new pods"),
        (NAKED, "the policy owned refuses new pods"),
        (PRIVILEGES, "PodSecurity baseline:latest refuses new pods"),
        (NO_ROOM, "the ResourceQuota small refuses new pods"),
        (
            "pods is forbidden: failed quota: small: must specify limits.cpu for: xnat",
            "the ResourceQuota small refuses new pods",
        ),
    ],
)
def test_who_refuses_the_pods_that_are_missing_is_named(said: str, who: str) -> None:
    (found,) = judge(healthy(**missing(said)))
    assert (found.name, found.what) == ("pods-refused", who)
    assert said in found.evidence[0]
    assert names(found.consequences) == ["pods-missing"]


def test_a_deployment_is_refused_by_way_of_its_replica_set() -> None:
    deployment = {**workload(WEB, 2), "kind": "Deployment"}
    given = lab_parameters(
        application={
            "web": {"kind": "Deployment"},
            "restart_order": [f"StatefulSet/{DATABASE}", f"Deployment/{WEB}"],
        }
    )
    refused = (KubeEvent("FailedCreate", f"Error creating: {NO_ROOM}"),)
    of_deployment = pod(WEB, 8080)
    of_deployment["metadata"] |= {
        "labels": {**CARRIED, "pod-template-hash": "7c5ddbdf54"},
        "ownerReferences": [
            {"kind": "ReplicaSet", "name": f"{WEB}-7c5ddbdf54", "controller": True}
        ],
    }

    def seen(about: str) -> Observation:
        return healthy(
            parameters=given,
            pods=(of_deployment, pod(DATABASE, 5432)),
            workloads=(deployment, workload(DATABASE)),
            events={about: refused},
        )

    assert names(judge(seen(f"{WEB}-7c5ddbdf54"))) == ["pods-refused"]
    assert names(judge(seen(f"{WEB}-worker"))) == ["pods-missing"]


def test_an_event_about_pods_that_are_there_by_now_is_no_finding() -> None:
    assert judge(healthy(events=missing(KYVERNO_DENIES)["events"])) == ()


def test_a_certificate_that_is_not_trusted_opens_no_port() -> None:
    refused = f"{INJECTOR_IS_AWAY}: x509: certificate signed by unknown authority"
    (found,) = judge(healthy(injection=Injection(injected=False, refused=refused)))
    assert found.name == "webhook-unreachable"
    assert "does not trust the certificate" in found.what
    assert "rollout restart" in found.remedy
    assert "15017" not in found.remedy


class Istio(NamedTuple):
    """The objects of one istiod."""

    deployment: Object
    pod: Object
    webhook: Object
    service: Object


def istio(revision: str) -> Istio:
    """The objects of one istiod, named and labelled as Istio's chart does."""
    suffix = "" if revision == "default" else f"-{revision}"
    labels = {"app": "istiod", "istio.io/rev": revision}
    service = {"name": f"istiod{suffix}", "namespace": "istio-system"}
    metadata = {**service, "labels": labels}
    injector = {"name": f"istio-sidecar-injector{suffix}", "labels": labels}
    hook = {"name": "namespace.sidecar-injector.istio.io", "clientConfig": {"service": service}}
    return Istio(
        {**ISTIOD, "metadata": metadata},
        {**ISTIOD_POD, "metadata": {**metadata, "name": f"istiod{suffix}-1"}},
        {**WEBHOOK, "metadata": injector, "webhooks": [hook]},
        changed({**ISTIOD_SERVICE, "metadata": metadata}, "spec.selector", labels),
    )


def look(
    refused: str = "", *, revision: str = "default", **objects: tuple[Object, ...]
) -> Observation:
    """Look at a cluster with the given objects by kind, where a dry run may be refused."""
    own = istio("default")
    there = {
        "Namespace": (healthy().namespace,),
        "StatefulSet": healthy().workloads,
        "Pod": (*healthy().pods, own.pod),
        "Deployment": (own.deployment,),
        "MutatingWebhookConfiguration": (own.webhook,),
        "Service": (own.service, istio("canary").service),
        **objects,
    }

    def listed(
        _api: str, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        return [
            item
            for item in there.get(kind, ())
            if namespace in (None, item["metadata"].get("namespace"))
            and (labels or {}).items() <= item["metadata"].get("labels", {}).items()
        ]

    def get(api: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        found = listed(api, kind, namespace)
        return next((item for item in found if item["metadata"]["name"] == name), None)

    def apply(_pod: Object, *, dry_run: bool) -> Object:
        assert dry_run
        if refused:
            doing = f"apply Pod xnat/{WEB}-injection-check (dry run): "
            raise ClusterRefused(doing + refused, status=403, reason="Forbidden")
        return pod(WEB, 8080)

    nowhere = Path("/nowhere")
    context = SimpleNamespace(
        parameters=lab_parameters(istio={"revision": revision}),
        cluster=SimpleNamespace(list=listed, get=get, apply=apply, logs=lambda *_, **__: []),
        istioctl=Istioctl(
            nowhere, kubeconfig=Kubeconfig.of(nowhere), context="", istio_namespace="istio-system"
        ),
        target=SimpleNamespace(url="http://127.0.0.1:1"),
        verify_tls=True,
        aws=None,
    )
    seen, _, _ = Looker(cast("Context", context)).look()
    # There is no site to ask.
    return replace(seen, services=healthy().services, endpoints=healthy().endpoints, answers=())


def unjudged_for_want_of_injection(seen: Observation) -> set[str]:
    return {rule.name for rule in unjudged(seen) if "injection" in rule.needs}


def test_a_cluster_that_refuses_nothing_is_looked_at_in_full() -> None:
    seen = look()
    assert judge(seen) == ()
    assert seen.injection == Injection(injected=True)
    assert unjudged_for_want_of_injection(seen) == set()


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (INJECTOR_IS_AWAY, "the API server does not reach istiod's injection webhook"),
        (KYVERNO_IS_AWAY, "the API server does not reach the admission webhook validate.kyverno"),
        (PRIVILEGES, "PodSecurity baseline:latest refuses new pods"),
        (
            'admission webhook "namespace.sidecar-injector.istio.io" denied the request: no limit',
            "the admission webhook namespace.sidecar-injector.istio.io refuses new pods",
        ),
    ],
)
def test_what_keeps_out_every_pod_is_a_cause(said: str, cause: str) -> None:
    (found,) = judge(look(said))
    assert found.what.startswith(cause)
    assert said in found.evidence[0]
    assert ("15017" in found.remedy) is (said == INJECTOR_IS_AWAY)


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (KYVERNO_DENIES, "validate.kyverno.svc-fail"),
        ('admission webhook "x.example.com" does not support dry run', "x.example.com"),
        (NAKED, "owned"),
        (NO_ROOM, "small"),
    ],
)
def test_what_may_keep_out_the_dry_run_alone_is_no_cause_and_is_named(said: str, who: str) -> None:
    seen = look(said)
    assert judge(seen) == ()
    assert who in seen.unseen["injection"]
    assert unjudged_for_want_of_injection(seen) == {
        *("webhook-unreachable", "webhook-missing", "sidecar-outdated")
    }


def test_odd_data_is_unseen_and_ends_no_diagnosis() -> None:
    own = istio("default")
    for odd in (changed(own.webhook, "webhooks", [{}]), changed(own.webhook, "webhooks", 5)):
        seen = look(MutatingWebhookConfiguration=(odd,))
        assert judge(seen) == ()
        assert "not understood: " in seen.unseen["webhooks"]
        assert "Error: " in seen.unseen["webhooks"]
    untold = changed(healthy().endpoints[0], "endpoints", ["10.0.0.1"])
    untold["metadata"]["namespace"] = "xnat"
    assert "AttributeError" in look(EndpointSlice=(untold,)).unseen["endpoints"]


def test_pods_on_their_way_out_are_not_asked() -> None:
    leaving = pod(WEB, 8080)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    seen = look(Pod=(leaving, istio("default").pod))
    assert {"listeners", "authorization"} & seen.unseen.keys() == set()


def test_the_service_of_a_webhook_that_is_away_is_where_to_look() -> None:
    (found,) = judge(look(KYVERNO_IS_AWAY))
    assert found.remedy.endswith(
        "kubectl --namespace kyverno get endpointslices --selector "
        "kubernetes.io/service-name=kyverno-svc"
    )


def test_an_istiod_that_is_down_is_not_made_up_for_by_one_of_another_revision() -> None:
    own, canary = istio("default"), istio("canary")
    down = {
        "Deployment": (changed(own.deployment, "spec.replicas", 0), canary.deployment),
        "Pod": (*healthy().pods, canary.pod),
        "MutatingWebhookConfiguration": (own.webhook, canary.webhook),
    }
    (found,) = judge(look(INJECTOR_IS_AWAY, **down))
    assert found.name == "istiod-down"
    assert found.evidence == ("Deployment istio-system/istiod .spec.replicas: 0",)
    assert "scale deployment/istiod " in found.remedy


def test_an_istiod_of_another_revision_that_is_down_is_not_this_ones_fault() -> None:
    own, canary = istio("default"), istio("canary")
    seen = look(
        Deployment=(own.deployment, changed(canary.deployment, "spec.replicas", 0)),
        Pod=(*healthy().pods, own.pod),
        MutatingWebhookConfiguration=(own.webhook, canary.webhook),
    )
    assert judge(seen) == ()


def test_webhooks_of_another_revision_do_not_point_to_the_wrong_service() -> None:
    own, canary = istio("default"), istio("canary")
    seen = look(
        INJECTOR_IS_AWAY,
        Deployment=(own.deployment, canary.deployment),
        Pod=(*healthy().pods, own.pod, canary.pod),
        MutatingWebhookConfiguration=(canary.webhook, own.webhook),
    )
    (found,) = judge(seen)
    assert found.what == "the API server does not reach istiod's injection webhook"


def test_the_revision_of_the_parameters_is_the_one_that_is_looked_at() -> None:
    own, canary = istio("default"), istio("canary")
    seen = look(
        revision="canary",
        Namespace=(labelled(**{"istio.io/rev": "canary"}),),
        Deployment=(own.deployment, canary.deployment),
        Pod=(*healthy().pods, own.pod),
        MutatingWebhookConfiguration=(own.webhook, canary.webhook),
    )
    (found,) = judge(seen)
    assert found.name == "istiod-down"
    assert found.evidence == ("Deployment istio-system/istiod-canary .spec.replicas: 1",)


def no_database() -> dict[str, Any]:
    """XNAT is not ready for want of its database, which has no sidecar, by choice."""
    database = without_sidecar(pod(DATABASE, 5432))
    database["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    rule = copy.deepcopy(RULE)
    rule["metadata"]["name"] = rule["spec"]["host"] = DATABASE
    rule["spec"]["trafficPolicy"] = {"tls": {"mode": "ISTIO_MUTUAL"}}
    return {
        **CASES["container-not-ready"],
        "pods": (not_ready(pod(WEB, 8080), 0), database),
        "rules": (RULE, rule),
        "proxies": {f"{WEB}-0.xnat": SENT},
    }


def test_a_container_that_lacks_its_database_follows_from_the_rule_that_cuts_it_off() -> None:
    (found,) = judge(healthy(**no_database()))
    assert found.name == "destination-rule-conflict"
    assert names(found.consequences) == ["container-not-ready", "no-endpoints"]
    assert found.reaches_outside


def test_a_rule_about_calls_to_a_pod_is_no_reason_why_that_pod_itself_is_not_ready() -> None:
    wrong = changed(RULE, "spec.trafficPolicy.portLevelSettings.0.tls.mode", "ISTIO_MUTUAL")
    seen = healthy(**{**CASES["container-not-ready"], "rules": (wrong,)})
    found = {finding.name: names(finding.consequences) for finding in judge(seen)}
    assert found == {"container-not-ready": ["no-endpoints"], "destination-rule-conflict": []}


@pytest.mark.parametrize("cause", ["policy-not-in-effect", "proxy-stale", "proxy-disconnected"])
def test_a_container_may_wait_in_vain_behind_a_sidecar_that_is_not_up_to_date(cause: str) -> None:
    (found,) = judge(healthy(**{**CASES[cause], **CASES["container-not-ready"]}))
    assert found.name == cause
    assert names(found.consequences) == ["container-not-ready", "no-endpoints"]


def test_a_pod_without_a_sidecar_is_refused_by_a_strict_database() -> None:
    bare = without_sidecar(not_ready(pod(WEB, 8080), 0))
    lost = {
        **CASES["container-not-ready"],
        "pods": (bare, pod(DATABASE, 5432)),
        "rules": (),
        "listeners": {},
        "authorization": {},
    }
    (found,) = judge(healthy(**lost))
    assert found.name == "pod-without-sidecar"
    assert names(found.consequences) == ["container-not-ready", "no-endpoints"]
    open_to_all = {**lost, **policies()}
    assert "container-not-ready" in names(judge(healthy(**open_to_all)))


@pytest.mark.parametrize("cause", ["destination-rule-conflict", "proxy-stale"])
def test_no_fault_of_the_mesh_explains_an_image_that_cannot_be_pulled(cause: str) -> None:
    web = not_ready(pod(WEB, 8080), 0, **NO_IMAGE)
    lost = {**no_database(), **CASES["proxy-stale"]} if cause == "proxy-stale" else no_database()
    found = judge(healthy(**{**lost, "pods": (web, *lost["pods"][1:])}))
    assert names(found)[0] == "container-not-started"
    assert cause in names(found)
    assert "ImagePullBackOff: no such image" in found[0].evidence[0]


def test_nothing_is_said_about_the_mesh_by_a_container_that_is_not_ready() -> None:
    (found,) = judge(healthy(**CASES["container-not-ready"]))
    assert found.what == f"the application's container {WEB} is not ready"


HOSTILE = "<script>alert('x')</script> & co"


def words(text: str) -> set[str]:
    plain = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.S)
    return set(re.findall(r"\w+", html.unescape(plain).lower()))


@pytest.fixture
def shown() -> Diagnosis:
    follows = Cause("w", "c", "it shows", "r", ("e",), link="https://istio.io/", name="later")
    finding = Cause(
        *(HOSTILE, HOSTILE, HOSTILE, HOSTILE, (HOSTILE,)),
        parameter=HOSTILE,
        link=HOSTILE,
        name=HOSTILE,
        chapter=HOSTILE,
        consequences=(follows,),
    )
    return Diagnosis((finding,), (Look("pods", HOSTILE),), (Look(HOSTILE, "403"),), ("analyze",))


def test_html_says_everything_that_the_text_says(shown: Diagnosis) -> None:
    assert words(str(shown)) - words(diagnosis_html(shown)) == set()
    said = Transcript("kubectl get x", "nothing")
    assert words(str(said)) - words(transcript_html(said)) == set()


def test_text_from_outside_is_escaped(shown: Diagnosis) -> None:
    for page in (diagnosis_html(shown), transcript_html(Transcript(HOSTILE, HOSTILE))):
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


def test_silence_says_what_was_looked_at_and_what_was_not() -> None:
    quiet = Diagnosis((), (Look("pods", "2"),), (Look("webhooks", "forbidden"),))
    assert quiet.headline == "✓ Nothing found. Looked at 1 things, could not look at 1."
    assert "forbidden" in str(quiet)
    assert "forbidden" in diagnosis_html(quiet)
