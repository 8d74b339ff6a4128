"""How people reach Kiali: its Service, its address, and whose account they log in with."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from runbook_lib.chapters.kiali import manifest
from runbook_lib.cluster import (
    APPS,
    NETWORKING,
    Object,
    in_url,
    labels_of,
    name_of,
    ref,
)
from runbook_lib.lifecycle import Check, Context, Table, table
from runbook_lib.mesh import rollout
from runbook_lib.parameters import Parameters

_OPERATOR = {"app.kubernetes.io/name": "kiali-operator"}


@dataclass(frozen=True)
class Address:
    """Where Kiali is from outside.

    Attributes:
        url: What to open; empty as long as there is none.
        balancer: The load balancer's own name, which the host must point to; may be empty.
        lacking: Why there is no balancer yet; empty if there is one, or none is desired.
    """

    url: str
    balancer: str = ""
    lacking: str = ""


def account(parameters: Parameters) -> str:
    """The service account that the operator makes for Kiali itself."""
    return f"{parameters.kiali.name}-service-account"


def accounts(context: Context) -> list[str]:
    """The accounts to log in with: those of readers, then Kiali's own."""
    namespace = context.parameters.istio.namespace
    found = context.cluster.list("v1", "ServiceAccount", namespace)
    marked = [name_of(item) for item in found if manifest.READER_LABEL in labels_of(item)]
    own = account(context.parameters)
    return [*sorted(marked), *(own for item in found if name_of(item) == own)]


def service(context: Context) -> Object | None:
    """Kiali's Service."""
    name, namespace = context.parameters.kiali.name, context.parameters.istio.namespace
    return context.cluster.get("v1", "Service", name, namespace)


def address(context: Context) -> Address:
    """Look up where Kiali is from outside, and say why it is nowhere yet."""
    desired = context.parameters.kiali
    if desired.exposure == "cluster":
        return Address("")
    kind = "Service" if desired.exposure in manifest.WITH_BALANCER else "Ingress"
    balancer = _balancer(context, kind)
    lacking = "" if balancer else _why_no_balancer(context, kind)
    if kind == "Ingress":
        # The host is known, and may lead there even where no controller writes down an address.
        return Address(f"https://{desired.host}{desired.web_root}", balancer, lacking)
    if not balancer:
        return Address("", lacking=lacking)
    if desired.exposure == "nlb-tls":
        return Address(f"https://{desired.host}:{manifest.KIALI_PORT}{desired.web_root}", balancer)
    return Address(f"http://{in_url(balancer)}:{manifest.KIALI_PORT}{desired.web_root}", balancer)


def forward_command(context: Context) -> str:
    """The command that brings Kiali to this machine, whatever its exposure."""
    desired, namespace = context.parameters.kiali, context.parameters.istio.namespace
    return (
        f"{_kubectl(context)} --namespace {namespace} port-forward service/{desired.name} "
        f"{manifest.KIALI_PORT}:{manifest.KIALI_PORT}"
    )


def token_command(context: Context, name: str) -> str:
    """The command that makes a token of an account."""
    namespace, minutes = context.parameters.istio.namespace, context.parameters.kiali.token_minutes
    return f"{_kubectl(context)} --namespace {namespace} create token {name} --duration={minutes}m"


def _kubectl(context: Context) -> str:
    """Kubectl on the pinned cluster."""
    return context.target.kubeconfig.kubectl(context.target.context)


def operator_log_command(parameters: Parameters) -> str:
    """The command that shows what the operator does and says."""
    labels = ",".join(f"{key}={value}" for key, value in _OPERATOR.items())
    namespace = parameters.kiali.operator_namespace
    return f"kubectl --namespace {namespace} logs --tail=100 --selector={labels}"


def operator_deployment(context: Context) -> Object | None:
    """The operator's Deployment: charts do not name it after the release."""
    namespace = context.parameters.kiali.operator_namespace
    found = context.cluster.list(APPS, "Deployment", namespace, _OPERATOR)
    return found[0] if found else None


def state_table(context: Context) -> Table:
    """What there is of Kiali and of what it reads, before anything is planned."""
    parameters = context.parameters
    kiali, istio = parameters.kiali, parameters.istio.namespace
    operator = operator_deployment(context)
    checks = [Check(f"operator in {kiali.operator_namespace}", _counts(operator), ok=None)]
    for name in ("prometheus", "jaeger", kiali.name):
        found = context.cluster.get(APPS, "Deployment", name, istio)
        checks.append(Check(ref("Deployment", name, istio), _counts(found), ok=None))
    found = service(context)
    kind = str(found["spec"]["type"]) if found else "not there"
    checks.append(Check(ref("Service", kiali.name, istio), kind, ok=None))
    return table.of_checks("Kiali", checks)


def _counts(deployment: Object | None) -> str:
    return rollout.progress(deployment)[1] if deployment else "not there"


def ways_in(context: Context) -> Table:
    """Where Kiali is, how to log in, and what the lab lacks."""
    desired, found = context.parameters.kiali, address(context)
    local = f"http://127.0.0.1:{manifest.KIALI_PORT}{desired.web_root}"
    outside = "; ".join(filter(None, [found.url, found.lacking]))
    rows = [("from outside", outside or "no way in: exposure is cluster")]
    if desired.exposure not in ("cluster", "load-balancer") and found.balancer:
        rows.append(("DNS", f"{desired.host} must lead to {found.balancer}"))
    rows.append(("from this machine", f"{forward_command(context)}, then {local}"))
    rows += [("token", token_command(context, name)) for name in accounts(context)]
    if not context.target.allows.serves_pages:
        rows.append(
            (
                "in the lab",
                "Kiali answers its API and has no pages: its build comes without them",
            )
        )
    return Table.shown("Ways into Kiali", ("what", "how"), rows)


def look_from_here(context: Context) -> Check:
    """Ask Kiali by its address: a load balancer for others need not be reachable from here."""
    url = f"{address(context).url}/healthz"
    timeout = context.parameters.timeouts.probe
    try:
        found = httpx.get(url, timeout=timeout, trust_env=False).status_code
    except httpx.HTTPError as error:
        why = type(error).__name__
        return Check("asked from here", f"no answer ({why}): try it where people are", ok=None)
    return Check("asked from here", f"answers {found}", ok=True if found == 200 else None)


def _ingress(context: Context) -> Object | None:
    name, namespace = context.parameters.kiali.name, context.parameters.istio.namespace
    return context.cluster.get(NETWORKING, "Ingress", name, namespace)


def _balancer(context: Context, kind: str) -> str:
    """Return the name or address that a load balancer's controller has written down."""
    found = (_ingress(context) if kind == "Ingress" else service(context)) or {}
    entries = ((found.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return next((str(e.get("hostname") or e.get("ip") or "") for e in entries), "")


def _why_no_balancer(context: Context, kind: str) -> str:
    name, namespace = context.parameters.kiali.name, context.parameters.istio.namespace
    where = ref(kind, name, namespace)
    events = context.cluster.events(namespace, name, kind=kind)
    if events:
        return f"no address yet, because {where} says: {events[-1]}"
    return (
        f"no address yet, and no event says why: is there a controller for {where}, such as the "
        "AWS Load Balancer Controller?"
    )
