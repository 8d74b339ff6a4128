"""The diagnosis on a real mesh: each injected fault is named first, and a healthy mesh is not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from runbook_lib.base.locations import lab_directory, repository_root
from runbook_lib.base.wait import State, until
from runbook_lib.chapters.autoscaling import steps as autoscaling
from runbook_lib.chapters.kiali import steps as kiali
from runbook_lib.chapters.policies import authorization, manifest, mutual_tls
from runbook_lib.cluster import accounts
from runbook_lib.cluster.objects import Object
from runbook_lib.diagnosis.diagnose import diagnose
from runbook_lib.diagnosis.model import Diagnosis
from runbook_lib.lab.foundation.state import marked_processes
from runbook_lib.lifecycle.context import Context
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(300)]

WEB = {"app": "xnat-web"}
FRONT = "xnat-xnat-web-headless"
"""The Service to which the Ingress leads."""

OTHER = {"name": "other-team", "namespace": "xnat"}
SECURITY = "security.istio.io/v1"


class Site:
    """The lab with the whole runbook applied, and short ways to break it."""

    def __init__(self, lab: Lab, context: Context) -> None:
        self.lab = lab
        self.context = context
        self.seconds: list[float] = []
        self.token = ""
        self.diagnoses: dict[str, Diagnosis] = {}

    def kubectl(self, *words: str, namespace: str = "xnat", **more: Any) -> str:
        return self.lab.run("kubectl", "--namespace", namespace, *words, **more)

    def apply(self, item: Object) -> None:
        # As a person would: replacing whatever the runbook's fields were.
        options = ("--server-side", "--force-conflicts", "--field-manager", "other-team")
        self.lab.run("kubectl", "apply", *options, "--filename", "-", stdin=json.dumps(item))

    def recreate(self, item: Object) -> None:
        metadata = item["metadata"]
        where = metadata.get("namespace", "default")
        self.kubectl(
            "delete", item["kind"], metadata["name"], "--ignore-not-found", namespace=where
        )
        self.lab.run("kubectl", "create", "--filename", "-", stdin=json.dumps(item))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "--output", "json"))
        for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
            found["metadata"].pop(key, None)
        found.pop("status", None)
        return found

    def until_answer(self, method: str, *statuses: int) -> None:
        """Wait until a fault shows from outside."""
        self.lab.until_answer(method, *statuses, timeout=45, successes=2)

    def until_refused(self, said: str) -> None:
        """Wait until the API server says this of a new pod: it takes up admission rules late."""
        pod = ("run", "probe", "--image=lab.invalid/probe:simulated", "--dry-run=server")

        def observe() -> State:
            answer = self.kubectl(*pod, check=False)
            return State(said in answer, answer)

        until(f"a pod to be refused: {said}", observe, timeout=30, successes=2)

    def until_pod(self, name: str, what: str, holds: Callable[[Object], bool]) -> None:
        def observe(found: list[Object]) -> State:
            return State(any(map(holds, found)), f"{len(found)} pods")

        self.context.cluster.watch_until(
            f"pod {name} {what}", "v1", "Pod", "xnat", observe, name=name, timeout=45
        )

    def until_rolled_out(self, workload: str = "statefulset/xnat-xnat-web", **more: Any) -> None:
        self.kubectl("rollout", "status", workload, "--timeout=60s", **more)

    def restart_web(self) -> None:
        self.kubectl("delete", "pod", "xnat-xnat-web-0", "--wait")
        self.until_rolled_out()

    def process(self, name: str) -> psutil.Process:
        """A process of the web pod."""
        return next(
            process
            for process in marked_processes(self.lab.name)
            if "_xnat-xnat-web-0_" in process.cwd() and name in " ".join(process.cmdline())
        )

    def diagnose(self) -> Diagnosis:
        began = time.monotonic()
        try:
            return diagnose(self.context, self.token)
        finally:
            self.seconds.append(time.monotonic() - began)

    def until_healthy(self) -> None:
        """Wait until nothing is found: what was mended takes a moment to arrive everywhere."""

        def observe() -> State:
            found = self.diagnose()
            return State(found.healthy, str(found))

        until("a healthy mesh to be found healthy", observe, timeout=60, interval=0.5)


Fault = Callable[[Site], AbstractContextManager[None]]


@contextmanager
def label_missing(site: Site) -> Iterator[None]:
    site.kubectl("label", "namespace", "xnat", "istio-injection-")
    yield
    site.kubectl("label", "namespace", "xnat", "istio-injection=enabled")


@contextmanager
def two_labels(site: Site) -> Iterator[None]:
    site.kubectl("label", "namespace", "xnat", "istio.io/rev=canary")
    yield
    site.kubectl("label", "namespace", "xnat", "istio.io/rev-")


@contextmanager
def pod_not_restarted(site: Site) -> Iterator[None]:
    """Without a sidecar the pod does not even start: STRICT closes the database to it."""
    site.kubectl("label", "namespace", "xnat", "istio-injection-")
    site.kubectl("delete", "pod", "xnat-xnat-web-0", "--wait")
    site.until_pod("xnat-xnat-web-0", "to be there again", lambda _: True)
    site.kubectl("label", "namespace", "xnat", "istio-injection=enabled")
    site.until_answer("GET", 503)
    yield
    site.restart_web()


@contextmanager
def webhook_deleted(site: Site) -> Iterator[None]:
    webhook = site.get("mutatingwebhookconfiguration", "istio-sidecar-injector")
    site.kubectl("delete", "mutatingwebhookconfiguration", "istio-sidecar-injector")
    yield
    site.lab.run("kubectl", "create", "--filename", "-", stdin=json.dumps(webhook))


@contextmanager
def webhook_pointing_nowhere(site: Site) -> Iterator[None]:
    def point_to(service: str) -> None:
        operations = [
            {
                "op": "replace",
                "path": f"/webhooks/{number}/clientConfig/service/name",
                "value": service,
            }
            for number in range(4)
        ]
        patch = ("--type", "json", "--patch", json.dumps(operations))
        site.kubectl("patch", "mutatingwebhookconfiguration", "istio-sidecar-injector", *patch)

    point_to("nowhere")
    yield
    point_to("istiod")


@contextmanager
def istiod_down(site: Site, selector: str = "app=istiod") -> Iterator[None]:
    istio = {"namespace": "istio-system"}
    site.kubectl("scale", "deployment/istiod", "--replicas=0", **istio)
    gone = ("--for=delete", "--timeout=60s")
    site.kubectl("wait", "pod", f"--selector={selector}", *gone, **istio)
    yield
    site.kubectl("scale", "deployment/istiod", "--replicas=1", **istio)
    site.until_rolled_out("deployment/istiod", **istio)


@contextmanager
def istiod_down_beside_a_canary(site: Site) -> Iterator[None]:
    """An istiod of another revision, which looks well and serves other namespaces."""
    labels = {"app": "istiod", "istio.io/rev": "canary"}
    container = {"name": "discovery", "image": "lab.invalid/istiod-canary:simulated"}
    site.recreate(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "istiod-canary", "namespace": "istio-system", "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    )
    istio = {"namespace": "istio-system"}
    site.until_rolled_out("deployment/istiod-canary", **istio)
    with istiod_down(site, selector="app=istiod,istio.io/rev=default"):
        yield
    site.kubectl("delete", "deployment", "istiod-canary", **istio)


@contextmanager
def another_webhook_is_away(site: Site) -> Iterator[None]:
    """A webhook of somebody else is asked about every pod, and its Service is gone."""
    hook = {
        "name": "pods.other-team.example.com",
        "clientConfig": {"service": {"name": "nowhere", "namespace": "xnat"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "xnat"}},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }
        ],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    site.recreate(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "other-team"},
            "webhooks": [hook],
        }
    )
    site.until_refused("failed calling webhook")
    yield
    site.kubectl("delete", "validatingwebhookconfiguration", "other-team")


@contextmanager
def pod_security_forbids_sidecars(site: Site) -> Iterator[None]:
    key = "pod-security.kubernetes.io/enforce"
    site.kubectl("label", "namespace", "xnat", f"{key}=baseline")
    site.until_refused("violates PodSecurity")
    yield
    site.kubectl("label", "namespace", "xnat", f"{key}-")


@contextmanager
def quota_leaves_no_room(site: Site) -> Iterator[None]:
    metadata = {"name": "small", "namespace": "xnat"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata}
    site.recreate({**quota, "spec": {"hard": {"pods": "1"}}})
    site.until_refused("exceeded quota")
    site.kubectl("delete", "pod", "xnat-xnat-web-0", "--wait")
    site.until_answer("GET", 503)
    yield
    site.kubectl("delete", "resourcequota", "small")
    site.until_rolled_out()


@contextmanager
def pods_need_an_owner(site: Site) -> Iterator[None]:
    """A policy that every workload's pod meets, and one that is asked for by itself does not."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "owned"},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "xnat"}},
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ],
            },
            "validations": [
                {
                    "expression": "has(object.metadata.ownerReferences)",
                    "message": "a pod needs an owner",
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "owned"},
        "spec": {"policyName": "owned", "validationActions": ["Deny"]},
    }
    site.recreate(policy)
    site.recreate(binding)
    site.until_refused("denied request")
    yield
    site.kubectl("delete", "validatingadmissionpolicybinding", "owned")
    site.kubectl("delete", "validatingadmissionpolicy", "owned")


