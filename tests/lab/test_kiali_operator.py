"""The stand-in for the Kiali operator, installed from its chart, does what a resource says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lab.build.recipes import kubernetes_version
from runbook_lib.lab.foundation.state import marked_processes
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

HELM = ("helm", "-n", "kiali-operator")
PERIOD = "ansible.sdk.operatorframework.io/reconcile-period"
NLB = {
    "service.beta.kubernetes.io/aws-load-balancer-type": "external",
    "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip",
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "service.beta.kubernetes.io/aws-load-balancer-ssl-cert": "arn:aws:acm:xx-1:0:certificate/0",
    "service.beta.kubernetes.io/aws-load-balancer-ssl-ports": "20001",
}
ALB = {
    "alb.ingress.kubernetes.io/scheme": "internal",
    "alb.ingress.kubernetes.io/target-type": "ip",
    "alb.ingress.kubernetes.io/certificate-arn": "arn:aws:acm:xx-1:0:certificate/0",
    "alb.ingress.kubernetes.io/listen-ports": '[{"HTTPS": 443}]',
}
OWNED = (
    "serviceaccounts,configmaps,secrets,services,deployments,ingresses,networkpolicies,"
    "clusterroles,clusterrolebindings"
)


def _install(lab: Lab, *more: str) -> None:
    chart = lab.state.charts["kiali-operator"]
    lab.run(
        *HELM,
        "upgrade",
        "--install",
        "--create-namespace",
        "--wait",
        "kiali-operator",
        chart,
        *more,
    )


@pytest.fixture(scope="module")
def operated(lab: Lab) -> Lab:
    """The lab with the operator and the namespace for Kiali."""
    _install(lab)
    lab.run("kubectl", "create", "namespace", "istio-system")
    return lab


def _resource(spec: dict[str, Any]) -> str:
    return json.dumps(
        {
            "apiVersion": "kiali.io/v1alpha1",
            "kind": "Kiali",
            "metadata": {"name": "kiali", "namespace": "istio-system"},
            "spec": spec,
        }
    )


def _apply(lab: Lab, spec: dict[str, Any]) -> None:
    """As the runbook does it: server-side, with its field manager."""
    apply = ("kubectl", "apply", "--server-side", "--field-manager=istio-runbook", "-f-")
    lab.run(*apply, stdin=_resource(spec))


def _get(lab: Lab, kind: str, name: str = "kiali") -> dict[str, Any]:
    answer = lab.run(
        *("kubectl", "-n", "istio-system", "get", kind, name, "-o", "json"), check=False
    )
    found: dict[str, Any] = json.loads(answer) if answer.startswith("{") else {}
    return found


def _conditions(lab: Lab) -> dict[str, dict[str, Any]]:
    listed = _get(lab, "kiali").get("status", {}).get("conditions", [])
    return {each["type"]: each for each in listed}


def _until_condition(lab: Lab, kind: str, message: str = "") -> None:
    """Wait until a condition holds and the operator has nothing more to do."""

    def observe() -> State:
        found = _conditions(lab)
        condition = found.get(kind, {})
        holds = condition.get("status") == "True" and message in condition["message"]
        return State(holds, json.dumps(found))

    until(f"{kind} of the Kiali resource", observe, timeout=30)


def _until(lab: Lab, what: str, kind: str, holds: Any, name: str = "kiali") -> dict[str, Any]:
    def observe() -> State:
        found = _get(lab, kind, name)
        return State(bool(found) and holds(found), json.dumps(found)[:2000] or "absent")

    until(what, observe, timeout=30)
    return _get(lab, kind, name)


def _versions(lab: Lab) -> dict[str, str]:
    """Resource versions of all that the operator has made."""
    answer = lab.run(
        *("kubectl", "-n", "istio-system", "get", OWNED, "-o", "json"),
        *("-l", "app.kubernetes.io/part-of=kiali"),
    )
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for each in json.loads(answer)["items"]
    }


def _finished(lab: Lab) -> int:
    """How many reconciliations the operator has ended well since it started."""
    log = lab.run("kubectl", "-n", "kiali-operator", "logs", "deploy/kiali-operator")
    return log.count("reconciliation is done")


def _until_reconciled(lab: Lab, more_than: int) -> None:
    def observe() -> State:
        count = _finished(lab)
        return State(count > more_than, f"{count} reconciliations")

    until("another reconciliation", observe, timeout=30)


def test_it_says_that_it_is_a_stand_in(operated: Lab) -> None:
    """In the list of releases' chart, in the pod's image and in the log."""
    chart = operated.run("helm", "show", "chart", operated.state.charts["kiali-operator"])
    assert "Stand-in for the Kiali operator" in chart
    pods = operated.run("kubectl", "-n", "kiali-operator", "get", "pods", "-o", "json")
    [pod] = json.loads(pods)["items"]
    assert pod["spec"]["containers"][0]["image"] == "lab.invalid/kiali-operator-stand-in:1"
    assert pod["metadata"]["labels"]["lab.istio-runbook/runtime"] == "process"
    log = operated.run("kubectl", "-n", "kiali-operator", "logs", "deploy/kiali-operator")
    assert "stand-in for the Kiali operator, not the real one" in log


def test_a_resource_becomes_a_deployed_kiali(operated: Lab) -> None:
    _apply(operated, {"auth": {"strategy": "token"}, "server": {"web_root": "/mesh"}})
    _until_condition(operated, "Successful", "Last reconciliation succeeded")
    found = _get(operated, "kiali")
    assert found["metadata"]["finalizers"] == ["kiali.io/finalizer"]
    # Nothing of the operator's own bookkeeping shows up in the resource.
    assert found["metadata"].get("annotations", {}) == {}
    assert set(found["status"]) == {
        *("conditions", "deployment", "environment", "progress", "specVersion")
    }
    assert found["status"]["deployment"] == {
        "instanceName": "kiali",
        "namespace": "istio-system",
        "remoteClusterResourcesOnly": False,
    }
    assert found["status"]["environment"] == {
        "isKubernetes": True,
        "kubernetesVersion": kubernetes_version().removeprefix("v"),
        "operatorVersion": "v1.89.0",
    }
    assert found["status"]["progress"]["message"] == "6. Finished all resource creation"
    running = _conditions(operated)["Running"]
    assert (running["status"], running["message"]) == ("True", "Awaiting next reconciliation")
    assert set(_versions(operated)) == {
        "ServiceAccount/kiali-service-account",
        "ConfigMap/kiali",
        "Secret/kiali-signing-key",
        "Service/kiali",
        "Deployment/kiali",
        "NetworkPolicy/kiali",
        "ClusterRole/kiali-viewer",
        "ClusterRoleBinding/kiali",
    }
    [container] = _get(operated, "deployment")["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/mesh/healthz"


def test_an_unchanged_resource_changes_nothing(operated: Lab) -> None:
    """Neither applying the same again, nor a reconciliation for an annotation's sake."""
    before, count, conditions = _versions(operated), _finished(operated), _conditions(operated)
    version = _get(operated, "kiali")["metadata"]["resourceVersion"]
    _apply(operated, {"auth": {"strategy": "token"}, "server": {"web_root": "/mesh"}})
    assert _get(operated, "kiali")["metadata"]["resourceVersion"] == version
    operated.run(
        *("kubectl", "-n", "istio-system", "annotate", "kiali", "kiali", "--overwrite", "again=1")
    )
    _until_reconciled(operated, count)
    assert {k: v for k, v in _versions(operated).items() if k != "Deployment/kiali"} == {
        k: v for k, v in before.items() if k != "Deployment/kiali"
    }
    # Runs can be told apart, although nothing has changed.
    assert _conditions(operated)["Successful"] != conditions["Successful"]
    # The Deployment's status is the pod's; its generation is that of its spec.
    assert _get(operated, "deployment")["metadata"]["generation"] == 1


