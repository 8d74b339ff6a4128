"""Faults of which the first cause was once named wrongly, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runbook_lib.base.wait import State
from runbook_lib.chapters.policies import manifest
from runbook_lib.cluster.objects import Object, name_of
from tests.faults.policies import own_policy
from tests.faults.site import FRONT, OTHER, SECURITY, WEB, Fault, Site

DATABASE = "xnat-postgresql"


def by_address(action: str, block: str, *, alone: bool = False) -> Fault:
    """An AuthorizationPolicy of somebody else about addresses, which are no load balancer's."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        rules = [{"from": [{"source": {"ipBlocks": [block]}}]}]
        spec = {"action": action, "selector": {"matchLabels": WEB}, "rules": rules}
        policy = {"apiVersion": SECURITY, "kind": "AuthorizationPolicy", "metadata": OTHER}
        given = site.context.parameters
        own = manifest.authorization_policy(given, WEB, given.authorization.methods)
        site.recreate({**policy, "spec": spec})
        if alone:
            site.kubectl("delete", "authorizationpolicy", own["metadata"]["name"])
            site.until_answer("GET", 403)
        yield
        site.kubectl("delete", "authorizationpolicy", "other-team")
        if alone:
            site.recreate(own)
            site.until_answer("GET", 200)

    return fault


@contextmanager
def method_missing_beside_a_denial(site: Site) -> Iterator[None]:
    denial = by_address("DENY", "198.51.100.0/24")
    missing = own_policy("POST", 403, 200, methods=["GET", "HEAD"])
    with denial(site), missing(site):
        yield


