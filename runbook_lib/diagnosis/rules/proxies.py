"""Rules about sidecars: whether they run, and whether they have what istiod sends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from runbook_lib.cluster import PROXY, Object, labels_of, name_of, namespace_of, pods, ref
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.mesh import istiod_name, sidecars, traffic

RECENT = timedelta(minutes=10)
"""How long a restart of a sidecar is news."""

_PROXY_DOCS = "https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/"


_rule = partial(registry.rule, registry.Area.SIDECARS, "02_label_namespace")


@_rule(order=120, needs=("pods",), explained_by=("istiod-down",))
def sidecar_unstable(seen: Observation) -> Iterator[Cause]:
    """A sidecar is not ready, or was restarted a moment ago."""
    for pod in seen.in_mesh:
        name, namespace = name_of(pod), namespace_of(pod)
        proxy = next(c for c in pods.containers(pod) if c.name == PROXY)
        restart = _recent_restart(pod)
        if (proxy.ready and not restart) or pods.is_leaving(pod):
            continue
        state = proxy.problem or "not ready"
        evidence = [] if proxy.ready else [f"Pod {namespace}/{name} {PROXY}: {state}"]
        evidence += [restart] if restart else []
        lines = seen.logs.get((name, PROXY), ())
        errors = [line for line in lines if "\terror\t" in line or "\twarn\t" in line]
        evidence += [f"log of {PROXY}: {' '.join(line.split())}" for line in errors[-1:]]
        yield Cause(
            ref("Pod", name, namespace),
            "the sidecar was restarted" if proxy.ready else "the sidecar is not ready",
            f"{name} is {pods.ready_count(pod)}: while its sidecar is away no traffic reaches it",
            f"kubectl --namespace {namespace} logs {name} --container {PROXY} --previous; "
            "look for memory limits and for istiod's port 15012",
            tuple(evidence),
            link=_PROXY_DOCS,
            outside=pod in seen.web_pods and bool(seen.unreachable),
        )


def _recent_restart(pod: Object) -> str:
    """Say when and how a sidecar last ended, if that was a moment ago."""
    status = pod.get("status") or {}
    for section in ("initContainerStatuses", "containerStatuses"):
        for state in status.get(section) or []:
            ended = (state.get("lastState") or {}).get("terminated") or {}
            if state["name"] != PROXY or not ended.get("finishedAt"):
                continue
            at = datetime.fromisoformat(ended["finishedAt"].replace("Z", "+00:00"))
            if datetime.now(UTC) - at < RECENT:
                return (
                    f"Pod {name_of(pod)} {PROXY} .restartCount: "
                    f"{state.get('restartCount')}, .lastState.terminated.exitCode: "
                    f"{ended.get('exitCode')}"
                )
    return ""


@_rule(order=340, needs=("proxies", "pods"), explained_by=("istiod-down", "sidecar-unstable"))
def proxy_disconnected(seen: Observation) -> Iterator[Cause]:
    """A sidecar that runs is not among those that istiod knows."""
    missing = [name for name in _ready(seen) if name not in seen.proxies]
    if missing:
        yield Cause(
            ", ".join(missing),
            "the sidecar has no connection to istiod's port 15012",
            f"{', '.join(missing)}: policies that change do not arrive",
            f"look at its log for {seen.parameters.istio.namespace} and 15012, then restart the "
            "pod; open the port if a NetworkPolicy closes it",
            tuple(f"istioctl proxy-status does not list {name}" for name in missing),
            link=_PROXY_DOCS,
        )


@_rule(order=350, needs=("proxies", "pods"), explained_by=("istiod-down",))
def proxy_stale(seen: Observation) -> Iterator[Cause]:
    """A sidecar has not acknowledged, or has rejected, what it was sent."""
    for name in _ready(seen):
        bad = {k: s for k, s in seen.proxies.get(name, {}).items() if s in ("STALE", "ERROR")}
        if bad:
            rejected = "ERROR" in bad.values()
            yield Cause(
                name,
                "the sidecar rejects its configuration"
                if rejected
                else "the sidecar does not acknowledge its configuration",
                f"{name} works with configuration that is not the newest",
                f"kubectl --namespace {seen.parameters.istio.namespace} logs "
                f"deployment/{istiod_name(seen.parameters)} | grep {name}",
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
        # On such a port an HTTP policy is not among those that the proxy has.
        "protocol-not-http",
    ),
)
def policy_not_in_effect(seen: Observation) -> Iterator[Cause]:
    """What a sidecar's Envoy does is not what the policies say."""
    namespace = seen.parameters.application.namespace
    for pod in seen.in_mesh:
        name = name_of(pod)
        if name not in seen.listeners:
            continue
        for port in sidecars.ports(pod):
            mode = traffic.mode_on_port(seen.policies_on(labels_of(pod)), namespace, port)
            accepted = sidecars.accepts_plaintext(seen.listeners[name], port)
            if accepted is (mode == "STRICT"):
                yield _not_taken_up(
                    seen,
                    name,
                    f"listeners of {name}, port {port}: plaintext is "
                    f"{'accepted' if accepted else 'refused'}; the policies say {mode}",
                )
    desired = {f"{name_of(p)}.{namespace_of(p)}" for p in traffic.enforced(seen.policies)}
    for name, has in seen.authorization.items():
        for policy in sorted(desired - set(has)):
            yield _not_taken_up(seen, name, f"istioctl x authz check {name} lacks {policy}")


def _not_taken_up(seen: Observation, pod: str, evidence: str) -> Cause:
    return Cause(
        ref("Pod", pod, seen.parameters.application.namespace),
        "the sidecar has not taken up a policy",
        f"{pod} goes by older policies than those in the cluster",
        f"istioctl proxy-status; if it stays so, restart the pod: kubectl --namespace "
        f"{seen.parameters.application.namespace} delete pod {pod}",
        (evidence,),
        link=_PROXY_DOCS,
        outside=bool(seen.wrong_answers),
    )


def _ready(seen: Observation) -> list[str]:
    return [
        f"{name_of(pod)}.{namespace_of(pod)}"
        for pod in seen.in_mesh
        if not pods.is_leaving(pod)
        and any(c.name == PROXY and c.ready for c in pods.containers(pod))
    ]