def test_a_wrong_strategy_is_a_failure_until_it_is_corrected(operated: Lab) -> None:
    before = _get(operated, "configmap")
    _apply(operated, {"auth": {"strategy": "ldap"}})
    _until_condition(operated, "Failure", "Invalid auth.strategy [ldap]! Must be one of either")
    failed = _conditions(operated)
    assert failed["Failure"]["reason"] == "Failed"
    assert failed["Successful"]["status"] == "False"
    assert _get(operated, "configmap") == before
    _apply(operated, {"auth": {"strategy": "token"}})
    _until_condition(operated, "Successful")
    assert _conditions(operated)["Failure"]["status"] == "False"


def test_what_the_api_server_refuses_is_reported(operated: Lab) -> None:
    _apply(operated, {"deployment": {"service_type": "Balanced"}})
    _until_condition(operated, "Failure", 'spec.type: Unsupported value: "Balanced"')
    spec = {"rules": [{"http": {"paths": [{"path": "kiali"}]}}]}
    ingress = {"enabled": True, "override_yaml": {"spec": spec}}
    _apply(operated, {"deployment": {"ingress": ingress}})
    _until_condition(operated, "Failure", "Ingress")
    _apply(operated, {"version": "v0.1"})
    _until_condition(operated, "Failure", "Asked to install a version [v0.1]")
    answer = operated.run(
        *("kubectl", "apply", "--server-side", "-f-"),
        stdin=_resource({"deployment": {"view_only_mode": "perhaps"}}),
        check=False,
    )
    assert "spec.deployment.view_only_mode" in answer
    _apply(operated, {})
    _until_condition(operated, "Successful")


