"""Ask the API server for each right, before the first change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from runbook_lib.base import ClusterRefused, command_line
from runbook_lib.chapters.shared.rights.right import AccountRole, Right
from runbook_lib.cluster import Cluster, accounts
from runbook_lib.lifecycle import Finding, Severity

_THREADS = 16


def missing(cluster: Cluster, role: AccountRole) -> Iterator[tuple[Right, Finding]]:
    """Find what this account may not do.

    Each right is asked for by itself, verb by verb: a list of all rules, which the API server
    offers as well, is incomplete where another authorizer than RBAC decides, as on EKS.

    Args:
        cluster: Where, and as whom.
        role: What it needs.

    Yields:
        Each right that is missing, even in part, and what to do about it; where the API server
        does not say, a note of that.
    """

    def denied(right: Right) -> list[accounts.Access] | ClusterRefused:
        try:
            return [each for each in _asked(cluster, right) if not accounts.may_i(cluster, each)]
        except ClusterRefused as error:
            return error

    with ThreadPoolExecutor(_THREADS) as threads:
        for right, found in zip(role.rights, threads.map(denied, role.rights), strict=True):
            if isinstance(found, ClusterRefused):
                yield right, _unknown(right, found)
            elif found:
                yield right, _finding(role, right, found)


def _asked(cluster: Cluster, right: Right) -> Iterator[accounts.Access]:
    """Yield what has to be asked; what is allowed for all objects is so for each name."""
    for resource in right.resources:
        for verb in right.verbs:
            every = accounts.Access(verb, resource, right.group, right.namespace)
            if right.names and not accounts.may_i(cluster, every):
                yield from (every._replace(name=name) for name in right.names)
            elif not right.names:
                yield every


def _finding(role: AccountRole, right: Right, denied: Sequence[accounts.Access]) -> Finding:
    first = denied[0]
    where = f"in namespace {right.namespace}" if right.namespace else "in the whole cluster"
    names = sorted({each.name for each in denied if each.name})
    verbs = list(dict.fromkeys(each.verb for each in denied))
    grant = command_line("rights", "--role", role.name, "--parameters", "FILE")
    what = ", ".join(dict.fromkeys(each.kind for each in denied))
    return Finding(
        f"Right of {role.name}",
        f"this account may not {', '.join(verbs)} {what}"
        + (f" named {', '.join(names)}" if names else "")
        + f" {where}",
        f"{', '.join(right.steps) or 'every step'} would end with 403 half-way",
        f"have it granted: {grant} | kubectl apply --server-side --filename -; "
        f"try it: {first.command}",
        name="right-missing",
    )


def _unknown(right: Right, error: ClusterRefused) -> Finding:
    return Finding(
        f"Right to {', '.join(right.verbs)} {', '.join(right.resources)}",
        f"cannot tell whether this account has it: {error.cause}",
        "a step that needs it may end with 403",
        error.remedy,
        severity=Severity.NOTE,
        name="right-unknown",
    )
