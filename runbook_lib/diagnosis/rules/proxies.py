"""Rules about sidecars: whether they run, and whether they have what istiod sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from runbook_lib.chapters.shared.preflight import few
from runbook_lib.cluster import PROXY, Object, labels_of, name_of, namespace_of, pods, ref
from runbook_lib.diagnosis import Cause, Observation, by_workload, of_many, proxy_name, registry
from runbook_lib.mesh import istiod_name, sidecars, traffic

RECENT = timedelta(minutes=10)
"""How long a restart of a sidecar is news."""

STARTING = timedelta(minutes=1)
"""How long a sidecar may take to become ready until that is worth a word."""

_FAILED = re.compile(
    r"\t(?:error|warning)\t.*(?:fail|refused|no such host|time(?:d )?out|x509|unavailable)",
    re.IGNORECASE,
)

_PROXY_DOCS = "https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/"


_rule = partial(registry.rule, registry.Area.SIDECARS, "02_label_namespace")


@_rule(
    order=120,
    needs=("pods",),
    explained_by=("istiod-down", "network-policy-closes", "namespace-not-discovered"),
)
def sidecar_unstable(seen: Observation) -> Iterator[Cause]:
    """A sidecar is not ready, or was restarted a moment ago; one that merely starts is neither."""
    found = [pod for pod in seen.in_mesh if not pods.is_leaving(pod) and _is_unstable(seen, pod)]
    for keeper, group in by_workload(seen, found):
        # The one of which most is known.
        pod = max(group, key=lambda each: len(_complaints(seen, each)))
        name, namespace = name_of(pod), namespace_of(pod)
        proxy, restart = _proxy(pod), _recent_restart(pod)
        state = proxy.problem or "not ready"
        evidence = [] if proxy.ready else [f"Pod {namespace}/{name} {PROXY}: {state}"]
        evidence += [restart] if restart else []
        evidence += [f"log of {PROXY}: {line}" for line in _complaints(seen, pod)[-1:]]
        what = "was restarted" if proxy.ready else "is not ready"
        yield Cause(
            ref("Pod", name, namespace) if len(group) == 1 else keeper,
            f"the sidecar{of_many(keeper, [pod, *(p for p in group if p is not pod)])} {what}",
            f"{name} is {pods.ready_count(pod)}: while its sidecar is away no traffic reaches it",
            f"kubectl --namespace {namespace} logs {name} --container {PROXY}"
            + (" --previous" if restart else "")
            + "; look for memory limits and for istiod's port 15012",
            tuple(evidence),
            link=_PROXY_DOCS,
            outside=any(each in seen.web_pods for each in group) and bool(seen.unreachable),
            breaks=seen.broken_by(group),
        )


def _is_unstable(seen: Observation, pod: Object) -> bool:
    proxy = _proxy(pod)
    if proxy.ready or pods.is_of_job(pod):
        # That of a Job's pod has no more to do once the work is done.
        return proxy.ready and bool(_recent_restart(pod))
    if proxy.starting and proxy.waiting:
        return False  # init containers run before it, or no node has taken the pod yet
    return not proxy.starting or _running_for(pod) > STARTING or bool(_complaints(seen, pod))


def _proxy(pod: Object) -> pods.Container:
    return next(c for c in pods.containers(pod) if c.name == PROXY)


def _complaints(seen: Observation, pod: Object) -> list[str]:
    """Return the lines of a sidecar's log that say that something failed."""
    lines = seen.logs.get((name_of(pod), PROXY), ())
    return [
        " ".join(line.split())
        for line in lines
        # What it says of the application's probes is not about itself.
        if _FAILED.search(line) and "\tprobes\t" not in line
    ]


def _running_for(pod: Object) -> timedelta:
    """Return for how long a sidecar has been running."""
    states = _statuses(pod)
    started = next((s for s in states if s["name"] == PROXY), {}).get("state") or {}
    since = (started.get("running") or {}).get("startedAt")
    return datetime.now(UTC) - datetime.fromisoformat(since) if since else timedelta()


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    sections = ("initContainerStatuses", "containerStatuses")
    return [state for section in sections for state in status.get(section) or []]


def _recent_restart(pod: Object) -> str:
    """Say when and how a sidecar last ended, if that was a moment ago."""
    for state in _statuses(pod):
        ended = (state.get("lastState") or {}).get("terminated") or {}
        if state["name"] != PROXY or not ended.get("finishedAt"):
            continue
        if datetime.now(UTC) - datetime.fromisoformat(ended["finishedAt"]) < RECENT:
            return (
                f"Pod {name_of(pod)} {PROXY} .restartCount: "
                f"{state.get('restartCount')}, .lastState.terminated.exitCode: "
                f"{ended.get('exitCode')}"
            )
    return ""


