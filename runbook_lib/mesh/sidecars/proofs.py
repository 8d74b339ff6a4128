"""What each sidecar really does: read from the listeners that its Envoy has now.

Istiod sends a policy to each sidecar by itself, so that the object exists proves nothing yet; and
answers from outside come from one of several replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runbook_lib.base import wait
from runbook_lib.cluster import (
    PROXY,
    Object,
    describe,
    has_sidecar,
    labels_of,
    name_of,
    namespace_of,
    pods,
)
from runbook_lib.lifecycle import Context, Row, Table
from runbook_lib.mesh import traffic
from runbook_lib.mesh.policy import (
    DISABLE,
    EVERYTHING,
    STRICT,
    TO_SOME,
    allowed_on_port,
    in_short,
    is_dry_run,
    why_not_inbound,
)
from runbook_lib.mesh.rollout import has_ended
from runbook_lib.mesh.sidecars.listeners import Listener, is_inbound, listeners_of
from runbook_lib.mesh.web import is_web


@dataclass(frozen=True)
class _Found:
    """What was found at the sidecars.

    Attributes:
        rows: A row for each sidecar and port.
        wrong: What is not yet as it is to be.
        lasting: Why it never will be, whatever time it takes.
    """

    rows: list[Row]
    wrong: list[str]
    lasting: str = ""


def accepts_plaintext(listeners: Sequence[Listener], port: int) -> bool:
    """Whether an inbound filter chain takes plaintext for a port."""
    return bool(_transports(listeners, port) - {"tls"})


def accepts_mutual_tls(listeners: Sequence[Listener], port: int) -> bool:
    """Whether an inbound filter chain takes TLS for a port."""
    return "tls" in _transports(listeners, port)


def allows(listeners: Sequence[Listener], port: int, policy: Object) -> frozenset[str] | None:
    """Return what an AuthorizationPolicy allows on a port, by what the Envoy has of it.

    Args:
        listeners: The Envoy's.
        port: The container's port.
        policy: The policy; one in dry run is looked for among the rules that only log.

    Returns:
        As `allowed_on_port`; None if a filter chain for the port has no such rules.
    """
    found = [_allowed_by(chain, port, policy) for chain in _chains(listeners, port)]
    known = [allowed for allowed in found if allowed is not None]
    if not known or len(known) < len(found):
        return None
    return in_short(frozenset[str]().union(*known))


def prove_modes(context: Context) -> Table:
    """Wait until every sidecar of the application treats plaintext as the policies want it.

    Raises:
        WaitTimeout: A sidecar has not taken the policies up in time; the error names it.
    """
    return _mode_table(_wait(context, lambda: _modes(context)))


def look_at_modes(context: Context) -> Table:
    """Ask each sidecar once what it does with plaintext; one that does not answer is shown, too."""
    return _mode_table(_modes(context).rows)


def _mode_table(rows: Iterable[Row]) -> Table:
    title = "Plaintext at each sidecar, from its own listeners"
    return Table(title, ("pod", "port", "mode", "plaintext"), _sorted(rows))


def _sorted(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: row.cells))


def _modes(context: Context) -> _Found:
    rows: list[Row] = []
    wrong: list[str] = []
    parameters = context.parameters
    namespace = parameters.application.namespace
    in_force = traffic.policies_in_force(context.cluster, parameters)
    own = traffic.of_the_runbook(parameters, in_force)
    meshed = [pod for pod in _living(context) if has_sidecar(pod) and _ports(context, pod)]
    for pod, listeners in listeners_of(context, meshed):
        name = name_of(pod)
        if isinstance(listeners, str):
            rows.append(Row((name, "-", "-", "cannot be asked"), ok=False))
            wrong.append(listeners)
            continue
        for port in _ports(context, pod):
            mode = traffic.mode_on_port(replace(own, web_labels=labels_of(pod)), namespace, port)
            if past := why_not_inbound(pod, port):
                # Nobody waits for a sidecar that is not asked; the plan has said so.
                text = f"accepted, past the sidecar: {past.text}"
                rows.append(Row((name, str(port), mode, text), None if mode == STRICT else True))
                continue
            found = accepts_plaintext(listeners, port), accepts_mutual_tls(listeners, port)
            ok = found == (mode != STRICT, mode != DISABLE)
            plaintext, tls = ("accepted" if each else "refused" for each in found)
            rows.append(Row((name, str(port), mode, plaintext), ok))
            if not ok:
                wrong.append(f"{name} port {port}: plaintext is {plaintext}, mutual TLS {tls}")
    return _Found(rows, wrong)


def prove_authorization(context: Context) -> Table:
    """Wait until every web pod decides by the runbook's AuthorizationPolicy as it is now.

    Raises:
        WaitTimeout: A pod has no sidecar, or its sidecar has not taken the policy up in time; the
            error names it.
        WaitFailed: No policy about methods can have an effect there; the error names the field.
    """
    application = context.parameters.application
    opened = (application.web.port, *application.plaintext_ports)

    def look() -> _Found:
        rows: list[Row] = []
        wrong: list[str] = []
        in_force = traffic.policies_in_force(context.cluster, context.parameters)
        own = traffic.of_the_runbook(context.parameters, in_force)
        web = [pod for pod in _living(context) if is_web(context.parameters, pod)]
        if not web:
            wrong.append("there is no web pod")
        wrong += [f"{describe(pod)}: has no sidecar" for pod in web if not has_sidecar(pod)]
        for pod, listeners in listeners_of(context, filter(has_sidecar, web)):
            if isinstance(listeners, str):
                wrong.append(listeners)
                continue
            name = name_of(pod)
            for policy in own.authorization_policies:
                for port in opened:
                    desired = allowed_on_port(policy, port)
                    found = allows(listeners, port, policy)
                    rows.append(Row((name, str(port), _text(found)), found == desired))
                    if found != desired:
                        wrong.append(
                            f"{name} port {port}: {_text(found)} in place of {_text(desired)}"
                        )
        return _Found(rows, wrong, _why_never(own.authorization_policies, in_force))

    return Table(
        "The policy at each web pod's sidecar, from its own listeners",
        ("pod", "port", "allowed"),
        _wait(context, look),
    )


def _why_never(own: Sequence[Object], in_force: traffic.Policies) -> str:
    """Say why the runbook's policies about methods cannot do what they say; empty if they can."""
    lasting = traffic.methods_without_effect(in_force) if own else None
    if lasting is None:
        return ""
    why = f" ({lasting.why})" if lasting.why else ""
    return f"a policy about methods cannot work on the web port: {lasting.text}{why}"


