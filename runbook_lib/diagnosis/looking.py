"""Look at everything that rules judge, at once and in bounded time. Nothing is changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import yaml

from runbook_lib.base import ClusterRefused, KindNotInstalled, RunbookError, WaitFailed, wait
from runbook_lib.chapters.autoscaling import Autoscaler, autoscalers
from runbook_lib.chapters.kiali import manifest as kiali_manifest
from runbook_lib.chapters.kiali import status as kiali_status
from runbook_lib.chapters.policies import stale
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.preflight import aws
from runbook_lib.chapters.shared.preflight import traffic as preflight_traffic
from runbook_lib.cluster import (
    ADMISSION,
    APPS,
    NETWORKING,
    PROXY,
    REVISION_LABEL,
    WORKLOADS,
    KubeEvent,
    Object,
    accounts,
    labels_of,
    live_object,
    name_of,
    pods,
)
from runbook_lib.diagnosis import refusal
from runbook_lib.diagnosis.model import Look
from runbook_lib.diagnosis.observation import Observation, proxy_name
from runbook_lib.diagnosis.parts import Injection, SiteAnswer, Token
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import (
    dry_run,
    has_ended,
    injection,
    of_revision,
    revisions,
    rollout,
    templates,
    traffic,
)
from runbook_lib.parameters import ProbeParameters
from runbook_lib.site import Expectation, Observed, Probe, probe
from runbook_lib.tools import Istioctl, Message

LIMIT = 15.0
"""Seconds for each istioctl command; the API server and probes have limits of their own."""

_PROBE_LIMIT = 5
_THREADS = 12
_ISTIOD = {"app": "istiod"}
_LOG_LINES = 100
_SETTLE = 3.0
"""Seconds that proxies get to connect, and to acknowledge what they were sent a moment ago."""

NETWORKING_API = "networking.istio.io/v1"


@dataclass(frozen=True)
class _Looking:
    """One thing to look at.

    Attributes:
        field: The field of the observation that it fills.
        what: Its name for people.
        see: Looks; what it raises makes the field unseen.
        tell: Says in stable words what was found.
    """

    field: str
    what: str
    see: Callable[[], Any]
    tell: Callable[[Any], str]


class Looker:
    """Looks at one cluster."""

    def __init__(self, context: Context, token: str = "") -> None:
        """Nothing is looked at yet.

        Args:
            context: Where to look.
            token: One with which somebody cannot log in to Kiali; empty if there is none.
        """
        self._context = context
        self._token = token
        self._parameters = context.parameters
        self._cluster = context.cluster
        self._names = context.parameters.application.namespace, context.parameters.istio.namespace
        self._tags: dict[str, str] = {}

    def look(self) -> tuple[Observation, tuple[Look, ...], tuple[Look, ...]]:
        """Return what was seen, what was looked at, and what could not be seen.

        Raises:
            ClusterUnreachable: The API server does not answer, so nothing can be seen.
        """
        # In threads a cached property may be made twice; this also fails early.
        namespace = self._cluster.get("v1", "Namespace", self._names[0])
        with suppress(ClusterRefused):  # then the webhooks are unseen, too, with the reason
            self._tags = revisions.tags(self._cluster)
        seen = Observation(self._parameters, namespace=namespace, tags=self._tags)
        looked = [Look(f"namespace {self._names[0]}", _tell_namespace(namespace))]
        unseen: list[Look] = []
        with ThreadPoolExecutor(_THREADS) as threads:
            rounds = (
                (threads.map, self._first),
                (threads.map, self._each_pod),
                (map, self._patiently),
            )
            for mapping, looks in rounds:
                seen, more, missing = _all(mapping, seen, list(looks(seen)))
                looked += more
                unseen += missing
        return seen, tuple(looked), tuple(unseen)

    def _first(self, _seen: Observation) -> Iterator[_Looking]:
        """Yield what needs nothing else."""
        name, istio = self._names
        cluster = self._cluster
        yield _Looking("pods", f"pods in {name}", self._pods, _tell_pods)
        yield _Looking("workloads", f"workloads in {name}", self._workloads, _count("workload"))
        yield _Looking(
            "services",
            f"Services in {name}",
            lambda: tuple(cluster.list("v1", "Service", name)),
            _count("Service"),
        )
        yield _Looking(
            "endpoints",
            f"EndpointSlices in {name}",
            lambda: tuple(cluster.list("discovery.k8s.io/v1", "EndpointSlice", name)),
            _tell_endpoints,
        )
        yield _Looking(
            "ingresses",
            f"Ingresses in {name}",
            lambda: tuple(cluster.list(NETWORKING, "Ingress", name)),
            _count("Ingress", "Ingresses"),
        )
        yield _Looking(
            "limits",
            f"LimitRanges and ResourceQuotas in {name}",
            self._limits,
            _count("object"),
        )
        yield _Looking(
            "network_policies",
            f"NetworkPolicies in {name}",
            lambda: tuple(cluster.list(NETWORKING, "NetworkPolicy", name)),
            _count("NetworkPolicy", "NetworkPolicies"),
        )
        yield _Looking(
            "closed",
            "what NetworkPolicies close to sidecars",
            self._closed,
            lambda found: "nothing" if not found else _count("connection")(found),
        )
        yield _Looking(
            "configured",
            "istiod's configuration",
            lambda: tuple(preflight.in_force(self._context)),
            lambda found: "leaves nothing out" if not found else "leaves something out",
        )
        yield _Looking(
            "stale",
            "sidecars and their istiods",
            lambda: tuple(stale.sidecars(self._context)),
            lambda found: "go together" if not found else "do not go together",
        )
        yield _Looking(
            "istio_services",
            f"Services in {istio}",
            lambda: tuple(cluster.list("v1", "Service", istio)),
            _count("Service"),
        )
        yield _Looking(
            "events", f"events in {name}", self._events, lambda _found: "as evidence for findings"
        )
        yield _Looking(
            "istiod",
            f"istiod in {istio}",
            lambda: self._of_revision(cluster.list(APPS, "Deployment", istio, _ISTIOD)),
            _tell_istiod,
        )
        yield _Looking(
            "istiod_pods",
            "istiod's pods",
            lambda: self._of_revision(_living(cluster.list("v1", "Pod", istio, _ISTIOD))),
            _tell_pods,
        )
        yield _Looking("webhooks", "injection webhooks", self._webhooks, _count("configuration"))
        yield _Looking("injection", "a new web pod (dry run)", self._injection, _tell_injection)
        yield _Looking(
            "policies",
            "policies on the web pods",
            lambda: traffic.policies_in_force(cluster, self._parameters),
            _tell_policies,
        )
        yield _Looking(
            "elsewhere",
            "PeerAuthentications of all namespaces",
            lambda: self._kinds(traffic.SECURITY_API, "PeerAuthentication"),
            _count("PeerAuthentication"),
        )
        yield _Looking(
            "rules",
            "DestinationRules of all namespaces",
            lambda: self._kinds(NETWORKING_API, "DestinationRule"),
            _count("DestinationRule"),
        )
        yield _Looking(
            "entries",
            "ServiceEntries of all namespaces",
            lambda: self._kinds(NETWORKING_API, "ServiceEntry"),
            _count("ServiceEntry", "ServiceEntries"),
        )
        yield _Looking(
            "messages",
            "istioctl analyze",
            self._messages,
            lambda found: _count("warning")([m for m in found if m.level != "Info"]),
        )
        yield _Looking("answers", "answers from outside", self._answers, _tell_answers)
        yield _Looking("autoscalers", f"autoscalers in {name}", self._autoscalers, _tell_scaling)
        yield _Looking("mended", "remedies of 03_autoscaling", self._mended, _count("autoscaler"))
        yield _Looking("kiali", "the Kiali resource", self._kiali, _tell_kiali)
        yield _Looking(
            "kiali_deployment",
            "Kiali's Deployment",
            lambda: cluster.get(APPS, "Deployment", self._parameters.kiali.name, istio),
            _tell_deployment,
        )
        if self._token:
            yield _Looking("token", "the token for Kiali", self._review, _tell_token)
        yield _Looking(
            "dry_run_log",
            "what logs a dry run",
            lambda: live_object(cluster, dry_run.access_log(self._parameters, {})),
            lambda found: "not there" if found is None else "there",
        )
        yield _Looking("access_log", "access log of the sidecars", self._access_log, str)
        yield from self._aws()

    def _aws(self) -> Iterator[_Looking]:
        """Yield the looks at AWS, where the parameters ask for them."""
        for area, see in aws.looks(self._context):
            yield _Looking(
                area.name,
                area.title,
                see,
                lambda found: "as it should be" if not found else _count("finding")(found),
            )

    def _messages(self) -> tuple[Message, ...]:
        # It would go on asking for what it may not have until its time is up.
        if not accounts.may_i(self._cluster, accounts.Access("watch", "secrets")):
            raise RunbookError(
                "istioctl analyze reads the Secrets of all namespaces, which this account may not",
                "run it as somebody who may: "
                f"istioctl analyze --namespace {self._parameters.application.namespace}",
            )
        return tuple(self._istioctl.analyze(namespace=self._parameters.application.namespace))

    def _patiently(self, seen: Observation) -> Iterator[_Looking]:
        """Yield what may have to be waited for; waits are shown, so they stay in this thread."""
        if seen.in_mesh:
            yield _Looking(
                "proxies", "istioctl proxy-status", partial(self._proxies, seen), _tell_proxies
            )

    def _each_pod(self, seen: Observation) -> Iterator[_Looking]:
        """Yield what is looked at in each pod."""
        # The Envoys of pods on their way out end while they are asked.
        meshed = [name_of(pod) for pod in seen.in_mesh if not pods.is_leaving(pod)]
        for name in meshed:
            yield _Looking(
                "listeners",
                f"listeners of {name}",
                partial(self._listeners, name),
                lambda _found: "read from its Envoy",
            )
        for pod in seen.web_pods:
            name = name_of(pod)
            if name in meshed:
                yield _Looking(
                    "authorization",
                    f"istioctl x authz check {name}",
                    partial(self._authorization, name),
                    lambda found: _count("policy", "policies")(next(iter(found.values()))),
                )
        for name, container in _told_by_logs(seen.pods):
            yield _Looking(
                "logs",
                f"log of {name} {container}",
                partial(self._log, name, container),
                lambda _found: f"its last {_LOG_LINES} lines",
            )

    @property
    def _istioctl(self) -> Istioctl:
        return self._context.istioctl.within(LIMIT)

    def _pods(self) -> tuple[Object, ...]:
        return tuple(_living(self._cluster.list("v1", "Pod", self._names[0])))

    def _workloads(self) -> tuple[Object, ...]:
        name = self._names[0]
        return tuple(w for kind in WORKLOADS for w in self._cluster.list(APPS, kind, name))

    def _limits(self) -> tuple[Object, ...]:
        kinds = ("LimitRange", "ResourceQuota")
        return tuple(i for kind in kinds for i in self._cluster.list("v1", kind, self._names[0]))

    def _closed(self) -> tuple[preflight_traffic.Closed, ...]:
        made = templates.meshed(self._context)
        return tuple(preflight_traffic.closed_to_sidecars(self._context, made))

    def _events(self) -> Mapping[str, tuple[KubeEvent, ...]]:
        found: dict[str, list[KubeEvent]] = defaultdict(list)
        every = self._cluster.list("v1", "Event", self._names[0])
        for event in sorted(every, key=KubeEvent.last_seen):
            if event.get("reason") in pods.TELLING_EVENTS:
                found[event["involvedObject"]["name"]].append(KubeEvent.of(event))
        return {name: tuple(events) for name, events in found.items()}

    def _webhooks(self) -> tuple[Object, ...]:
        api = ADMISSION
        return self._of_revision(
            item
            for item in self._cluster.list(api, "MutatingWebhookConfiguration")
            if any(hook["name"].endswith(refusal.INJECTOR) for hook in item.get("webhooks") or [])
        )

    def _of_revision(self, found: Iterable[Object]) -> tuple[Object, ...]:
        """Leave out what belongs to another Istio, such as a canary beside this one."""
        desired = revisions.resolved(self._parameters, self._tags).istio.revision
        return tuple(
            item for item in found if labels_of(item).get(REVISION_LABEL, "default") == desired
        )

    def _injection(self) -> Injection:
        try:
            answer = injection.try_injection(self._context)
            return Injection(pods.has_sidecar(answer), image=pods.image_of(answer, PROXY))
        except ClusterRefused as error:
            if not refusal.unanswered(error.cause).endswith(refusal.INJECTOR):
                raise  # others refuse the pod, so whether it would be injected cannot be told
            return Injection(injected=False, refused=error.cause)

    def _kinds(self, api: str, kind: str) -> tuple[Object, ...]:
        try:
            return tuple(self._cluster.list(api, kind))
        except KindNotInstalled:
            return ()

    def _answers(self) -> tuple[SiteAnswer, ...]:
        allowed = self._parameters.authorization.methods
        probes = self._parameters.application.probes
        with ThreadPoolExecutor(len(probes)) as threads:
            observed = list(threads.map(self._ask, probes))
        return tuple(
            SiteAnswer(
                desired.method, desired.path, desired.status, desired.method in allowed, answer
            )
            for desired, answer in zip(probes, observed, strict=True)
        )

    def _ask(self, desired: ProbeParameters) -> Observed:
        return probe.send(
            self._context.target.url,
            Probe(desired.method, desired.path, Expectation(desired.status)),
            timeout=min(self._parameters.timeouts.probe, _PROBE_LIMIT),
            verify=self._context.verify_tls,
        )

    def _autoscalers(self) -> tuple[Autoscaler, ...]:
        return autoscalers.survey(self._context).autoscalers

    def _mended(self) -> tuple[str, ...]:
        found = autoscalers.objects(self._context)
        return tuple(name_of(each) for each in found if autoscalers.metrics_before(each))

    def _kiali(self) -> Object | None:
        try:
            return self._cluster.get(
                kiali_manifest.API, "Kiali", self._parameters.kiali.name, self._names[1]
            )
        except KindNotInstalled:
            return None

    def _review(self) -> Token:
        return Token(*accounts.review(self._cluster, self._token))

    def _access_log(self) -> str:
        name = of_revision(revisions.resolved(self._parameters, self._tags), "istio")
        found = self._cluster.get("v1", "ConfigMap", name, self._names[1])
        mesh = yaml.safe_load(((found or {}).get("data") or {}).get("mesh") or "{}") or {}
        if found is not None and not mesh.get("accessLogFile"):
            raise RunbookError(
                "access logs are off (meshConfig.accessLogFile), so response flags are not written"
            )
        return "written" if found else "there is no mesh yet"

    def _proxies(self, seen: Observation) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = {}
        revision = seen.resolved.istio.revision
        expected = [proxy_name(pod) for pod in seen.in_mesh if pods.has_ready_sidecar(pod)]

        def observe() -> wait.State:
            found.clear()
            found.update(self._istioctl.proxy_states(revision))
            late = [name for name, kinds in found.items() if "STALE" in kinds.values()]
            # After a change of its configuration istiod has all of them connect again.
            late += [name for name in expected if name not in found]
            return wait.State(not late, ", ".join(late))

        with suppress(WaitFailed):  # a rule judges what is stale for longer
            wait.until("proxies to acknowledge", observe, timeout=_SETTLE, interval=0.5)
        return found

    def _listeners(self, pod: str) -> dict[str, Any]:
        return {pod: self._istioctl.proxy_config_listeners_json(pod, namespace=self._names[0])}

    def _authorization(self, pod: str) -> dict[str, tuple[str, ...]]:
        table = self._istioctl.x_authz_check(pod, namespace=self._names[0])
        rows = [line.split() for line in table.splitlines()[1:]]
        return {pod: tuple(row[1] for row in rows if len(row) > 1)}

    def _log(self, pod: str, container: str) -> dict[tuple[str, str], tuple[str, ...]]:
        lines = self._cluster.logs(self._names[0], pod, container, lines=_LOG_LINES)
        return {(pod, container): tuple(lines)}


def _all(
    mapping: Callable[..., Iterable[Any]], seen: Observation, looks: list[_Looking]
) -> tuple[Observation, list[Look], list[Look]]:
    """Look at several things, perhaps at the same time; fields that are mappings are merged."""
    looked, unseen = [], []
    found: dict[str, Any] = {}
    reasons = dict(seen.unseen)
    for look, result in zip(looks, mapping(_see, looks), strict=True):
        if isinstance(result, RunbookError):
            reason = result.cause.split("\n")[0]
            reasons[look.field] = reason
            unseen.append(Look(look.what, reason))
            continue
        result, told = result
        looked.append(Look(look.what, told))
        if look.field in found:
            result = {**found[look.field], **result}
        if look.field in Observation.__dataclass_fields__:
            found[look.field] = result
    return replace(seen, unseen=reasons, **found), looked, unseen


def _see(look: _Looking) -> tuple[Any, str] | RunbookError:
    """Return what was found, and that in words; or why nothing could be seen.

    One look at odd data must not end all the others, so what it trips over is a reason, too.
    """
    try:
        found = look.see()
        return found, look.tell(found)
    except RunbookError as error:
        return error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return RunbookError(f"what came back is not understood: {type(error).__name__}: {error}")


def _living(found: Iterable[Object]) -> Iterator[Object]:
    return (pod for pod in found if not has_ended(pod))


def _told_by_logs(found: Iterable[Object]) -> Iterator[tuple[str, str]]:
    """Yield pod and container whose logs may tell something: all proxies, and what is not ready."""
    for pod in found:
        for container in pods.containers(pod):
            if container.name == PROXY or not container.ready:
                yield name_of(pod), container.name


def _count(one: str, many: str = "") -> Callable[[Any], str]:
    def tell(found: Any) -> str:
        return f"{len(found)} {one if len(found) == 1 else many or f'{one}s'}"

    return tell


def _tell_namespace(found: Object | None) -> str:
    return "there" if found else "there is none"


def _tell_pods(found: tuple[Object, ...]) -> str:
    ready = sum(pods.is_ready(pod) for pod in found)
    meshed = sum(pods.has_sidecar(pod) for pod in found)
    sidecars = f", {meshed} with a sidecar" if meshed else ""
    return f"{ready} of {len(found)} ready{sidecars}"


def _tell_endpoints(found: tuple[Object, ...]) -> str:
    ready = sum(
        bool((endpoint.get("conditions") or {}).get("ready"))
        for each in found
        for endpoint in each.get("endpoints") or []
    )
    return f"{ready} ready endpoints"


def _tell_istiod(found: tuple[Object, ...]) -> str:
    return _count("Deployment")(found) if found else "not installed yet (01_install_istio)"


def _tell_injection(found: Injection) -> str:
    if found.refused:
        return "refused"
    return "would get a sidecar" if found.injected else "would get no sidecar"


def _tell_policies(found: traffic.Policies) -> str:
    peers = _count("PeerAuthentication")(found.peer_authentications)
    others = _count("AuthorizationPolicy", "AuthorizationPolicies")(found.authorization_policies)
    return f"{peers}, {others}"


def _tell_scaling(found: tuple[Autoscaler, ...]) -> str:
    states = [str(scaling.state) for each in found for scaling in each.scalings]
    return f"{_count('autoscaler')(found)}: {', '.join(states)}" if states else "none"


def _tell_kiali(found: Object | None) -> str:
    return kiali_status.state(found).text if found else "not installed yet (06_kiali)"


def _tell_deployment(found: Object | None) -> str:
    return rollout.progress(found)[1] if found else "there is none"


def _tell_token(found: Token) -> str:
    return f"accepted: {found.user}" if found.user else "not accepted"


def _tell_answers(found: tuple[SiteAnswer, ...]) -> str:
    return ", ".join(f"{each.method} {each.observed.status or 'no answer'}" for each in found)


def _tell_proxies(found: Mapping[str, Mapping[str, str]]) -> str:
    states = sorted({state for kinds in found.values() for state in kinds.values()})
    return f"{_count('proxy', 'proxies')(found)}: {', '.join(states) or 'nothing sent yet'}"
