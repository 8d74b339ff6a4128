"""Whether Kiali works: asked through its API as its pages would, with right and wrong tokens."""

from __future__ import annotations

import contextlib

from runbook_lib.base import CommandError, KindNotInstalled, WaitTimeout, wait
from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.kiali.client import REFUSED, Kiali, KialiAnswer, Validation
from runbook_lib.cluster import Object, accounts
from runbook_lib.lifecycle import Check, Context, Table, table
from runbook_lib.mesh import SECURITY_API, istiod_name, revisions

_WRONG_TOKEN = "not-a-token"
_READS = ("prometheus", "tracing")
"""What Kiali reads; without it, and without istiod, it shows little."""

_HEALTHY = "Healthy"
_ENABLED = "MTLS_ENABLED"


def prove(context: Context) -> tuple[Table, Table]:
    """Ask Kiali everything until all of it is as it should be, or time is up.

    Returns:
        What was asked, and what Kiali finds wrong in the application's namespace.
    """
    parameters = context.parameters
    token = accounts.token(
        context.cluster, parameters.istio.namespace, kiali_access.account(parameters)
    )
    checks: list[Check] = []
    findings: list[Validation] = []

    def observe() -> wait.State:
        checks[:], findings[:] = _look(context, token)
        wrong = [f"{check.subject}: {check.found}" for check in checks if check.ok is False]
        return wait.State(not wrong, "; ".join(wrong) or "everything is as it should be")

    # If time runs out, the table says what is wrong.
    with contextlib.suppress(WaitTimeout):
        wait.until(
            "Kiali to show the mesh",
            observe,
            timeout=parameters.timeouts.policy,
            interval=1.0,
            on_change=context.waiting,
        )
    rows = tuple((f.severity, f.code, f.object, f.message) for f in findings)
    title = f"What Kiali finds in {parameters.application.namespace}"
    columns = ("severity", "code", "object", "finding")
    return table.of_checks("Kiali's own answers", checks), Table.shown(title, columns, rows)


def _look(context: Context, token: str) -> tuple[list[Check], list[Validation]]:
    parameters = context.parameters
    checks: list[Check] = []
    findings: list[Validation] = []
    try:
        with context.forwarded(
            f"service/{parameters.kiali.name}", parameters.istio.namespace, manifest.KIALI_PORT
        ) as (url,):
            kiali = Kiali(url, parameters.kiali.web_root, timeout=parameters.timeouts.probe)
            kiali.healthy()
            checks.append(Check("healthz", "answers", ok=True))
            checks += _login_checks(kiali, token)
            if table.all_ok(checks):
                checks += _mesh_checks(context, kiali)
                findings = kiali.findings(parameters.application.namespace)
    except CommandError as error:
        checks.append(Check("way to Kiali", error.stderr or error.cause, ok=False))
    except KialiAnswer as error:
        checks.append(Check("answer", str(error), ok=False))
    return checks, findings


def _login_checks(kiali: Kiali, token: str) -> list[Check]:
    """The wrong token first: the right one leaves a session behind."""
    anonymous = kiali.status_without_session()
    wrong = kiali.log_in(_WRONG_TOKEN)
    right = kiali.log_in(token)
    return [
        Check("without a token", str(anonymous), anonymous == REFUSED),
        Check("with a wrong token", str(wrong), wrong == REFUSED),
        Check("with a token", str(right), right == 200),
    ]


def _mesh_checks(context: Context, kiali: Kiali) -> list[Check]:
    parameters = revisions.of_cluster(context.cluster, context.parameters)
    components = kiali.components()
    # Kiali names istiod by its Deployment, whose name carries the revision.
    istiod = istiod_name(parameters)
    checks = [
        Check(f"sees {name}", components.get(name, "no"), components.get(name) == _HEALTHY)
        for name in (istiod, *_READS)
    ]
    seen, strict = kiali.mesh_tls(parameters.istio.revision), _mesh_is_strict(context)
    checks.append(Check("mutual TLS in the mesh", seen, (seen == _ENABLED) == strict))
    application = parameters.application.namespace
    visible = application in kiali.namespaces()
    checks.append(Check(f"namespace {application}", "shown" if visible else "not shown", visible))
    return checks


def _mesh_is_strict(context: Context) -> bool:
    """Whether a policy for the whole mesh refuses plaintext."""
    try:
        found = context.cluster.list(
            SECURITY_API, "PeerAuthentication", context.parameters.istio.namespace
        )
    except KindNotInstalled:
        return False
    return any(_is_mesh_wide(policy) for policy in found)


def _is_mesh_wide(policy: Object) -> bool:
    spec = policy.get("spec") or {}
    return not spec.get("selector") and (spec.get("mtls") or {}).get("mode") == "STRICT"
