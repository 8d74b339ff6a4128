"""The workloads that are to have sidecars, and their pods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from runbook_lib.cluster import APPS, PROXY, Object, name_of, pods, ref, reference
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import has_ended, rollout, wants_sidecar


@dataclass(frozen=True)
class Listed:
    """A workload of `application.restart_order`, or what else makes pods.

    Attributes:
        workload: As it is.
        pods: Its pods that have not ended.
    """

    workload: Object
    pods: tuple[Object, ...]

    @property
    def where(self) -> str:
        """The workload as findings name it."""
        return reference(self.workload)

    @property
    def template(self) -> Object:
        """Its pod template."""
        found: Object = self.workload["spec"]["template"]
        return found

    @property
    def lacking(self) -> list[Object]:
        """The pods that are to be replaced for a sidecar."""
        return [pod for pod in lacking(self.pods) if not pods.is_leaving(pod)]


def outdated(each: Listed, newest_image: Callable[[Object], str]) -> dict[str, str]:
    """Return the pods whose sidecar is another than a new pod would get, and what theirs is.

    istiod may have been replaced since they were created.

    Args:
        each: The workload.
        newest_image: Returns the image of the sidecar of a workload's new pod. Where it is empty,
            because istiod cannot be asked, nothing is said.
    """
    meshed = [pod for pod in each.pods if pods.has_sidecar(pod) and not pods.is_leaving(pod)]
    newest = newest_image(each.workload) if meshed else ""
    if not newest:
        return {}
    images = {name_of(pod): pods.image_of(pod, PROXY) for pod in meshed}
    return {
        name: f"{image}, and a new one {newest}"
        for name, image in images.items()
        if image != newest
    }


def named(context: Context) -> dict[str, Object | None]:
    """Return the workloads of `application.restart_order`, by what they are called."""
    application = context.parameters.application
    namespace = application.namespace
    return {
        ref(kind, name, namespace): context.cluster.get(APPS, kind, name, namespace)
        for kind, name in application.workloads
    }


def listed(context: Context) -> Iterator[Listed]:
    """Yield those that exist, in their order."""
    for workload in named(context).values():
        if workload is not None:
            yield Listed(workload, tuple(rollout.pods_of(context, workload)))


def others(context: Context) -> Iterator[Listed]:
    """Yield what else makes pods in the application's namespace that are to have sidecars.

    The label asks for sidecars for all of them, and they get theirs whenever a new pod is created.
    Such a workload is known by its pods, and may be of any kind: it has an empty template.
    """
    application = context.parameters.application
    found: dict[tuple[str, str], list[Object]] = {}
    for pod in lacking(context.cluster.list("v1", "Pod", application.namespace)):
        maker = pods.workload_of(pod)
        if maker not in application.workloads:
            found.setdefault(maker, []).append(pod)
    for (kind, name), theirs in found.items():
        metadata = {"name": name, "namespace": application.namespace}
        maker_as_seen = {"kind": kind, "metadata": metadata, "spec": {"template": {"spec": {}}}}
        yield Listed(maker_as_seen, tuple(theirs))


def to_be_meshed(found: Iterable[Object]) -> list[Object]:
    """Return the pods that should have a sidecar."""
    return [pod for pod in found if not has_ended(pod) and wants_sidecar(pod)]


def lacking(found: Iterable[Object]) -> list[Object]:
    """Return the pods that should have a sidecar and were created without: they never get one."""
    return [pod for pod in to_be_meshed(found) if not pods.has_sidecar(pod)]
