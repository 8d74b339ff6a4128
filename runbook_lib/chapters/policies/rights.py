"""What the policies of chapters 04 and 05, and their way back, need besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import APPLY, Right
from runbook_lib.parameters import Parameters

_SECURITY, _ISTIO = "security.istio.io", "networking.istio.io"
_CHANGE = (*APPLY, "delete")
"""Also deleted: a policy whose step fails is taken back."""

_POLICIES = ("authorization-dry-run", "authorization-read-only", "authorization-methods")


def mutual_tls(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of chapter 04."""
    given, application = parameters.mutual_tls, parameters.application.namespace
    mesh, kind = parameters.istio.namespace, ("peerauthentications",)
    strict, exception = ("mutual-tls-strict",), ("mutual-tls-exception",)
    return (
        Right(kind, _CHANGE, _SECURITY, mesh, (given.policy,), strict, tried=True),
        Right(kind, _CHANGE, _SECURITY, application, (given.exception,), exception, tried=True),
        # A pod as it would be with a sidecar is only tried, as a dry run.
        Right(("pods",), APPLY, "", application, steps=strict, tried=True),
        *_callers(parameters, "mutual-tls-asked"),
    )


def authorization(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of chapter 05."""
    given, namespace = parameters.authorization, parameters.application.namespace
    log, rule = ("authorization-dry-run-read",), ("authorization-destination-rule",)
    return (
        Right(
            ("destinationrules",),
            _CHANGE,
            _ISTIO,
            namespace,
            (given.destination_rule,),
            rule,
            tried=True,
        ),
        Right(
            ("authorizationpolicies",),
            _CHANGE,
            _SECURITY,
            namespace,
            (given.policy,),
            _POLICIES,
            tried=True,
        ),
        Right(
            ("envoyfilters",),
            _CHANGE,
            _ISTIO,
            namespace,
            (f"{given.policy}-dry-run",),
            log,
            tried=True,
        ),
        *_callers(parameters, "authorization-asked"),
    )


def mutual_tls_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what the way back of chapter 04 needs: PERMISSIVE first, then nothing."""
    given, kind = parameters.mutual_tls, ("peerauthentications",)
    mesh, application = parameters.istio.namespace, parameters.application.namespace
    steps = ("rollback-permissive", "rollback-mutual-tls")
    return (
        Right(kind, ("patch",), _SECURITY, mesh, (given.policy,), steps[:1], tried=True),
        Right(kind, ("delete",), _SECURITY, mesh, (given.policy,), steps[1:]),
        Right(kind, ("delete",), _SECURITY, application, (given.exception,), steps[1:]),
    )


def authorization_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what the way back of chapter 05 needs."""
    given, namespace = parameters.authorization, parameters.application.namespace
    steps = ("rollback-authorization",)
    return (
        Right(
            ("authorizationpolicies",), ("delete",), _SECURITY, namespace, (given.policy,), steps
        ),
        Right(
            ("destinationrules",), ("delete",), _ISTIO, namespace, (given.destination_rule,), steps
        ),
    )


def _callers(parameters: Parameters, step: str) -> tuple[Right, ...]:
    """Return what pods that are there only to call need, in each namespace that has one."""
    if not parameters.application.ask_from_pods:
        return ()
    namespace = parameters.application.namespace
    return (Right(("jobs",), _CHANGE, "batch", namespace, steps=(step,), tried=True),)