def exception(**changes: Any) -> Fault:
    """The exception with some of its fields otherwise; None deletes it."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        right = manifest.mutual_tls_exception(site.context.parameters, WEB)
        spec = {**right["spec"], **changes}
        site.recreate({**right, "spec": spec})
        site.until_answer("GET", 502)
        yield
        site.recreate(right)
        site.until_answer("GET", 200)

    return fault


@contextmanager
def strict_without_exception(site: Site) -> Iterator[None]:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    site.kubectl("delete", "peerauthentication", "default")
    site.until_answer("GET", 502)
    yield
    site.recreate(right)
    site.until_answer("GET", 200)


@contextmanager
def strict_without_exception_beside_one_of_others(site: Site) -> Iterator[None]:
    """Another team, in a namespace of its own, has opened a port of its own pods."""
    name, where = "other-team", "default"
    spec = {
        "selector": {"matchLabels": {"app": "shop"}},
        "portLevelMtls": {"9000": {"mode": "DISABLE"}},
    }
    metadata = {"name": name, "namespace": where}
    policy = {"apiVersion": SECURITY, "kind": "PeerAuthentication", "metadata": metadata}
    site.recreate({**policy, "spec": spec})
    with strict_without_exception(site):
        yield
    site.kubectl("delete", "peerauthentication", name, namespace=where)


@contextmanager
def exception_in_another_namespace(site: Site) -> Iterator[None]:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    wrong = {**right, "metadata": {"name": "default", "namespace": "default"}}
    site.kubectl("delete", "peerauthentication", "default")
    site.recreate(wrong)
    site.until_answer("GET", 502)
    yield
    site.kubectl("delete", "peerauthentication", "default", namespace="default")
    site.recreate(right)
    site.until_answer("GET", 200)


@contextmanager
def an_older_policy_wins(site: Site) -> Iterator[None]:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    older = {
        **right,
        # In the same second the name decides, so this one comes first either way.
        "metadata": {"name": "a-team", "namespace": "xnat"},
        "spec": {"selector": {"matchLabels": WEB}, "mtls": {"mode": "STRICT"}},
    }
    site.recreate(older)
    site.recreate(right)
    site.until_answer("GET", 502)
    yield
    site.kubectl("delete", "peerauthentication", "a-team")
    site.until_answer("GET", 200)


def own_policy(method: str, status: int, healed: int, **operation: Any) -> Fault:
    """The runbook's AuthorizationPolicy with another operation or selector."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        given = site.context.parameters
        right = manifest.authorization_policy(given, WEB, given.authorization.methods)
        wrong: Object = json.loads(json.dumps(right))
        wrong["spec"]["selector"]["matchLabels"].update(operation.pop("labels", {}))
        wrong["spec"]["rules"][0]["to"][0]["operation"].update(operation)
        site.recreate(wrong)
        site.until_answer(method, status)
        yield
        site.recreate(right)
        site.until_answer(method, healed)

    return fault


