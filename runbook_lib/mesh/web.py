"""The web pods: which they are, and by which labels policies select them.

A pod is the web workload's if that workload keeps it, whatever labels it carries. Policies know
labels alone, so their labels have to select exactly those pods: one that selects none of them opens
no port for the load balancer, and one that selects others limits these to HTTP, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.cluster import APPS, WORKLOADS, Cluster, Object, labels_of, pods, ref, reference
from runbook_lib.lifecycle import Context, Finding, Refused
from runbook_lib.mesh.rollout import has_ended
from runbook_lib.parameters import Parameters

LABELS = "application.web.labels"
"""The parameter that names the labels; without it they are looked up."""

_NO_EFFECT = "policies for the web pods would not reach all of them, and users would be locked out"


def is_web(parameters: Parameters, pod: Object) -> bool:
    """Whether the web workload keeps a pod."""
    web = parameters.application.web
    return pods.workload_of(pod) == (web.kind, web.name)


def workload(cluster: Cluster, parameters: Parameters) -> Object | None:
    """Return the web workload."""
    application = parameters.application
    web = application.web
    return cluster.get(APPS, web.kind, web.name, application.namespace)


def web_pods(cluster: Cluster, parameters: Parameters) -> list[Object]:
    """Return the pods of the web workload that have not ended."""
    found = cluster.list("v1", "Pod", parameters.application.namespace)
    return [pod for pod in found if is_web(parameters, pod) and not has_ended(pod)]


def labels(cluster: Cluster, parameters: Parameters) -> Mapping[str, str]:
    """Return the labels by which policies are to select the web pods.

    They are those of the parameters, or else the web workload's own selector.

    Raises:
        Refused: The parameters name none, and there is no selector to look at.
    """
    found = Selection.of(parameters, workload(cluster, parameters))
    if found.unknown is not None:
        raise Refused(found.unknown)
    return found.labels


def text(selector: Mapping[str, str]) -> str:
    """Return labels in words."""
    return ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))


@dataclass(frozen=True)
class Selection:
    """The labels for the web pods, where they come from, and what they select.

    Attributes:
        labels: The labels; empty if they are not known.
        source: The field that names them.
        where: The web workload, as findings name it.
        carried: The labels in the workload's pod template; None if there is no workload.
        own: The workload's own selector.
    """

    labels: Mapping[str, str]
    source: str
    where: str
    carried: Mapping[str, str] | None
    own: Mapping[str, str]

    @classmethod
    def of(cls, parameters: Parameters, live: Object | None) -> Selection:
        """Return the labels of the parameters, or else those of the web workload's selector.

        Args:
            parameters: The run's parameters.
            live: The web workload; None if there is none.
        """
        application = parameters.application
        web = application.web
        where = ref(web.kind, web.name, application.namespace)
        own = live["spec"]["selector"].get("matchLabels") or {} if live else {}
        carried = labels_of(live["spec"]["template"]) if live else None
        if web.labels is not None:
            return cls(web.labels, LABELS, where, carried, own)
        return cls(own, f"{where} .spec.selector.matchLabels", where, carried, own)

    @property
    def unknown(self) -> Finding | None:
        """Why no labels are known; None if they are."""
        if self.labels:
            return None
        if self.carried is None:
            return self._missing
        return Finding(
            self.where,
            "its selector has no matchLabels",
            "which labels its pods share is not known",
            "name the labels that its pods carry, and no others do",
            parameter=LABELS,
        )

    def selects(self, pod: Object) -> bool:
        """Whether the labels select a pod, or what a template makes."""
        return bool(self.labels) and self.labels.items() <= labels_of(pod).items()

    def mistakes(
        self, parameters: Parameters, found: Sequence[Object], workloads: Sequence[Object]
    ) -> Iterator[Finding]:
        """Find that the labels select other pods than those of the web workload.

        Args:
            parameters: The run's parameters.
            found: The pods of the application's namespace.
            workloads: Its workloads: one that has no pods now may have some later.
        """
        if self.unknown is not None:
            yield self.unknown
            return
        if self.carried is None:
            yield self._missing
            return
        selected = text(self.labels)
        if not self.labels.items() <= self.carried.items():
            yield Finding(
                self.where,
                f"its pods do not carry {selected}, which {self.source} names",
                _NO_EFFECT,
                "name labels that they carry, or leave them out: then the selector of the workload "
                f"counts, {text(self.own)}",
                (f"{self.where} .spec.template.metadata.labels: {text(self.carried)}",),
                parameter=f"{LABELS}: {dict(self.own)}",
            )
            return
        living = [pod for pod in found if not has_ended(pod)]
        without = [p for p in living if is_web(parameters, p) and not self.selects(p)]
        if without:
            names = ", ".join(map(reference, without))
            yield Finding(
                names,
                f"without {selected}, which {self.source} names and their template has by now",
                _NO_EFFECT,
                f"replace what is older than its template: delete {names}",
            )
        if others := self._others(parameters, living, workloads):
            yield Finding(
                ", ".join(others),
                f"{selected}, which {self.source} names, selects these pods, too",
                "policies for the web pods would hold for them: whatever is not HTTP would be cut "
                "off",
                "name labels that the web pods carry, and no others do"
                + ("" if self.labels == self.own else ", such as the workload's own selector"),
                parameter=f"{LABELS}: {dict(self.own)}" if self.labels != self.own else LABELS,
            )

    def _others(
        self, parameters: Parameters, living: Sequence[Object], workloads: Sequence[Object]
    ) -> list[str]:
        """Name what else the labels select, by workload where there is one."""
        namespace = parameters.application.namespace
        keepers = [
            ref(*pods.workload_of(pod), namespace)
            for pod in living
            if self.selects(pod) and not is_web(parameters, pod)
        ]
        templates = [
            reference(each)
            for each in workloads
            if reference(each) != self.where and self.selects(each["spec"]["template"])
        ]
        return list(dict.fromkeys((*templates, *keepers)))

    @property
    def _missing(self) -> Finding:
        return Finding(
            self.where,
            "there is none",
            "nothing would be there for the policies to protect",
            "install the application first, or correct application.web.kind and .name",
        )


def selection_mistakes(context: Context) -> Iterator[Finding]:
    """Find that the labels for policies select other pods than those of the web workload."""
    cluster, parameters = context.cluster, context.parameters
    namespace = parameters.application.namespace
    workloads = [item for kind in WORKLOADS for item in cluster.list(APPS, kind, namespace)]
    selection = Selection.of(parameters, workload(cluster, parameters))
    return selection.mistakes(parameters, cluster.list("v1", "Pod", namespace), workloads)