def limit_range(workload: str) -> Fault:
    """A LimitRange that a sidecar is too big for, and a pod that dies after it came."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        limits = [{"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "1"}}]
        metadata = {"name": "small", "namespace": "xnat"}
        site.recreate(
            {
                "apiVersion": "v1",
                "kind": "LimitRange",
                "metadata": metadata,
                "spec": {"limits": limits},
            }
        )
        site.until_refused("maximum cpu usage")
        site.kubectl("delete", "pod", f"{workload}-0", "--wait")
        site.until_event(workload, "FailedCreate")
        yield
        site.kubectl("delete", "limitrange", "small")
        site.until_rolled_out(f"statefulset/{workload}")

    return fault


@contextmanager
def pod_security_and_no_database(site: Site) -> Iterator[None]:
    key = "pod-security.kubernetes.io/enforce"
    site.kubectl("label", "namespace", "xnat", f"{key}=baseline")
    site.until_refused("violates PodSecurity")
    site.kubectl("delete", "pod", f"{DATABASE}-0", "--wait")
    site.until_event(DATABASE, "FailedCreate")
    yield
    site.kubectl("label", "namespace", "xnat", f"{key}-")
    site.until_rolled_out(f"statefulset/{DATABASE}")


@contextmanager
def database_service_gone(site: Site) -> Iterator[None]:
    before = site.get("service", DATABASE)
    site.kubectl("delete", "service", DATABASE)
    site.kubectl("delete", "pod", "xnat-xnat-web-0", "--wait")
    site.until_pod("xnat-xnat-web-0", "to wait in its init container", in_init("config"))
    yield
    site.recreate(before)
    site.until_rolled_out()


def in_init(name: str) -> Any:
    def holds(pod: Object) -> bool:
        states = pod["status"].get("initContainerStatuses") or []
        return any(s["name"] == name and "running" in (s.get("state") or {}) for s in states)

    return holds


@contextmanager
def tagged(site: Site) -> Iterator[None]:
    """The namespace asks for sidecars by a revision tag; nothing is wrong with that."""
    site.lab.run("istioctl", "tag", "set", "prod", "--revision", "default")
    site.kubectl("label", "namespace", "xnat", "istio-injection-", "istio.io/rev=prod")
    with site.given(istio={"revision": "prod"}):
        yield
    site.kubectl("label", "namespace", "xnat", "istio-injection=enabled", "istio.io/rev-")
    site.lab.run("istioctl", "tag", "remove", "prod", "--skip-confirmation")


@contextmanager
def daemon_set(site: Site) -> Iterator[None]:
    """One of the workloads that get sidecars is a DaemonSet; nothing is wrong with that."""
    labels = {"app": "agent"}
    container = {"name": "agent", "image": "lab.invalid/agent:simulated"}
    site.recreate(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": "xnat"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    )
    site.until_rolled_out("daemonset/agent")
    order = [*site.context.parameters.application.restart_order, "DaemonSet/agent"]
    with site.given(application={"restart_order": order}):
        yield
    site.kubectl("delete", "daemonset", "agent", "--wait")
    site.kubectl("wait", "pod", "--selector=app=agent", "--for=delete", "--timeout=60s")


@contextmanager
def older_service_says_tcp(site: Site) -> Iterator[None]:
    names = ("xnat-xnat-web", FRONT, "xnat-xnat-web-dicom-scp")
    before = [site.get("service", name) for name in names]
    first = site.get("service", FRONT)
    first["metadata"] = {"name": "a-team", "namespace": "xnat"}
    first["spec"]["ports"][0]["name"] = "tcp-web"
    for name in names:
        site.kubectl("delete", "service", name)
    site.recreate(first)
    for each in before:
        site.recreate(each)
    site.until_answer("GET", 502)
    yield
    site.kubectl("delete", "service", "a-team")
    site.until_answer("GET", 200)


@contextmanager
def newer_istiod(site: Site) -> Iterator[None]:
    """The chart of a newer istiod: its injector puts in newer sidecars."""
    with injector(site, "values", '"tag": "latest"', '"tag": "1.32.0"'):
        site.until_injected(lambda pod: "1.32.0" in json.dumps(pod))
        yield


@contextmanager
def injector(site: Site, key: str, old: str, new: str) -> Iterator[None]:
    """Another text in the configuration of the injector."""
    name, istio = "istio-sidecar-injector", {"namespace": "istio-system"}
    before = json.loads(site.kubectl("get", "configmap", name, "--output", "json", **istio))["data"]
    assert old in before[key], before[key][:2000]
    for data in ({**before, key: before[key].replace(old, new, 1)}, before):
        patch = json.dumps({"data": data})
        site.kubectl("patch", "configmap", name, "--type", "merge", "--patch", patch, **istio)
        if data is not before:
            yield


def mesh_config(added: str) -> Fault:
    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        istio = {"namespace": "istio-system"}
        before = json.loads(site.kubectl("get", "configmap", "istio", "--output", "json", **istio))
        data = before["data"]
        for mesh in (f"{data['mesh'].rstrip()}\n{added}\n", data["mesh"]):
            patch = json.dumps({"data": {"mesh": mesh}})
            site.kubectl(
                "patch", "configmap", "istio", "--type", "merge", "--patch", patch, **istio
            )
            if mesh != data["mesh"]:
                yield

    return fault


@contextmanager
def default_deny(site: Site) -> Iterator[None]:
    site.recreate(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "default-deny", "namespace": "xnat"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        }
    )
    site.kubectl("delete", "pod", "xnat-xnat-web-0", "--wait")
    site.until_pod("xnat-xnat-web-0", "to be there again", lambda _: True)
    site.until_answer("GET", 503, 502, 504)
    yield
    site.kubectl("delete", "networkpolicy", "default-deny")
    site.until_rolled_out()


@contextmanager
def many_without_istiod(site: Site) -> Iterator[None]:
    """Pods of one Deployment whose sidecars get no certificate."""
    labels = {"app": "many"}
    annotations = {"proxy.istio.io/config": NEVER_READY}
    container = {"name": "many", "image": "lab.invalid/many:simulated"}
    site.recreate(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "many", "namespace": "xnat"},
            "spec": {
                "replicas": 4,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": {"containers": [container]},
                },
            },
        }
    )

    running: list[str] = []

    def four(found: list[Object]) -> State:
        running[:] = [name_of(p) for p in found if in_init("istio-proxy")(p)]
        return State(len(running) == 4, f"{len(running)} run")

    site.context.cluster.watch_until(
        "four sidecars to run", "v1", "Pod", "xnat", four, labels=labels, timeout=45
    )
    for name in running:
        site.until_logged(name, "failed to sign")
    yield
    site.kubectl("delete", "deployment", "many", "--wait")
    site.kubectl("wait", "pod", "--selector=app=many", "--for=delete", "--timeout=60s")


@contextmanager
def labels_of_no_pod(site: Site) -> Iterator[None]:
    labels, given = {"app": "xnat-xnat-web"}, site.context.parameters

    def put(selected_by: dict[str, str]) -> None:
        methods = given.authorization.methods
        site.recreate(manifest.mutual_tls_exception(given, selected_by))
        site.recreate(manifest.authorization_policy(given, selected_by, methods))

    put(labels)
    site.until_answer("GET", 502)
    with site.given(application={"web": {"labels": labels}}):
        yield
    put(WEB)
    site.until_answer("GET", 200)
    site.until_answer("DELETE", 403)


@contextmanager
def webhook_at_a_closed_port(site: Site) -> Iterator[None]:
    site.lab.set_webhook_port(15999)
    yield
    site.lab.set_webhook_port(443)


def template(patch: Object, undo: Object, workload: str = "xnat-xnat-web") -> Fault:
    """A pod template otherwise, and a pod made of it."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        def put(changed: Object) -> None:
            text = json.dumps({"spec": {"template": changed}})
            site.kubectl("patch", "statefulset", workload, "--patch", text)

        put(patch)
        site.until_answer("GET", 503)
        site.until_pod(f"{workload}-0", "to wait in its init container", in_init("config"))
        yield
        put(undo)
        site.kubectl("delete", "pod", f"{workload}-0", "--wait")
        site.until_rolled_out()

    return fault