def other_policy(
    action: str, methods: list[str], seen: tuple[str, int], healed: int, *, alone: bool = False
) -> Fault:
    """An AuthorizationPolicy by somebody else, perhaps in place of the runbook's."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        given = site.context.parameters
        own = manifest.authorization_policy(given, WEB, given.authorization.methods)
        rules = [{"to": [{"operation": {"methods": methods}}]}]
        spec = {"action": action, "selector": {"matchLabels": WEB}, "rules": rules}
        if alone:
            site.kubectl("delete", "authorizationpolicy", own["metadata"]["name"])
        policy = {"apiVersion": SECURITY, "kind": "AuthorizationPolicy", "metadata": OTHER}
        site.recreate({**policy, "spec": spec})
        site.until_answer(*seen)
        yield
        site.kubectl("delete", "authorizationpolicy", "other-team")
        if alone:
            site.recreate(own)
        site.until_answer(seen[0], healed)

    return fault


@contextmanager
def mutual_tls_to_a_plaintext_port(site: Site) -> Iterator[None]:
    def set_mode(mode: str) -> None:
        path = "/spec/trafficPolicy/portLevelSettings/0/tls/mode"
        patch = json.dumps([{"op": "replace", "path": path, "value": mode}])
        words = ("destinationrule", "xnat-xnat-web", "--type", "json", "--patch", patch)
        site.kubectl("patch", *words)

    set_mode("ISTIO_MUTUAL")
    yield
    set_mode("DISABLE")


@contextmanager
def mutual_tls_to_a_database_without_sidecar(site: Site) -> Iterator[None]:
    """The web application hangs as one does that has lost its database."""
    metadata = {"name": "xnat-postgresql", "namespace": "xnat"}
    traffic = {"tls": {"mode": "ISTIO_MUTUAL"}}

    def inject(value: str | None) -> None:
        labels = {"sidecar.istio.io/inject": value}
        patch = json.dumps({"spec": {"template": {"metadata": {"labels": labels}}}})
        site.kubectl("patch", "statefulset", "xnat-postgresql", "--patch", patch)
        site.until_rolled_out("statefulset/xnat-postgresql")

    inject("false")
    site.recreate(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": metadata,
            "spec": {"host": "xnat-postgresql", "trafficPolicy": traffic},
        }
    )
    with application_hangs(site):
        yield
    site.kubectl("delete", "destinationrule", "xnat-postgresql")
    inject(None)


@contextmanager
def sidecar_killed(site: Site) -> Iterator[None]:
    site.process("pilot-agent").kill()

    def restarted(pod: Object) -> bool:
        states = pod["status"].get("initContainerStatuses") or []
        return any(s["name"] == "istio-proxy" and s["restartCount"] for s in states)

    site.until_pod("xnat-xnat-web-0", "to have its sidecar restarted", restarted)
    yield
    site.restart_web()


@contextmanager
def application_hangs(site: Site) -> Iterator[None]:
    process = site.process("standins.xnat")
    process.suspend()
    try:
        site.until_pod("xnat-xnat-web-0", "not to be ready", lambda pod: not _web_is_ready(pod))
        yield
    finally:
        process.resume()
    site.until_pod("xnat-xnat-web-0", "to be ready", _web_is_ready)


def _web_is_ready(pod: Object) -> bool:
    states = pod["status"].get("containerStatuses") or []
    return any(s["name"] == "xnat" and s["ready"] for s in states)


@contextmanager
def scaled_to_zero(site: Site) -> Iterator[None]:
    site.kubectl("scale", "statefulset/xnat-xnat-web", "--replicas=0")
    site.until_answer("GET", 503)
    yield
    site.kubectl("scale", "statefulset/xnat-xnat-web", "--replicas=1")
    site.until_rolled_out()


def service(
    path: str, value: str | int, *, status: int, names: tuple[str, ...] = (FRONT,)
) -> Fault:
    """Services in front of the web pods with one field otherwise."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        old: Any = site.get("service", names[0])
        for key in path.strip("/").split("/"):
            field = key.replace("~1", "/")  # RFC 6901
            old = old[int(field)] if isinstance(old, list) else old[field]

        def put(new: str | int) -> None:
            patch = json.dumps([{"op": "replace", "path": path, "value": new}])
            for name in names:
                site.kubectl("patch", "service", name, "--type", "json", "--patch", patch)

        put(value)
        site.until_answer("GET", status)
        yield
        put(old)
        site.until_answer("GET", 200)

    return fault


