"""What each sidecar really does with plaintext: read from the listeners that its Envoy has now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from runbook_lib import traffic, wait
from runbook_lib.context import Context
from runbook_lib.pods import PROXY, has_sidecar
from runbook_lib.rollout import has_ended
from runbook_lib.table import Table, yes_no

Listener = dict[str, Any]
_Row = tuple[str, str, str, str, str]


def accepts_plaintext(listeners: Sequence[Listener], port: int) -> bool:
    """Whether an inbound filter chain takes plaintext for a port.

    A chain for exactly this port wins over one for any port, as in Envoy's filter chain match.
    """
    matches = [
        chain.get("filterChainMatch") or {}
        for listener in listeners
        if listener.get("trafficDirection") == "INBOUND"
        for chain in listener.get("filterChains") or []
    ]
    exact = [match for match in matches if match.get("destinationPort") == port]
    candidates = exact or [match for match in matches if "destinationPort" not in match]
    return any(match.get("transportProtocol") != "tls" for match in candidates)


def prove_modes(context: Context) -> Table:
    """Wait until every sidecar of the application treats plaintext as the policies want it.

    Istiod sends a policy to each sidecar by itself; that the object exists proves nothing yet.

    Raises:
        WaitTimeout: A sidecar has not taken the policies up in time; the error names it.
    """
    rows: list[_Row] = []

    def observe() -> wait.State:
        rows[:] = sorted(_rows(context))
        wrong = [
            f"{pod} port {port}: plaintext is {found}"
            for pod, port, _, found, ok in rows
            if ok != yes_no(True)
        ]
        return wait.State(not wrong, "; ".join(wrong) or "every sidecar has the policies")

    wait.until(
        "every sidecar to take up the policies",
        observe,
        timeout=context.parameters.timeouts.policy,
        on_change=context.waiting,
    )
    columns = ("pod", "port", "mode", "plaintext", "ok")
    return Table("Plaintext at each sidecar, from its own listeners", columns, tuple(rows))


def _rows(context: Context) -> Iterator[_Row]:
    parameters = context.parameters
    namespace = parameters.application.namespace
    in_force = traffic.policies_in_force(context.cluster, parameters)
    own = traffic.of_the_runbook(parameters, in_force)
    for pod in context.cluster.list("v1", "Pod", namespace):
        found = ports(pod)
        if has_ended(pod) or not has_sidecar(pod) or not found:
            continue
        name, labels = pod["metadata"]["name"], pod["metadata"].get("labels") or {}
        listeners = context.istioctl.proxy_config_listeners_json(name, namespace=namespace)
        for port in found:
            mode = traffic.mode_on_port(replace(own, web_labels=labels), namespace, port)
            accepted = accepts_plaintext(listeners, port)
            plaintext = "accepted" if accepted else "refused"
            ok = accepted is (mode != "STRICT")
            yield name, str(port), mode, plaintext, yes_no(ok)


def ports(pod: dict[str, Any]) -> list[int]:
    """Return the TCP ports of the pod's own containers; the sidecar's are no workload ports."""
    return [
        port["containerPort"]
        for container in pod["spec"]["containers"]
        if container["name"] != PROXY
        for port in container.get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    ]
