"""Faults of autoscaling and of Kiali."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from runbook_lib.base.locations import lab_directory
from runbook_lib.base.wait import State
from runbook_lib.cluster import accounts
from runbook_lib.cluster.objects import Object
from tests.faults.site import OTHER, Site


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