def test_a_load_balancer_of_the_resource_lands_in_the_service(operated: Lab) -> None:
    spec = {
        "deployment": {"service_type": "LoadBalancer", "service_annotations": NLB},
        "server": {"observability": {"metrics": {"enabled": False}}},
    }
    _apply(operated, spec)
    service = _until(
        operated,
        "the Service's type",
        "service",
        lambda found: found["spec"]["type"] == "LoadBalancer",
    )
    assert service["metadata"]["annotations"] == NLB
    # A load balancer would publish the metrics as well.
    assert [(each["name"], each["port"]) for each in service["spec"]["ports"]] == [("http", 20001)]
    _until_condition(operated, "Successful")


def test_the_next_reconciliation_undoes_changes_by_hand(operated: Lab) -> None:
    """It comes with a change of the resource, as in the real operator, or with its period."""
    key = "service.beta.kubernetes.io/aws-load-balancer-scheme"
    patch = {"metadata": {"annotations": {key: "internet-facing"}}, "spec": {"type": "ClusterIP"}}
    by_hand = ("kubectl", "-n", "istio-system", "patch", "service", "kiali", "-p")

    def until_undone() -> None:
        _until(
            operated,
            "the Service as the resource says",
            "service",
            lambda found: (
                found["spec"]["type"] == "LoadBalancer" and found["metadata"]["annotations"] == NLB
            ),
        )

    def annotate(period: str) -> None:
        operated.run(
            *("kubectl", "-n", "istio-system", "annotate", "--overwrite", "kiali", "kiali"),
            f"{PERIOD}={period}",
        )

    operated.run(*by_hand, json.dumps(patch))
    annotate("1s")
    until_undone()
    operated.run(*by_hand, json.dumps(patch))
    until_undone()
    operated.run("kubectl", "-n", "istio-system", "delete", "service", "kiali")
    until_undone()
    annotate("soon")
    _until_condition(operated, "Failure", 'invalid duration "soon"')
    operated.run(*("kubectl", "-n", "istio-system", "annotate", "kiali", "kiali", f"{PERIOD}-"))
    _until_condition(operated, "Successful")