@_rule(
    order=340,
    needs=("proxies", "pods"),
    explained_by=(
        *("istiod-down", "sidecar-unstable", "network-policy-closes", "sidecar-of-another-istiod"),
        # When its configuration changes, istiod has all sidecars connect again.
        *("namespace-not-discovered", "policy-not-mesh-wide"),
    ),
)
def proxy_disconnected(seen: Observation) -> Iterator[Cause]:
    """A sidecar that runs is not among those that istiod knows."""
    missing = [pod for pod in _ready(seen) if proxy_name(pod) not in seen.proxies]
    if missing:
        names, first = few(list(map(proxy_name, missing))), missing[0]
        yield Cause(
            names,
            "the sidecar has no connection to istiod's port 15012",
            f"{names}: policies that change do not arrive",
            f"look at its log for {seen.parameters.istio.namespace} and 15012: kubectl --namespace "
            f"{namespace_of(first)} logs {name_of(first)} --container {PROXY}",
            (f"istioctl proxy-status does not list {names}",),
            link=_PROXY_DOCS,
        )


@_rule(order=350, needs=("proxies", "pods"), explained_by=("istiod-down",))
def proxy_stale(seen: Observation) -> Iterator[Cause]:
    """A sidecar has not acknowledged, or has rejected, what it was sent."""
    late = [pod for pod in _ready(seen) if _bad(seen, pod)]
    for keeper, found in by_workload(seen, late):
        name, bad = proxy_name(found[0]), _bad(seen, found[0])
        does = "rejects" if "ERROR" in bad.values() else "does not acknowledge"
        yield Cause(
            name if len(found) == 1 else keeper,
            f"the sidecar{of_many(keeper, found)} {does} its configuration",
            f"{name} works with configuration that is not the newest",
            f"kubectl --namespace {seen.parameters.istio.namespace} logs "
            f"deployment/{istiod_name(seen.resolved)} | grep {name}",
            tuple(f"istioctl proxy-status {name} {kind}: {s}" for kind, s in bad.items()),
            link=_PROXY_DOCS,
            outside=bool(seen.wrong_answers),
        )


@_rule(
    order=360,
    needs=("pods", "policies"),
    uses=("listeners", "authorization"),
    explained_by=(
        *("istiod-down", "sidecar-unstable", "proxy-disconnected", "proxy-stale"),
        *("namespace-not-discovered", "policy-not-mesh-wide", "network-policy-closes"),
        "sidecar-of-another-istiod",
        # On such a port an HTTP policy is not among those that the proxy has.
        "protocol-not-http",
    ),
)
def policy_not_in_effect(seen: Observation) -> Iterator[Cause]:
    """What a sidecar's Envoy does is not what the policies say."""
    late = {name_of(pod): text for pod in seen.in_mesh for text in _contradictions(seen, pod)}
    behind = [pod for pod in seen.in_mesh if name_of(pod) in late]
    for keeper, found in by_workload(seen, behind):
        yield _not_taken_up(seen, keeper, found, late[name_of(found[0])])


def _contradictions(seen: Observation, pod: Object) -> Iterator[str]:
    """Yield what a pod's Envoy does otherwise than the policies say."""
    name, namespace = name_of(pod), seen.parameters.application.namespace
    for port in sidecars.ports(pod) if name in seen.listeners else ():
        mode = traffic.mode_on_port(seen.policies_on(labels_of(pod)), namespace, port)
        accepted = sidecars.accepts_plaintext(seen.listeners[name], port)
        if accepted is (mode == "STRICT"):
            yield (
                f"listeners of {name}, port {port}: plaintext is "
                f"{'accepted' if accepted else 'refused'}; the policies say {mode}"
            )
    if name in seen.authorization:
        desired = {f"{name_of(p)}.{namespace_of(p)}" for p in traffic.enforced(seen.policies)}
        for policy in sorted(desired - {*seen.authorization[name]}):
            yield f"istioctl x authz check {name} lacks {policy}"


def _bad(seen: Observation, pod: Object) -> dict[str, str]:
    states = seen.proxies.get(proxy_name(pod), {})
    return {kind: state for kind, state in states.items() if state in ("STALE", "ERROR")}


def _not_taken_up(seen: Observation, keeper: str, found: list[Object], evidence: str) -> Cause:
    pod, namespace = name_of(found[0]), seen.parameters.application.namespace
    return Cause(
        ref("Pod", pod, namespace) if len(found) == 1 else keeper,
        f"the sidecar{of_many(keeper, found)} has not taken up a policy",
        f"{pod} goes by older policies than those in the cluster",
        f"istioctl proxy-status; if it stays so, restart the pod: kubectl --namespace "
        f"{namespace} delete pod {pod}",
        (evidence,),
        link=_PROXY_DOCS,
        outside=bool(seen.wrong_answers),
    )


def _ready(seen: Observation) -> list[Object]:
    staying = (pod for pod in seen.in_mesh if not pods.is_leaving(pod))
    return [pod for pod in staying if pods.has_ready_sidecar(pod)]
