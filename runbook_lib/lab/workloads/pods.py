"""Read a pod's own spec: containers in starting order, environment, probes. No I/O here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbook_lib.lab.workloads.images import PROXY, program_of

Object = dict[str, Any]

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_MEMORY_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Container:
    """One container of a pod.

    Attributes:
        spec: As the API server holds it.
        init: Listed among initContainers.
    """

    spec: Object
    init: bool

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def sidecar(self) -> bool:
        """Whether it is a native sidecar (Kubernetes 1.29 and newer)."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def command(self) -> list[str]:
        """Its command; empty if the image's own is to run."""
        return list(self.spec.get("command", []))

    @property
    def arguments(self) -> list[str]:
        """Its args, before expansion."""
        return list(self.spec.get("args", []))

    @property
    def ends(self) -> bool:
        """Whether it has to end before the next container starts."""
        return self.init and not self.sidecar

    @property
    def proxies(self) -> bool:
        """Whether it is Istio's proxy; the same image also does other things."""
        return self.program == PROXY and self.arguments[:1] == ["proxy"]

    @property
    def program(self) -> str | None:
        """The program that runs for it; None for a simulated container."""
        return program_of(self.spec["image"])


def containers(pod: Object) -> list[Container]:
    """All containers in the order in which a kubelet starts them."""
    spec = pod["spec"]
    return [Container(each, init=True) for each in spec.get("initContainers") or []] + [
        Container(each, init=False) for each in spec["containers"]
    ]


def has_sidecar(pod: Object) -> bool:
    """Whether the pod has been injected."""
    return any(each.proxies for each in containers(pod))


def has_process(pod: Object) -> bool:
    """Whether any image of the pod belongs to the workload runtime (else KWOK simulates it)."""
    return any(program_of(each.spec["image"]) for each in containers(pod))


Sources = Mapping[tuple[str, str], Mapping[str, str]]
"""What ConfigMaps and Secrets hold, by kind and name."""


def sources(container: Container) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that the container's environment refers to."""
    found = set()
    for entry in container.spec.get("env", []):
        for field_name, kind in _KEYED.items():
            reference = (entry.get("valueFrom") or {}).get(field_name)
            if reference:
                found.add((kind, str(reference["name"])))
    for entry in container.spec.get("envFrom", []):
        for field_name, kind in _WHOLE.items():
            if field_name in entry:
                found.add((kind, str(entry[field_name]["name"])))
    return found


_KEYED = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
_WHOLE = {"configMapRef": "ConfigMap", "secretRef": "Secret"}


def environment(
    container: Container, pod: Object, node: Mapping[str, int], given: Sources
) -> dict[str, str]:
    """The container's environment, with references resolved and `$(NAME)` expanded.

    Args:
        container: Of the pod.
        pod: As the API server holds it.
        node: Allocatable `cpu` (cores) and `memory` (bytes), for absent limits.
        given: What `sources` names, as far as it exists.
    """
    result: dict[str, str] = {}
    for entry in container.spec.get("envFrom", []):
        for field_name, kind in _WHOLE.items():
            if field_name in entry:
                values = given.get((kind, entry[field_name]["name"]), {})
                prefix = entry.get("prefix", "")
                result |= {f"{prefix}{key}": value for key, value in values.items()}
    for entry in container.spec.get("env", []):
        source = entry.get("valueFrom")
        if source is None:
            result[entry["name"]] = expand(entry.get("value", ""), result)
        elif "fieldRef" in source:
            result[entry["name"]] = field(pod, source["fieldRef"]["fieldPath"])
        elif "resourceFieldRef" in source:
            result[entry["name"]] = _resource(container, source["resourceFieldRef"], node)
        for field_name, kind in _KEYED.items():
            reference = (source or {}).get(field_name)
            values = given.get((kind, reference["name"]), {}) if reference else {}
            if reference and reference["key"] in values:
                result[entry["name"]] = values[reference["key"]]
    return result


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand `$(NAME)` as Kubernetes does: unknown names stay, `$$` is a dollar."""

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[1] is None else env.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def field(pod: Object, path: str) -> str:
    """The value of a downward API field such as `metadata.labels['app']`; '' if absent."""
    keyed = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if keyed:
        return str(pod["metadata"].get(keyed[1], {}).get(keyed[2], ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value)


def _resource(container: Container, reference: Object, node: Mapping[str, int]) -> str:
    section, name = reference["resource"].split(".")
    quantity = container.spec.get("resources", {}).get(section, {}).get(name)
    amount = node[name] if quantity is None else parse_quantity(quantity)
    divisor = parse_quantity(reference.get("divisor", "1") or "1") or 1
    return str(math.ceil(amount / divisor))


def parse_quantity(text: str) -> float:
    """A Kubernetes quantity as a number, such as 0.1 for `100m`."""
    match = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|k|M|G)?", str(text))
    if match is None:
        raise ValueError(f"not a quantity that the lab understands: {text!r}")
    if match[2] == "m":
        return float(match[1]) / 1000
    return float(match[1]) * _MEMORY_UNITS.get(match[2], 1)
