"""What rules judge: everything that was seen, as plain data, so that a test can make it up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runbook_lib.chapters.autoscaling import Autoscaler
from runbook_lib.chapters.shared.preflight.traffic import Closed
from runbook_lib.cluster import (
    KubeEvent,
    Object,
    has_sidecar,
    labels_of,
    name_of,
    namespace_of,
    pods,
    ref,
    reference,
)
from runbook_lib.diagnosis.parts import Front, Injection, SiteAnswer, Token
from runbook_lib.lifecycle import Finding
from runbook_lib.mesh import Policies, Selection, is_web, revisions, traffic
from runbook_lib.mesh.ends import needed
from runbook_lib.mesh.policy import is_dry_run, service_targets
from runbook_lib.parameters import Parameters
from runbook_lib.tools import Message

_HASH = "[bcdfghjklmnpqrstvwxz2456789]+"
"""Of the letters and digits that Kubernetes uses, see SafeEncodeString in apimachinery."""


@dataclass(frozen=True)
class Observation:
    """Everything that was seen. A field that could not be seen is named in `unseen`.

    Attributes:
        parameters: The run's parameters.
        unseen: Names of fields that could not be seen, with the reason.
        tags: The revision behind each revision tag.
        namespace: The application's namespace.
        pods: Its pods that have not ended.
        workloads: Its StatefulSets, Deployments and DaemonSets.
        events: Events that tell why something is missing or not ready, by the object's name.
        services: Its Services.
        endpoints: Its EndpointSlices.
        ingresses: Its Ingresses.
        limits: Its LimitRanges and ResourceQuotas.
        closed: What NetworkPolicies close of what its sidecars need, if they are enforced.
        network_policies: NetworkPolicies of its namespace.
        configured: What istiod's configuration leaves out.
        stale: What preflight has to say about sidecars and the istiods of their revisions.
        istio_services: The Services of istiod's namespace.
        istiod: istiod's Deployments, of the parameters' revision only, as the next two.
        istiod_pods: istiod's pods.
        webhooks: MutatingWebhookConfigurations that inject sidecars.
        injection: What came of a dry run.
        policies: The policies that may concern the web workload.
        elsewhere: PeerAuthentications of all namespaces.
        rules: DestinationRules of all namespaces.
        entries: ServiceEntries of all namespaces.
        messages: What `istioctl analyze` says about the application's namespace.
        answers: What the site answered.
        proxies: The state of each configuration type, by proxy, as istiod knows it.
        listeners: Each proxy's listeners, by pod.
        authorization: Names of the policies in each web proxy, as `name.namespace`, by pod.
        logs: Last lines of containers, by pod and container.
        autoscalers: The application's HorizontalPodAutoscalers, and where they scale out.
        mended: The names of those whose metrics the runbook has replaced.
        dry_run_log: The EnvoyFilter that has web pods log what a dry run decides, if there is one.
        kiali: The Kiali resource, if there is one.
        kiali_deployment: Kiali's Deployment, if there is one.
        token: What the API server says about a token that somebody cannot log in with.
        aws_ports: What preflight has to say about security groups, where AWS is asked at all.
        aws_balancers: The same about load balancers.
        aws_networks: The same about subnets.
        aws_versions: The same about versions.
    """

    parameters: Parameters
    unseen: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    namespace: Object | None = None
    pods: tuple[Object, ...] = ()
    workloads: tuple[Object, ...] = ()
    events: Mapping[str, tuple[KubeEvent, ...]] = field(default_factory=dict)
    services: tuple[Object, ...] = ()
    endpoints: tuple[Object, ...] = ()
    ingresses: tuple[Object, ...] = ()
    limits: tuple[Object, ...] = ()
    closed: tuple[Closed, ...] = ()
    network_policies: tuple[Object, ...] = ()
    configured: tuple[Finding, ...] = ()
    stale: tuple[Finding, ...] = ()
    istio_services: tuple[Object, ...] = ()
    istiod: tuple[Object, ...] = ()
    istiod_pods: tuple[Object, ...] = ()
    webhooks: tuple[Object, ...] = ()
    injection: Injection | None = None
    policies: Policies = field(default_factory=Policies)
    elsewhere: tuple[Object, ...] = ()
    rules: tuple[Object, ...] = ()
    entries: tuple[Object, ...] = ()
    messages: tuple[Message, ...] = ()
    answers: tuple[SiteAnswer, ...] = ()
    proxies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    listeners: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    authorization: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    logs: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    autoscalers: tuple[Autoscaler, ...] = ()
    mended: tuple[str, ...] = ()
    dry_run_log: Object | None = None
    kiali: Object | None = None
    kiali_deployment: Object | None = None
    token: Token | None = None
    aws_ports: tuple[Finding, ...] = ()
    aws_balancers: tuple[Finding, ...] = ()
    aws_networks: tuple[Finding, ...] = ()
    aws_versions: tuple[Finding, ...] = ()

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the application's namespace."""
        return labels_of(self.namespace or {})

    @property
    def resolved(self) -> Parameters:
        """The parameters with the revision that is meant, should they name a tag."""
        return revisions.resolved(self.parameters, self.tags)

    @property
    def is_labelled(self) -> bool:
        """Whether the namespace asks for sidecars of the parameters' revision, by any label."""
        asked = revisions.asked_for(self.labels, self.tags)
        return asked == self.resolved.istio.revision

    @property
    def in_mesh(self) -> tuple[Object, ...]:
        """The application's pods that have a sidecar."""
        return tuple(pod for pod in self.pods if has_sidecar(pod))

    @property
    def web_pods(self) -> tuple[Object, ...]:
        """The pods of the web workload."""
        return tuple(pod for pod in self.pods if is_web(self.parameters, pod))

    @property
    def selection(self) -> Selection:
        """The labels by which policies are to select the web pods."""
        web = self.parameters.application.web
        return Selection.of(self.parameters, self.workload(web.kind, web.name))

    @property
    def web_service(self) -> Object | None:
        """The Service that callers in the cluster use."""
        return self._service(self.parameters.application.web.service)

    @property
    def fronts(self) -> tuple[Front, ...]:
        """The Services to which the parameters and the Ingresses lead, each once.

        A load balancer follows its Ingress, which may name another Service than callers in the
        cluster use: the public XNAT chart has a headless one for it.
        """
        named = {self.parameters.application.web.service: "application.web.service"}
        for ingress in self.ingresses:
            for path, backend in _backends(ingress):
                if "service" in backend:
                    named.setdefault(backend["service"]["name"], reference(ingress, path))
        return tuple(Front(name, self._service(name), by) for name, by in named.items())

    def ports_to_web(self, service: Object) -> tuple[int, ...]:
        """Return the ports of a Service that lead to the web container's port in a web pod."""
        pod = next(iter(self.web_pods), None)
        targets = service_targets(service, pod) if pod else []
        web = self.parameters.application.web.port
        return tuple(number for number, target in targets if target == web)

    def _service(self, name: str) -> Object | None:
        return next((each for each in self.services if name_of(each) == name), None)

    @property
    def mesh_begun(self) -> bool:
        """Whether the application has been taken into the mesh, at least in part."""
        return bool(self.in_mesh or self.own_policies)

    @property
    def refusal(self) -> str:
        """What the API server says against a new web pod, or why that is unknown; may be empty."""
        return self.injection.refused if self.injection else self.unseen.get("injection", "")

    @property
    def own_policies(self) -> tuple[Object, ...]:
        """The policies of the runbook that exist."""
        own = traffic.of_the_runbook(self.parameters, self.policies)
        return (*own.peer_authentications, *own.authorization_policies)

    @property
    def wrong_answers(self) -> tuple[SiteAnswer, ...]:
        """The answers that are not as they should be."""
        return tuple(answer for answer in self.answers if not self._is_right(answer))

    @property
    def let_through(self) -> tuple[SiteAnswer, ...]:
        """The wrong answers to what the runbook's policy is there to deny."""
        return tuple(answer for answer in self.wrong_answers if not answer.allowed)

    @property
    def server_errors(self) -> tuple[SiteAnswer, ...]:
        """The wrong answers of something that fails, and not of something that refuses."""
        return tuple(a for a in self.wrong_answers if (a.observed.status or 599) >= 500)

    def failed_by(self, workload: str) -> tuple[SiteAnswer, ...]:
        """Return the answers that a workload that fails explains: the web's, or one it needs."""
        concerns = workload in (self.parameters.application.web.name, *needed(self.parameters))
        return self.server_errors if concerns else ()

    def broken_by(self, failing: Sequence[Object]) -> frozenset[str] | None:
        """Return the pods that may fail because these do: only they, unless others need them."""
        listed = {pods.workload_of(pod) for pod in failing} & {
            *self.parameters.application.workloads
        }
        return None if listed else frozenset(map(name_of, failing))

    @property
    def own_authorization(self) -> Object | None:
        """The runbook's AuthorizationPolicy, if it is enforced."""
        own = traffic.of_the_runbook(self.parameters, self.policies)
        found = (p for p in own.authorization_policies if not is_dry_run(p))
        return next(found, None)

    @property
    def unreachable(self) -> tuple[SiteAnswer, ...]:
        """The answers of a load balancer that did not reach the application, or none at all."""
        return tuple(answer for answer in self.answers if answer.unreachable)

    def workload(self, kind: str, name: str) -> Object | None:
        """Return one of the application's workloads."""
        desired = (kind, name)
        return next((w for w in self.workloads if (w["kind"], name_of(w)) == desired), None)

    def wanted_workloads(self) -> Iterator[tuple[str, str, Object | None]]:
        """Yield kind, name and object of the workloads that the parameters name."""
        for kind, name in self.parameters.application.workloads:
            yield kind, name, self.workload(kind, name)

    def _is_right(self, answer: SiteAnswer) -> bool:
        own = answer.observed.status == answer.own_status
        if answer.allowed:
            return own
        return answer.denied or (own and self.own_authorization is None)

    def policies_on(self, labels: Mapping[str, str]) -> Policies:
        """Return the policies, to be judged for a workload with these labels."""
        return replace(self.policies, web_labels=labels)

    def selected(self, selector: Mapping[str, str]) -> bool:
        """Whether a selector matches a pod of the application, or one that a workload makes."""
        templates = [w["spec"]["template"] for w in self.workloads]
        # What the lab, Istio and controllers add is on pods only.
        return any(selector.items() <= labels_of(item).items() for item in (*self.pods, *templates))


