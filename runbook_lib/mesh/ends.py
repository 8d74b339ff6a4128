"""The web workload and what it depends on, as ends of links: read from live objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from runbook_lib.base import KindNotInstalled
from runbook_lib.cluster import Object, has_sidecar, labels_of, pods
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import traffic
from runbook_lib.mesh.links import End
from runbook_lib.mesh.policy import (
    Caller,
    Protocol,
    Reason,
    Sent,
    called,
    choose,
    cluster_ip,
    declared,
    on_port,
    sent_to_port,
    serves,
    target,
    why_not_inbound,
    why_not_outbound,
)
from runbook_lib.mesh.rollout import has_ended
from runbook_lib.mesh.traffic import Policies
from runbook_lib.parameters import Parameters

_NETWORKING_API = "networking.istio.io/v1"


@dataclass(frozen=True)
class Ends:
    """What it takes to say what becomes of a call to the web workload or to what it needs.

    Attributes:
        parameters: The run's parameters.
        pods: The application's pods, without those that have ended.
        policies: The policies to judge by, with the labels of the web pods.
        services: The Services of the application's namespace.
        rules: The DestinationRules of that namespace and of istiod's.
    """

    parameters: Parameters
    pods: Sequence[Object]
    policies: Policies
    services: Sequence[Object]
    rules: Sequence[Object] = ()

    @classmethod
    def look(cls, context: Context, policies: Policies, found: Sequence[Object]) -> Ends:
        """Read Services and DestinationRules from the cluster.

        Args:
            context: Where to look.
            policies: The policies to judge by.
            found: The application's pods.
        """
        parameters, cluster = context.parameters, context.cluster
        namespaces = (parameters.application.namespace, parameters.istio.namespace)
        try:
            rules = [r for n in namespaces for r in cluster.list(_NETWORKING_API, _RULE, n)]
        except KindNotInstalled:
            rules = []
        services = cluster.list("v1", "Service", namespaces[0])
        staying = [pod for pod in found if not has_ended(pod)]
        return cls(parameters, staying, policies, services, rules)

    def web(self) -> End:
        """The web workload on its port."""
        web = self.parameters.application.web
        return replace(
            self._end(web.name),
            port=web.port,
            http=self.policies.web_protocol.protocol is not Protocol.TCP,
            mode=traffic.port_mode(self.parameters, self.policies),
            past=self.policies.web_past,
        )

    def dependencies(self) -> Iterator[tuple[End, Object]]:
        """Yield what the web workload needs, each with its Service: it is restarted before."""
        for name in needed(self.parameters):
            pod = self._first_pod(name)
            service = next((s for s in self.services if pod and serves(s, pod)), None)
            if pod is None or service is None:
                continue
            number, _ = service_port(service, pod)
            port = number or 0
            end = replace(
                self._end(name),
                port=number,
                http=on_port(self.services, pod, port).protocol is Protocol.HTTP,
                past=why_not_inbound(pod, port),
            )
            namespace = self.parameters.application.namespace
            yield (
                replace(end, mode=traffic.mode_on_port(end.policies, namespace, port)),
                service,
            )

    def sent_by_web(self, service: Object) -> tuple[str, Reason | None]:
        """Return what the web workload sends to a Service, and why that goes past its sidecars."""
        application = self.parameters.application
        pod = self._first_pod(application.web.name)
        number = service["spec"]["ports"][0]["port"]
        labels = labels_of(pod) if pod else self.policies.web_labels
        past = why_not_outbound(pod, number, cluster_ip(service)) if pod else None
        return self.sent(service, number, application.namespace, labels).mode, past

    def sent(self, service: Object, port: int, namespace: str, labels: Mapping[str, str]) -> Sent:
        """Return what DestinationRules have a caller with a sidecar send to a Service's port.

        Args:
            service: The Service.
            port: Its port.
            namespace: The caller's namespace.
            labels: The caller's labels.
        """
        caller = Caller(namespace, labels, self.parameters.istio.namespace)
        return sent_to_port(choose(self.rules, called(service), caller).rule, port)

    @property
    def state(self) -> str:
        """Identifies pods and policies as they are: what was asked holds as long as it is equal."""
        of = (
            *self.pods,
            *self.policies.peer_authentications,
            *self.policies.authorization_policies,
            *self.rules,
        )
        # A pod's own version counts up with its status; its UID says that it is the same.
        versions = sorted(
            (
                item["metadata"].get("uid", ""),
                str(item["metadata"].get("generation", "")),
            )
            for item in of
        )
        return hashlib.sha256(json.dumps(versions).encode()).hexdigest()

    def _end(self, name: str) -> End:
        own = [pod for pod in self.pods if pods.workload_of(pod)[1] == name]
        has = {has_sidecar(pod) for pod in own}
        return End(
            name,
            sidecars=has.pop() if len(has) == 1 else None,
            pods=len(own),
            mode_for_all=traffic.mode_for_all(self.policies, self.parameters.application.namespace),
            policies=replace(
                self.policies, web_labels=labels_of(own[0]) if own else self.policies.web_labels
            ),
        )

    def _first_pod(self, workload: str) -> Object | None:
        return next((pod for pod in self.pods if pods.workload_of(pod)[1] == workload), None)


_RULE = "DestinationRule"


def needed(parameters: Parameters) -> list[str]:
    """Return the names of what the web workload depends on, in the order of restarts.

    What its owner restarts, such as a database's operator, comes before all workloads.
    """
    application = parameters.application
    order = [name for _, name in (*application.owners, *application.workloads)]
    web = application.web.name
    return order[: order.index(web)] if web in order else order


def service_port(service: Object, pod: Object) -> tuple[int | None, bool]:
    """Return the container's port behind a Service's first port, and whether it is HTTP."""
    port = service["spec"]["ports"][0]
    return target(port, pod), declared(port)[0] is Protocol.HTTP