def ports(pod: Object) -> list[int]:
    """Return the TCP ports of the pod's own containers; the sidecar's are no workload ports."""
    return [
        port["containerPort"]
        for container in pod["spec"]["containers"]
        if container["name"] != PROXY
        for port in container.get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    ]


def _wait(context: Context, look: Callable[[], _Found]) -> tuple[Row, ...]:
    """Look until nothing is wrong, and return the rows then."""
    rows: list[Row] = []

    def observe() -> wait.State:
        found = look()
        rows[:] = _sorted(found.rows)
        if found.lasting:
            return wait.State(False, found.lasting, failed=True)
        said = "; ".join(found.wrong) or "every sidecar has the policies"
        return wait.State(not found.wrong, said)

    wait.until(
        "every sidecar to take up the policies",
        observe,
        timeout=context.parameters.timeouts.policy,
        on_change=context.waiting,
    )
    return tuple(rows)


def _living(context: Context) -> list[Object]:
    """Return the application's pods that are there to stay."""
    found = context.cluster.list("v1", "Pod", context.parameters.application.namespace)
    return [pod for pod in found if not has_ended(pod) and not pods.is_leaving(pod)]


def _ports(context: Context, pod: Object) -> list[int]:
    """Return the ports to prove at a pod: a container need not declare what it listens on."""
    application = context.parameters.application
    web = is_web(context.parameters, pod)
    known = (application.web.port, *application.plaintext_ports) if web else ()
    return list(dict.fromkeys((*ports(pod), *known)))


def _chains(listeners: Sequence[Listener], port: int) -> list[Object]:
    """Return the inbound filter chains for a port.

    A chain for exactly this port wins over one for any port, as in Envoy's filter chain match.
    """
    chains = [
        (chain, (chain.get("filterChainMatch") or {}).get("destinationPort"))
        for listener in listeners
        if is_inbound(listener)
        for chain in listener.get("filterChains") or []
    ]
    exact = [chain for chain, number in chains if number == port]
    return exact or [chain for chain, number in chains if number is None]


def _transports(listeners: Sequence[Listener], port: int) -> set[str | None]:
    chains = _chains(listeners, port)
    return {(chain.get("filterChainMatch") or {}).get("transportProtocol") for chain in chains}


def _allowed_by(chain: Object, port: int, policy: Object) -> frozenset[str] | None:
    """Return what one filter chain allows by a policy; None if it has no rules of that kind."""
    kind = "shadowRules" if is_dry_run(policy) else "rules"
    # See `policyName` in pilot/pkg/security/authz/builder/builder.go of Istio.
    begin = f"ns[{namespace_of(policy)}]-policy[{name_of(policy)}]-rule["
    allowing = [
        filter_[kind]
        for filter_ in _authorization_filters(chain)
        if kind in filter_ and filter_[kind].get("action", "ALLOW") == "ALLOW"
    ]
    if not allowing:
        return None
    allowed: set[str] = set()
    for rules in allowing:
        for name, rule in (rules.get("policies") or {}).items():
            suffix = "" if _for_everybody(rule) else TO_SOME
            for permission in rule["permissions"] if name.startswith(begin) else ():
                numbers = list(_values(permission, "destinationPort"))
                if not numbers or port in numbers:
                    allowed.update(f"{m}{suffix}" for m in _methods(permission) or [EVERYTHING])
    return in_short(allowed)


def _authorization_filters(chain: Object) -> Iterator[Object]:
    """Yield the configuration of each RBAC filter, for connections and for requests."""
    for item in chain.get("filters") or []:
        config = item.get("typedConfig") or {}
        if item["name"] == "envoy.filters.network.rbac":
            yield config
        for each in config.get("httpFilters") or []:
            if each["name"] == "envoy.filters.http.rbac":
                yield each.get("typedConfig") or {}


def _for_everybody(rule: Object) -> bool:
    """Whether a rule asks for no source: istiod writes `any` then."""
    principals = rule.get("principals") or []
    return not principals or any(True in _values(each, "any") for each in principals)


def _methods(permission: Object) -> list[str]:
    return [
        header["stringMatch"]["exact"]
        for header in _values(permission, "header")
        if header["name"] == ":method"
    ]


def _values(tree: Any, key: str) -> Iterator[Any]:
    """Yield what stands under a key, at any depth: permissions nest in sets of permissions."""
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if name == key:
            yield value
        elif isinstance(value, dict | list):
            yield from _values(value, key)


def _text(allowed: frozenset[str] | None) -> str:
    return "no policy" if allowed is None else ", ".join(sorted(allowed)) or "nothing"
