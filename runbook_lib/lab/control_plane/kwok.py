"""KWOK: the life of the node and of simulated pods.

Pods that have a process here belong to the workload runtime: KWOK's stages leave them alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.lab.foundation.addresses import (
    LOOPBACK,
    NODE,
    NODE_IP,
    POD_CAPACITY,
    SIMULATED_NETWORK,
)
from runbook_lib.lab.foundation.certificates import write_private
from runbook_lib.lab.workloads.images import PROCESS_IMAGE, RUNTIME_LABEL

_IMAGES = "(.spec.containers + (.spec.initContainers // []))[].image"
_HAS_PROCESS = f'{_IMAGES} | select(test("{PROCESS_IMAGE}"))'

_READY_STATUS = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ $name := or .metadata.name "" }}
{{ $namespace := or .metadata.namespace "" }}
{{ $host := or .spec.hostNetwork false }}
{{ with PodIPsWith .spec.nodeName $host ( or .metadata.uid "" ) $name $namespace }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
conditions:
{{ range $type := list "PodReadyToStartContainers" "Initialized" "ContainersReady" "Ready" }}
- type: {{ $type | Quote }}
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: simulated
  ready: true
  started: true
  restartCount: 0
  state:
    running:
      startedAt: {{ $now | Quote }}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: simulated
  ready: true
  restartCount: 0
  {{ if eq .restartPolicy "Always" }}
  started: true
  state:
    running:
      startedAt: {{ $now | Quote }}
  {{ else }}
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
  {{ end }}
{{ end }}
"""

_COMPLETE_STATUS = """
{{ $now := Now }}
phase: Succeeded
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: simulated
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
"""

Document = dict[str, Any]


def _matches(key: str, operator: str, *values: str) -> Document:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def _stage(name: str, kind: str, conditions: list[Document], following: Document) -> Document:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": conditions},
            "next": following,
        },
    }


def _pod_stages() -> list[Document]:
    simulated = _matches(_HAS_PROCESS, "DoesNotExist")
    living = _matches(".metadata.deletionTimestamp", "DoesNotExist")
    label = {
        "root": "metadata",
        "type": "merge",
        "template": f'labels:\n  "{RUNTIME_LABEL}": simulated\n',
    }
    return [
        _stage(
            "label-simulated-pod",
            "Pod",
            [
                simulated,
                living,
                _matches(f'.metadata.labels["{RUNTIME_LABEL}"]', "DoesNotExist"),
            ],
            {"patches": [label]},
        ),
        _stage(
            "run-simulated-pod",
            "Pod",
            [
                simulated,
                living,
                _matches(f'.metadata.labels["{RUNTIME_LABEL}"]', "Exists"),
                _matches(".status.phase", "In", "Pending"),
            ],
            {"statusTemplate": _READY_STATUS},
        ),
        _stage(
            "complete-simulated-job-pod",
            "Pod",
            [
                simulated,
                living,
                _matches(".status.phase", "In", "Running"),
                _matches(".metadata.ownerReferences.[].kind", "In", "Job"),
            ],
            {"statusTemplate": _COMPLETE_STATUS},
        ),
        _stage(
            "delete-simulated-pod",
            "Pod",
            [simulated, _matches(".metadata.deletionTimestamp", "Exists")],
            {"delete": True},
        ),
    ]


def write_config(path: Path, node_stages: Path, *, kubelet_port: int) -> Path:
    """Write KWOK's configuration.

    Args:
        node_stages: Folder with KWOK's own stages for nodes.
        kubelet_port: Where the node's kubelet is reached, which is the workload runtime.
    """
    options = {
        "cidr": SIMULATED_NETWORK,
        "nodeIP": NODE_IP,
        "nodePort": kubelet_port,
        "serverAddress": f"{LOOPBACK}:10247",  # its own health
        "manageSingleNode": NODE,
        # A configuration with options must name them all: zero means none, not the default.
        "nodeLeaseDurationSeconds": 40,
        "nodeLeaseParallelism": 4,
        "podPlayStageParallelism": 16,
        "nodePlayStageParallelism": 4,
        "podsOnNodeSyncParallelism": 4,
        "enablePodsOnNodeSyncStreamWatch": True,
    }
    configuration = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": options,
    }
    stages = [yaml.safe_load(file.read_text()) for file in sorted(node_stages.glob("*.yaml"))]
    return write_private(
        path, yaml.safe_dump_all([configuration, *stages, *_pod_stages()], sort_keys=False)
    )


def node(kubelet_version: str, capacity: Mapping[str, int], external: str) -> Document:
    """The node object.

    Args:
        kubelet_version: Istio chooses native sidecars from it (1.33 or newer).
        capacity: `cpu` (cores) and `memory` (bytes).
        external: Its address as seen from outside, for node ports.
    """
    size = {name: str(amount) for name, amount in capacity.items()} | {"pods": str(POD_CAPACITY)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "labels": {
                "kubernetes.io/hostname": NODE,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": NODE_IP},
                {"type": "ExternalIP", "address": external},
                {"type": "Hostname", "address": NODE},
            ],
            "capacity": size,
            "allocatable": size,
            "nodeInfo": {
                "kubeletVersion": kubelet_version,
                "containerRuntimeVersion": "lab://processes",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "osImage": "embedded lab",
                "kernelVersion": "",
                "kubeProxyVersion": "",
                "machineID": "",
                "bootID": "",
                "systemUUID": "",
            },
        },
    }