@contextmanager
def left_behind(site: Site) -> Iterator[None]:
    """A readiness probe that never passed has been mended, and the pod stays as it was."""

    def probe(port: int | str) -> None:
        get = {"httpGet": {"path": "/app/template/Login.vm", "port": port}}
        containers = [{"name": "xnat", "readinessProbe": get}]
        text = json.dumps({"spec": {"template": {"spec": {"containers": containers}}}})
        site.kubectl("patch", "statefulset", "xnat-xnat-web", "--patch", text)

    def runs_in_vain(pod: Object) -> bool:
        states = pod["status"].get("containerStatuses") or []
        return any(s["name"] == "xnat" and s.get("started") and not s["ready"] for s in states)

    probe(9999)
    site.until_answer("GET", 503)
    site.until_pod("xnat-xnat-web-0", "to run and not be ready", runs_in_vain)
    probe("http")
    yield
    site.restart_web()


@contextmanager
def job_that_never_completes(site: Site) -> Iterator[None]:
    container = {
        "name": "work",
        "image": "lab.invalid/postgresql-wheel:16",
        "command": ["sh", "-c", "exit 0"],
    }
    annotations = {"sidecar.istio.io/nativeSidecar": "false"}
    spec = {"restartPolicy": "Never", "containers": [container]}
    template = {"metadata": {"annotations": annotations}, "spec": spec}
    metadata = {"name": "work", "namespace": "xnat"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
    site.recreate({**job, "spec": {"template": template}})

    def done(found: list[Object]) -> State:
        states = [s for p in found for s in p["status"].get("containerStatuses") or []]
        ended = any(s["name"] == "work" and "terminated" in s["state"] for s in states)
        return State(ended, f"{len(found)} pods")

    site.context.cluster.watch_until(
        "the work to end", "v1", "Pod", "xnat", done, labels={"job-name": "work"}, timeout=45
    )
    yield
    site.kubectl("delete", "job", "work", "--cascade=foreground")


NEVER_READY = "proxyMetadata: {CA_ADDR: nowhere.xnat.svc:15012}"
"""A sidecar that asks somebody else for its certificate starts, and gets no further."""

WITHOUT_SIDECAR = template(
    {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}},
    {"metadata": {"labels": {"sidecar.istio.io/inject": None}}},
)
CLASSIC_SIDECAR = template(
    {"metadata": {"annotations": {"sidecar.istio.io/nativeSidecar": "false"}}},
    {"metadata": {"annotations": {"sidecar.istio.io/nativeSidecar": None}}},
)
"""The sidecar starts after the init containers, which therefore speak plaintext."""
