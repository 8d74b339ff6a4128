"""What workloads make their pods of: it shows before a restart what comes with sidecars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib.cluster import APPS, WORKLOADS, Object, name_of, place_of, pods, reference
from runbook_lib.lifecycle import Context
from runbook_lib.mesh.injection import wants_sidecar
from runbook_lib.mesh.policy import Reason
from runbook_lib.mesh.rollout import has_ended
from runbook_lib.mesh.web import workload
from runbook_lib.parameters import Parameters

_ENDING = ("Job",)
"""What keeps pods that end by themselves."""


@dataclass(frozen=True)
class Template:
    """What a workload makes its pods of.

    Attributes:
        keeper: The workload; a pod that none of the common ones keeps is its own.
        pod: The template with the workload's kind, name and namespace, to be judged like a pod.
        live: The workload's pods that have not ended.
    """

    keeper: Object
    pod: Object
    live: tuple[Object, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """Kind and name of what keeps the pods, which may be no workload, as an operator's is."""
        return pods.workload_of(self.pod) if self.keeper is self.pod else place_of(self.keeper)[:2]

    @property
    def where(self) -> str:
        """The workload, as findings name it."""
        return reference(self.keeper)

    def field(self, path: str, found: object) -> str:
        """Name a field of what the pods are made of, by the live object that holds it.

        Args:
            path: Where it stands in a pod, such as `.spec.hostNetwork`.
            found: What stands there.
        """
        prefix = "" if self.keeper is self.pod else ".spec.template"
        return reference(self.keeper, f"{prefix}{path}: {found}")

    def text(self, reason: Reason) -> str:
        """Return a reason that was found in `pod`, by the live object that holds its field."""
        return self.field(reason.path, reason.found) if reason.item is self.pod else reason.text

    @property
    def ports(self) -> Iterator[tuple[str, Object]]:
        """The declared TCP ports, each with where it stands in a pod."""
        for at, container in enumerate(self.pod["spec"]["containers"]):
            for number, port in enumerate(container.get("ports") or []):
                if port.get("protocol", "TCP") == "TCP":
                    yield f".spec.containers[{at}].ports[{number}]", port

    def is_web(self, parameters: Parameters) -> bool:
        """Whether it is of the web workload."""
        web = parameters.application.web
        return place_of(self.keeper)[:2] == (web.kind, web.name)


def of_workload(keeper: Object, live: tuple[Object, ...] = ()) -> Template:
    """Return what a workload makes its pods of."""
    kind, name, namespace = place_of(keeper)
    made = keeper["spec"]["template"]
    metadata = {**(made.get("metadata") or {}), "name": name, "namespace": namespace}
    return Template(keeper, {"kind": kind, "metadata": metadata, "spec": made["spec"]}, live)


def meshed(context: Context) -> list[Template]:
    """Return what the pods of the application's namespace are made of that are to get sidecars."""
    cluster, namespace = context.cluster, context.parameters.application.namespace
    kept: dict[tuple[str, str], list[Object]] = {}
    for pod in cluster.list("v1", "Pod", namespace):
        if not has_ended(pod):
            kept.setdefault(pods.workload_of(pod), []).append(pod)
    found = [
        of_workload(keeper, tuple(kept.pop((kind, name_of(keeper)), ())))
        for kind in WORKLOADS
        for keeper in cluster.list(APPS, kind, namespace)
    ]
    alone = [pod for (kind, _), own in kept.items() if kind not in _ENDING for pod in own]
    found += [Template(pod, pod, (pod,)) for pod in alone]
    return [each for each in found if wants_sidecar(each.pod)]


def web(context: Context) -> Template | None:
    """Return what the web pods are made of; None if there is no web workload."""
    found = workload(context.cluster, context.parameters)
    return of_workload(found) if found is not None else None
