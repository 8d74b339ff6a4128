"""What went wrong on the way to an API server, or there, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runbook_lib.base import ClusterRefused, ClusterUnreachable
from runbook_lib.cluster.connection import clock
from runbook_lib.cluster.connection.kubeconfig import Kubeconfig


@contextmanager
def api_errors(kubeconfig: Kubeconfig, context: str, doing: str) -> Iterator[None]:
    """Turn the client's errors into the runbook's, naming what was being done.

    Raises:
        ClusterUnreachable: No answer, or an answer that says who is asking is unknown.
        ClusterRefused: Every other error that the API server answers.
    """
    import urllib3
    from kubernetes.client.exceptions import ApiException

    look = kubeconfig.kubectl(context, "get", "--raw", "/readyz")
    remedy = (
        "check that the cluster is running, that this machine reaches it (VPN?) and that the "
        f"kubeconfig's credentials are valid: {look}"
    )
    try:
        yield
    except ApiException as error:
        status, reason, message = describe(error)
        if status == 0:
            raise ClusterUnreachable(
                f"no answer from the API server ({doing}): {message}", remedy
            ) from error
        if status == 401:
            clocks = clock.difference(clock.time_in(error.headers))
            raise ClusterUnreachable(
                f"the API server does not accept the credentials ({doing}: 401 {reason})"
                + (f"; {clocks}" if clocks else ""),
                _set_the_clock(remedy) if clocks else remedy,
            ) from error
        raise ClusterRefused(
            f"{doing}: {status} {reason}: {message}",
            _refusal_remedy(status, message),
            status=status,
            reason=reason,
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        clocks = clock.of_certificate(error, lambda: kubeconfig.context(context).server)
        raise ClusterUnreachable(
            f"no answer from the API server ({doing}): {_cause(error)}"
            + (f"; {clocks}" if clocks else ""),
            _set_the_clock(remedy) if clocks else remedy,
        ) from error


def _set_the_clock(remedy: str) -> str:
    return f"set this machine's clock (timedatectl); if it is right, {remedy}"


def describe(error: Any) -> tuple[int, str, str]:
    """Return status, reason and message of an API error; the server sends them as a Status."""
    try:
        status = json.loads(error.body or "")
    except ValueError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    reason = status.get("reason") or error.reason or "no reason given"
    return int(error.status or 0), str(reason), str(status.get("message") or error.reason or "")


def _refusal_remedy(status: int, message: str) -> str:
    if "admission webhook" in message or "failed calling webhook" in message:
        return "a webhook decides here: check that its service has ready pods and is reachable"
    if status == 403 and '"system:anonymous"' in message:
        return "nobody is logged in: the context's user has no credentials in the kubeconfig"
    if status == 403:
        return (
            "have it granted: docs/rights.md has the roles that the runbook needs; "
            "try it: kubectl auth can-i VERB RESOURCE"
        )
    if status == 404:
        return "create what is missing first"
    if status in (429, 500, 503, 504):
        return "the API server is busy or failing: run again; running again is safe"
    return "correct the object"


def _cause(error: BaseException) -> str:
    """Return the innermost explanation: urllib3 wraps it several times."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _cause(reason)
    return str(error) or type(error).__name__