@contextmanager
def service_deleted(site: Site) -> Iterator[None]:
    before = site.get("service", FRONT)
    site.kubectl("delete", "service", FRONT)
    site.until_answer("GET", 503)
    yield
    site.recreate(before)
    site.until_answer("GET", 200)


@contextmanager
def autoscaler_set_back(site: Site) -> Iterator[None]:
    """Somebody applies the file from before chapter 03 again."""
    name = ("horizontalpodautoscaler", "xnat-xnat-web")
    mended = site.get(*name)["spec"]["metrics"]
    target = {"type": "Utilization", "averageUtilization": 70}
    old = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]

    def put(metrics: list[Object]) -> None:
        patch = json.dumps({"spec": {"metrics": metrics}})
        site.kubectl("patch", *name, "--type", "merge", "--patch", patch)

    put(old)
    yield
    put(mended)


@contextmanager
def sidecar_without_a_request(site: Site) -> Iterator[None]:
    """One annotation replaces all of the sidecar's resources: a percentage of nothing is left."""

    def annotate(memory: str | None) -> None:
        annotations = {"sidecar.istio.io/proxyMemory": memory}
        patch = json.dumps({"spec": {"template": {"metadata": {"annotations": annotations}}}})
        site.kubectl("patch", "statefulset", "xnat-xnat-web", "--patch", patch)
        site.until_rolled_out()

    annotate("64Mi")
    with autoscaler_set_back(site):
        yield
    annotate(None)


