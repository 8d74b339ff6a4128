"""What a cluster holds, without what differs between any two clusters or runs.

Everything that the API server can list is in it, so nothing that a run leaves behind can be missed
because nobody thought of it. What is left out is named here, each with its reason.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from typing import Any

from tests.labs import Lab

_NO_STATE = {
    # Records of what happened, and of who is alive.
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "nodes",
    "csinodes.storage.k8s.io",
    # Measured, and measured anew.
    "nodes.metrics.k8s.io",
    "pods.metrics.k8s.io",
    # Made by controllers from others, under names of their own and with the pods' addresses.
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "replicasets.apps",
    "controllerrevisions.apps",
    "ipaddresses.networking.k8s.io",
    # Issued anew for every cluster.
    "certificatesigningrequests.certificates.k8s.io",
    "componentstatuses",
    # Kept by the API server itself.
    "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "apiservices.apiregistration.k8s.io",
    # The lab's own: with these sidecars count requests.
    "envoyfilters.networking.istio.io",
}

_VOLATILE_METADATA = (
    *("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"),
    *("selfLink", "ownerReferences"),
)

# When, how often, and by whom first: a deployment's count of revisions grows with every attempt.
_VOLATILE_ANNOTATIONS = (
    "kubectl.kubernetes.io/restartedAt",
    "deployment.kubernetes.io/revision",
    "control-plane.alpha.kubernetes.io/leader",
    # Noted by the controller unless whoever makes volumes was quicker.
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
)

# Certificates and addresses that each cluster gives out for itself.
_VOLATILE_KEYS = ("caBundle", "clusterIP", "clusterIPs", "healthCheckNodePort", "nodePort")


def of(lab: Lab) -> dict[str, str]:
    """Return every object of the lab as text by its name, and every Helm release."""
    names = lab.run("kubectl", "api-resources", "--verbs=list", "--output=name").split()
    wanted = sorted(set(names) - _NO_STATE)
    found = lab.run(
        "kubectl", "get", ",".join(wanted), "--all-namespaces", "--output=json", "--sort-by="
    )
    objects: dict[str, str] = {}
    for item in json.loads(found)["items"]:
        name = _name(item)
        if name:
            objects[name] = objects.get(name, "") + _text(_plain(item))
    answers = {method: _answer(lab, method) for method in ("GET", "HEAD", "POST", "DELETE", "PUT")}
    return objects | _releases(lab) | {"Answers from outside": _text(answers)}


def versions(lab: Lab) -> dict[str, str]:
    """Return the resource version of every object, but of those that change by themselves."""
    names = lab.run("kubectl", "api-resources", "--verbs=list", "--output=name").split()
    # The state of an autoscaler is written whenever it has looked at its metrics.
    steady = sorted({*names} - _NO_STATE - {"horizontalpodautoscalers.autoscaling"})
    found = json.loads(
        lab.run("kubectl", "get", ",".join(steady), "--all-namespaces", "--output=json")
    )
    return {
        f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}": item[
            "metadata"
        ]["resourceVersion"]
        for item in found["items"]
    }


def difference(before: dict[str, str], after: dict[str, str]) -> str:
    """Say how two snapshots differ, object by object; empty if they do not."""
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, ""), after.get(name, "")
        if old != new:
            lines += difflib.unified_diff(
                old.splitlines(), new.splitlines(), f"before {name}", f"after {name}", lineterm=""
            )
    return "\n".join(lines)


def delete_new(lab: Lab, before: dict[str, str]) -> None:
    """Delete what a snapshot does not have; what belongs to it goes as well, sooner or later."""
    new = defaultdict[str, list[str]](list)
    for entry in of(lab).keys() - before.keys():
        about, _, place = entry.rpartition(" ")
        namespace, _, name = place.partition("/")
        if about == "Helm release":
            lab.run("helm", "uninstall", "--wait", name, "--namespace", namespace)
        elif "*" not in name and " " not in about:  # else it has no name of its own
            new[namespace].append(f"{about}/{name}")
    for namespace in sorted(new):  # what is in none comes first, and with that namespaces
        scope = ("--namespace", namespace or "default")
        lab.run("kubectl", "delete", "--ignore-not-found", *scope, *new[namespace])


def _text(value: Any) -> str:
    """A value in lines; PyYAML would take seconds for Istio's kinds."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _answer(lab: Lab, method: str) -> str:
    response = lab.request(method)
    return f"{response.status_code} {response.text[:80]}"