def _backends(ingress: Object) -> Iterator[tuple[str, Object]]:
    """Yield each backend of an Ingress with the field of its Service's name."""
    spec = ingress["spec"]
    if "defaultBackend" in spec:
        yield ".spec.defaultBackend.service.name", spec["defaultBackend"]
    for i, rule in enumerate(spec.get("rules") or []):
        for j, path in enumerate((rule.get("http") or {}).get("paths") or []):
            yield f".spec.rules[{i}].http.paths[{j}].backend.service.name", path["backend"]


def wanted_pods(workload: Object) -> int:
    """Return how many pods a workload asks for; a DaemonSet as many as there are nodes for it."""
    if workload["kind"] == "DaemonSet":
        return int((workload.get("status") or {}).get("desiredNumberScheduled", 0))
    return int(workload["spec"].get("replicas", 1))


def pods_of(seen: Observation, workload: Object) -> list[Object]:
    """Return the pods that a workload keeps: selectors of several may match the same ones."""
    keeper = (workload["kind"], name_of(workload))
    return [pod for pod in seen.pods if pods.workload_of(pod) == keeper]


def events_of(seen: Observation, pod: Object) -> tuple[KubeEvent, ...]:
    """Return what was said about a pod that still holds: not of one of its name before it."""
    uid, scheduled = pod["metadata"].get("uid", ""), pod["spec"].get("nodeName")
    return tuple(
        event
        for event in seen.events.get(name_of(pod), ())
        if event.uid in ("", uid) and not (scheduled and event.reason == "FailedScheduling")
    )