@contextmanager
def application_without_a_request(site: Site) -> Iterator[None]:
    path = "/spec/template/spec/containers/0/resources"

    def patch(operation: Object) -> None:
        words = ("--type", "json", "--patch", json.dumps([{"path": path, **operation}]))
        site.kubectl("patch", "statefulset", "xnat-xnat-web", *words)
        site.until_rolled_out()

    container, _ = site.get("statefulset", "xnat-xnat-web")["spec"]["template"]["spec"][
        "containers"
    ]
    patch({"op": "remove"})
    yield
    patch({"op": "add", "value": container["resources"]})


@contextmanager
def autoscaler_of_nothing(site: Site) -> Iterator[None]:
    right = site.get("horizontalpodautoscaler", "xnat-xnat-web")
    target = {**right["spec"]["scaleTargetRef"], "name": "nowhere"}
    site.recreate({**right, "metadata": OTHER, "spec": {**right["spec"], "scaleTargetRef": target}})
    said = "--for=condition=AbleToScale=False"
    site.kubectl("wait", "horizontalpodautoscaler/other-team", said, "--timeout=30s")
    yield
    site.kubectl("delete", "horizontalpodautoscaler", "other-team")


@contextmanager
def kiali_scaled_to_zero(site: Site) -> Iterator[None]:
    istio = {"namespace": "istio-system"}
    site.kubectl("scale", "deployment/kiali", "--replicas=0", **istio)
    site.context.cluster.watch_until(
        "Kiali to be away",
        *("apps/v1", "Deployment", "istio-system"),
        lambda found: State("availableReplicas" not in found[0]["status"], "still there"),
        name="kiali",
        timeout=45,
    )
    yield
    site.kubectl("scale", "deployment/kiali", "--replicas=1", **istio)
    site.until_rolled_out("deployment/kiali", **istio)


@contextmanager
def kiali_with_a_strategy_that_there_is_not(site: Site) -> Iterator[None]:
    istio = {"namespace": "istio-system"}

    def strategy(name: str, condition: str) -> None:
        patch = json.dumps({"spec": {"auth": {"strategy": name}}})
        site.kubectl("patch", "kiali", "kiali", "--type", "merge", "--patch", patch, **istio)
        site.kubectl(
            "wait", "kiali/kiali", f"--for=condition={condition}", "--timeout=60s", **istio
        )

    before = json.loads(site.kubectl("get", "kiali", "kiali", "--output", "json", **istio))
    strategy("ldap", "Failure")
    yield
    strategy(before["spec"]["auth"]["strategy"], "Successful")