def _name(item: dict[str, Any]) -> str:
    metadata = item["metadata"]
    if item["kind"] == "Secret" and item.get("type") == "helm.sh/release.v1":
        return ""  # compared as releases
    if (item["kind"], metadata["name"]) == ("Service", "kubernetes"):
        return ""  # leads to the API server's port on this machine
    if item["kind"] == "PersistentVolume":
        claim = item["spec"]["claimRef"]  # its own name has its claim's UID in it
        return f"PersistentVolume of {claim['namespace']}/{claim['name']}"
    if "pod-template-hash" in (metadata.get("labels") or {}) and item["kind"] == "Pod":
        # A Deployment's pods have other names in every cluster.
        return f"Pod {metadata['namespace']}/{metadata['generateName'].rsplit('-', 2)[0]}-*"
    return f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def _plain(item: dict[str, Any]) -> Any:
    if item["kind"] == "Pod":
        return _pod(item)
    metadata = {k: v for k, v in item["metadata"].items() if k not in _VOLATILE_METADATA}
    found = _without_volatile({**item, "metadata": metadata})
    found.pop("status", None)
    if item["kind"] in ("Secret", "ConfigMap") and _is_issued(item):
        found["data"] = sorted(item.get("data") or {})
    if item["kind"] in ("PersistentVolume", "PersistentVolumeClaim"):
        found["spec"] = {"phase": item["status"].get("phase")}
    if item["kind"] == "PersistentVolume":
        del found["metadata"]["name"]
    return found


def _pod(item: dict[str, Any]) -> dict[str, Any]:
    """A pod as its owner sees it: which containers, and whether they are ready."""
    spec, status = item["spec"], item["status"]
    ready = {c["name"]: c["ready"] for c in status.get("containerStatuses") or []}
    started = {c["name"]: c["ready"] for c in status.get("initContainerStatuses") or []}
    return {
        "containers": [c["name"] for c in spec["containers"]],
        "initContainers": [c["name"] for c in spec.get("initContainers") or []],
        "ready": {**started, **ready},
        "phase": status["phase"],
        "terminating": "deletionTimestamp" in item["metadata"],
    }


def _is_issued(item: dict[str, Any]) -> bool:
    """Whether its content is a certificate or key of this cluster's own."""
    words = ("crt", "cert", "key", "ca", "token")
    return any(any(word in key for word in words) for key in item.get("data") or {})


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_volatile(each)
            for key, each in value.items()
            if key not in _VOLATILE_KEYS and key not in _VOLATILE_ANNOTATIONS
        }
    if isinstance(value, list):
        return [_without_volatile(each) for each in value]
    return value


def _releases(lab: Lab) -> dict[str, str]:
    """Every release: chart, values and state; how many attempts it took is no part of it."""
    entries = json.loads(
        lab.run("helm", "list", "--all-namespaces", "--output", "json", *_EVERY_STATE)
    )
    found = {}
    for entry in entries:
        values = lab.run("helm", "get", "values", entry["name"], "--namespace", entry["namespace"])
        text = _text({"chart": entry["chart"], "status": entry["status"]})
        found[f"Helm release {entry['namespace']}/{entry['name']}"] = text + values
    return found


_EVERY_STATE = ("--deployed", "--failed", "--pending", "--uninstalling", "--superseded")
