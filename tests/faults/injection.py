"""Faults of injection: labels, webhooks, istiod, and whoever else refuses pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.site import Site


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