def by_workload(seen: Observation, found: Iterable[Object]) -> Iterator[tuple[str, list[Object]]]:
    """Yield pods by what keeps them, each with its name for people: many may have one cause."""
    kept: dict[str, list[Object]] = {}
    for pod in found:
        where = ref(*pods.workload_of(pod), seen.parameters.application.namespace)
        kept.setdefault(where, []).append(pod)
    yield from kept.items()


def proxy_name(pod: Object) -> str:
    """Return what istiod calls a pod's sidecar."""
    return f"{name_of(pod)}.{namespace_of(pod)}"


def of_many(keeper: str, found: Sequence[Object]) -> str:
    """Return ` of` pods as `some` names them; nothing for one, which its finding names itself."""
    return f" of {some(keeper, found)}" if len(found) > 1 else ""


def some(keeper: str, found: Sequence[Object]) -> str:
    """Name a pod, or say how many of a workload there are, with one as an example."""
    first = name_of(found[0])
    return first if len(found) == 1 else f"{len(found)} pods of {keeper}, such as {first}"


def creation_failures(seen: Observation, workload: Object) -> tuple[str, ...]:
    """Return the events that tell why pods of a workload could not be created."""
    name = re.escape(name_of(workload))
    # A Deployment's pods are created by its ReplicaSets, whose names end with a hash.
    made_by = re.compile(f"{name}-{_HASH}" if workload["kind"] == "Deployment" else name)
    return tuple(
        str(event)
        for about, events in seen.events.items()
        if made_by.fullmatch(about)
        for event in events
        if event.reason == "FailedCreate"
    )