def test_an_ingress_of_the_resource_is_made_and_taken_away(operated: Lab) -> None:
    service = {"name": "kiali", "port": {"number": 20001}}
    path = {"path": "/kiali", "pathType": "Prefix", "backend": {"service": service}}
    rules = [{"host": "kiali.example.com", "http": {"paths": [path]}}]
    override = {
        "metadata": {"annotations": ALB},
        "spec": {"ingressClassName": "alb", "rules": rules},
    }
    ingress = {"enabled": True, "class_name": "nginx", "override_yaml": override}
    _apply(operated, {"deployment": {"ingress": ingress}})
    found = _until(operated, "the Ingress", "ingress", lambda _: True)
    assert found["metadata"]["annotations"] == ALB
    assert found["spec"]["ingressClassName"] == "alb"
    assert found["spec"]["rules"] == rules
    _until_condition(operated, "Successful")
    _apply(operated, {})

    def gone() -> State:
        return State(_get(operated, "ingress") == {}, "it is still there")

    until("the end of the Ingress", gone, timeout=30)
    # Of the load balancer nothing is left, either.
    service = _until(
        operated,
        "the Service's type",
        "service",
        lambda found: found["spec"]["type"] == "ClusterIP",
    )
    assert service["metadata"].get("annotations", {}) == {}


def test_the_role_follows_the_mode_and_the_key_stays(operated: Lab) -> None:
    """A binding cannot change what it refers to: it is made anew."""
    key = _get(operated, "secret", "kiali-signing-key")["data"]["key"]
    _apply(operated, {"auth": {"strategy": "anonymous"}})
    _until(
        operated,
        "the binding to the writing role",
        "clusterrolebinding",
        lambda found: found["roleRef"]["name"] == "kiali",
    )
    assert _get(operated, "clusterrole", "kiali-viewer") == {}
    _apply(operated, {"auth": {"strategy": "anonymous"}, "deployment": {"view_only_mode": True}})
    _until(
        operated,
        "the binding to the reading role",
        "clusterrolebinding",
        lambda found: found["roleRef"]["name"] == "kiali-viewer",
    )
    assert _get(operated, "clusterrole", "kiali") == {}
    assert _get(operated, "secret", "kiali-signing-key")["data"]["key"] == key


def test_a_restarted_operator_reconciles_what_there_is(operated: Lab) -> None:
    _until_condition(operated, "Successful")
    operated.run("kubectl", "-n", "istio-system", "delete", "service", "kiali")
    [process] = [
        each
        for each in marked_processes(operated.name)
        if "runbook_lib.lab.standins.kiali_operator" in each.cmdline()
    ]
    process.kill()
    _until(operated, "the Service again", "service", lambda _: True)
    _until_condition(operated, "Successful")


def test_deleting_the_resource_deletes_all_of_kiali(operated: Lab) -> None:
    _apply(operated, {"deployment": {"ingress": {"enabled": True}}})
    _until(operated, "the Ingress", "ingress", lambda _: True)
    _until_condition(operated, "Successful")
    operated.run(*("kubectl", "-n", "istio-system", "delete", "kiali", "kiali", "--timeout=30s"))
    assert _versions(operated) == {}


def test_the_definition_survives_the_release(operated: Lab) -> None:
    """Helm leaves what a chart's folder crds has installed, here as on any cluster."""
    operated.run(*HELM, "uninstall", "kiali-operator", "--wait")
    crds = operated.run("kubectl", "get", "crd", "kialis.kiali.io", "-o", "name")
    assert "kialis.kiali.io" in crds
    assert "kiali-operator" not in operated.run("kubectl", "get", "clusterroles", "-o", "name")


def test_a_release_can_bring_the_resource_into_one_watched_namespace(operated: Lab) -> None:
    _install(operated, "--set", "cr.create=true,watchNamespace=istio-system")
    _until_condition(operated, "Successful")
    operated.run("kubectl", "-n", "istio-system", "delete", "kiali", "kiali", "--timeout=30s")
    assert _versions(operated) == {}