@contextmanager
def token_of_an_account_that_is_gone(site: Site) -> Iterator[None]:
    site.kubectl("create", "serviceaccount", "reader")
    cluster = site.context.cluster
    # Another than the one that is diagnosed: the API server keeps what it accepted for 10 s.
    accepted = accounts.review(cluster, accounts.token(cluster, "xnat", "reader"))
    assert accepted == ("system:serviceaccount:xnat:reader", "")
    site.token = accounts.token(cluster, "xnat", "reader")
    site.kubectl("delete", "serviceaccount", "reader", "--wait")
    yield
    site.token = ""


@contextmanager
def token_that_has_expired(site: Site) -> Iterator[None]:
    """The API server issues none for less than 10 minutes, so its own key signs an older one."""
    cluster = site.context.cluster
    head, claims, _ = accounts.token(cluster, "xnat", "default").split(".")
    said = json.loads(urlsafe_b64decode(claims + "=="))

    def signed(**changes: int) -> str:
        text = f"{head}.{_encoded(json.dumps({**said, **changes}).encode())}"
        key = lab_directory(site.lab.name) / "control-plane" / "service-accounts.key"
        signer = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(signer.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encoded(r.to_bytes(32) + s.to_bytes(32))}"

    # Only its age is against it.
    assert accounts.review(cluster, signed())[0] == "system:serviceaccount:xnat:default"
    hour_ago = said["iat"] - 3600
    site.token = signed(iat=hour_ago, nbf=hour_ago, exp=hour_ago + 600)
    yield
    site.token = ""


def _encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).decode().rstrip("=")


@contextmanager
def no_token_at_all(site: Site) -> Iterator[None]:
    site.token = "not-a-token"
    yield
    site.token = ""


FAULTS: dict[str, tuple[str, Fault]] = {
    "the namespace's label is gone": ("label-missing", label_missing),
    "two labels contradict each other": ("two-labels", two_labels),
    "a pod was not restarted": ("pod-without-sidecar", pod_not_restarted),
    "the webhook is gone": ("webhook-missing", webhook_deleted),
    "the webhook points nowhere": ("webhook-unreachable", webhook_pointing_nowhere),
    "istiod is scaled to 0": ("istiod-down", istiod_down),
    "istiod is scaled to 0 beside a canary": ("istiod-down", istiod_down_beside_a_canary),
    "another webhook is away": ("other-webhook-unreachable", another_webhook_is_away),
    "pod security forbids sidecars": ("pods-refused", pod_security_forbids_sidecars),
    "a quota leaves no room": ("pods-refused", quota_leaves_no_room),
    "STRICT without an exception": ("exception-missing", strict_without_exception),
    "STRICT without an exception, beside one of others": (
        "exception-missing",
        strict_without_exception_beside_one_of_others,
    ),
    "the Service's port in the exception": (
        "exception-service-port",
        exception(portLevelMtls={"80": {"mode": "DISABLE"}}),
    ),
    "any other port in the exception": (
        "exception-other-port",
        exception(portLevelMtls={"9090": {"mode": "DISABLE"}}),
    ),
    "the exception selects nothing": (
        "exception-selects-nothing",
        exception(selector={"matchLabels": {"app": "xnat"}}),
    ),
    "the exception's port is STRICT": (
        "exception-is-strict",
        exception(portLevelMtls={"8080": {"mode": "STRICT"}}),
    ),
    "the exception is in another namespace": (
        "exception-elsewhere",
        exception_in_another_namespace,
    ),
    "an older policy for the same pods": ("exception-shadowed", an_older_policy_wins),
    "a method is missing": (
        "method-missing",
        own_policy("POST", 403, 200, methods=["GET", "HEAD"]),
    ),
    "the policy forgets the health check's path": (
        "allow-policy-excludes",
        own_policy("GET", 403, 200, paths=["/data/*"]),
    ),
    "the policy selects nothing": (
        "policy-selects-nothing",
        own_policy("DELETE", 405, 403, labels={"app": "xnat"}),
    ),
    "somebody else's ALLOW forgets GET": (
        "allow-policy-excludes",
        other_policy("ALLOW", ["POST"], ("GET", 403), 200, alone=True),
    ),
    "somebody else denies GET": (
        "denied-by-policy",
        other_policy("DENY", ["GET"], ("GET", 403), 200),
    ),
    "somebody else allows DELETE": (
        "access-widened",
        other_policy("ALLOW", ["DELETE"], ("DELETE", 405), 403),
    ),
    "mutual TLS to a plaintext port": (
        "destination-rule-conflict",
        mutual_tls_to_a_plaintext_port,
    ),
    "mutual TLS to a database without sidecar": (
        "destination-rule-conflict",
        mutual_tls_to_a_database_without_sidecar,
    ),
    "the sidecar was killed": ("sidecar-unstable", sidecar_killed),
    "the application hangs": ("container-not-ready", application_hangs),
    "the application is scaled to 0": ("scaled-to-zero", scaled_to_zero),
    "the Service selects nothing": (
        "service-selects-nothing",
        service("/spec/selector/app.kubernetes.io~1name", "other", status=503),
    ),
    "the Service's targetPort is wrong": (
        "target-port-wrong",
        service("/spec/ports/0/targetPort", 9090, status=502),
    ),
    "the Service is gone": ("service-missing", service_deleted),
    "the autoscaler was set back": ("autoscaler-skewed", autoscaler_set_back),
    "the sidecar has no request": ("autoscaler-blind", sidecar_without_a_request),
    "the application has no request": ("autoscaler-inactive", application_without_a_request),
    "an autoscaler's target is gone": ("autoscaler-inactive", autoscaler_of_nothing),
    "Kiali is scaled to 0": ("kiali-down", kiali_scaled_to_zero),
    "Kiali's operator fails": ("kiali-failed", kiali_with_a_strategy_that_there_is_not),
    "a token of an account that is gone": ("kiali-token", token_of_an_account_that_is_gone),
    "a token that has expired": ("kiali-token", token_that_has_expired),
    "a text that is no token": ("kiali-token", no_token_at_all),
    "the port is declared to be TCP": (
        "protocol-not-http",
        service("/spec/ports/0/name", "tcp-web", status=502, names=("xnat-xnat-web", FRONT)),
    ),
}


@dataclass
class Score:
    """What came of each fault: the cause that was injected, and the causes found."""

    found: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def recall(self) -> float:
        """The share of faults whose cause was found first."""
        return sum(found[:1] == (c,) for c, found in self.found.values()) / len(self.found)

    @property
    def precision(self) -> float:
        """The share of all findings that name what was injected."""
        every = [(cause, name) for cause, found in self.found.values() for name in found]
        return sum(cause == name for cause, name in every) / max(len(every), 1)


@pytest.fixture(scope="module")
def score() -> Score:
    """Shared by the faults; the last test judges it."""
    return Score()


@pytest.fixture(scope="module")
def stages() -> dict[str, Diagnosis]:
    """What was found at each stage of the runbook."""
    return {}


@pytest.fixture(scope="module")
def site(lab: Lab, stages: dict[str, Diagnosis], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The whole runbook, applied stage by stage."""
    site = Site(lab, lab.context(tmp_path_factory.mktemp("run"), story="safe"))
    given = site.context.parameters
    stages["nothing installed"] = site.diagnose()
    lab.install_mesh()
    stages["after 02_label_namespace"] = site.diagnose()
    for name, chapter in (
        ("03_autoscaling", autoscaling),
        ("04_mutual_tls", mutual_tls),
        ("05_authorization", authorization),
        ("06_kiali", kiali),
    ):
        for step in chapter.steps(given):
            step.apply(site.context, step.plan(site.context))
            step.verify(site.context)
        stages[f"after {name}"] = site.diagnose()
    return site


def test_every_stage_of_the_runbook_is_healthy(site: Site, stages: dict[str, Diagnosis]) -> None:
    assert len(stages) == 6
    for name, diagnosis in stages.items():
        assert diagnosis.healthy, f"{name}:\n{diagnosis}"
        assert len(diagnosis.looked) >= 14, name
    assert [look.what for look in stages["after 06_kiali"].unseen] == ["access log of the sidecars"]
    site.until_healthy()


@pytest.mark.parametrize("name", FAULTS)
def test_an_injected_cause_is_found_first(site: Site, score: Score, name: str) -> None:
    cause, fault = FAULTS[name]
    with fault(site):
        diagnosis = site.diagnoses[name] = site.diagnose()
        score.found[name] = (cause, tuple(f.name for f in diagnosis.findings))
    site.until_healthy()
    assert [finding.name for finding in diagnosis.findings][:1] == [cause], str(diagnosis)


@pytest.mark.parametrize(
    ("name", "consequences"),
    [
        ("istiod is scaled to 0", ["webhook-unreachable"]),
        ("istiod is scaled to 0 beside a canary", ["webhook-unreachable"]),
        ("a quota leaves no room", ["pods-missing", "no-endpoints"]),
        ("mutual TLS to a database without sidecar", ["container-not-ready", "no-endpoints"]),
    ],
)
def test_what_follows_from_a_cause_hangs_on_it(
    site: Site, name: str, consequences: list[str]
) -> None:
    diagnosis = site.diagnoses.get(name)
    assert diagnosis, "run this with the faults"
    (finding,) = diagnosis.findings
    assert [each.name for each in finding.consequences] == consequences


def test_the_api_server_says_that_a_token_has_expired(site: Site) -> None:
    diagnosis = site.diagnoses.get("a token that has expired")
    assert diagnosis, "run this with the faults"
    (finding,) = diagnosis.findings
    assert "has expired" in finding.evidence[0]


def test_the_controller_says_what_an_autoscaler_lacks(site: Site) -> None:
    diagnosis = site.diagnoses.get("an autoscaler's target is gone")
    assert diagnosis, "run this with the faults"
    (finding,) = diagnosis.findings
    assert "there is no StatefulSet/nowhere" in finding.what
    assert any("AbleToScale is False: FailedGetScale" in line for line in finding.evidence)


def test_what_only_istiod_knows_is_unseen_without_it(site: Site) -> None:
    diagnosis = site.diagnoses.get("istiod is scaled to 0")
    assert diagnosis, "run this with the faults"
    assert "istioctl proxy-status" in [look.what for look in diagnosis.unseen]


def test_a_policy_that_refuses_the_dry_run_alone_is_named_and_no_cause(site: Site) -> None:
    with pods_need_an_owner(site):
        diagnosis = site.diagnose()
        site.restart_web()
    assert diagnosis.healthy, str(diagnosis)
    (unseen,) = [look for look in diagnosis.unseen if look.what == "a new web pod (dry run)"]
    assert "ValidatingAdmissionPolicy 'owned'" in unseen.found
    assert {"webhook-missing", "webhook-unreachable"} <= set(diagnosis.unjudged)
    site.until_healthy()


def _command_line(site: Site, *options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "runbook_lib", "diagnose", *options),
        input=stdin,
        cwd=repository_root(),
        env=site.lab.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_line_says_the_same_and_its_exit_code_tells(site: Site) -> None:
    done = _command_line(site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing found" in done.stdout
    with label_missing(site):
        done = _command_line(site)
    assert done.returncode == 1, done.stderr
    assert "fault: label-missing" in done.stdout
    site.until_healthy()
    done = _command_line(site, "--kiali-token", "-", stdin="my-old-token")
    assert done.returncode == 1, done.stderr
    assert "fault: kiali-token" in done.stdout
    assert "my-old-token" not in done.stdout + done.stderr


def test_the_api_server_refuses_an_exception_without_a_selector(site: Site) -> None:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    wrong = {**right, "metadata": OTHER, "spec": {"portLevelMtls": right["spec"]["portLevelMtls"]}}
    answer = site.kubectl("create", "--filename", "-", stdin=json.dumps(wrong), check=False)
    assert "portLevelMtls requires selector" in answer


def test_every_cause_is_found_and_little_else(
    site: Site, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.found, "run this with the faults"
    with capsys.disabled():
        print(
            f"\n{len(score.found)} faults: recall {score.recall:.0%}, "
            f"precision {score.precision:.0%}; {len(site.seconds)} diagnoses, "
            f"median {sorted(site.seconds)[len(site.seconds) // 2]:.1f} s, "
            f"longest {max(site.seconds):.1f} s"
        )
        for name, (cause, found) in score.found.items():
            if found != (cause,):
                print(f"  {name}: injected {cause}, found {', '.join(found)}")
    assert score.recall == 1.0, score.found
    assert score.precision >= 0.8, score.found
