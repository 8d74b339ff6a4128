"""What no other rule explains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.cluster import name_of, namespace_of, reference
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.tools import Message

_ANALYSIS = "https://istio.io/latest/docs/reference/config/analysis/"
_JUDGED = ("IST0102", "IST0103", "IST0118", "IST0123", "IST0127", "IST0139", "IST0158")
"""Messages about what other rules judge."""


_rule = partial(registry.rule, registry.Area.CONFIGURATION, "07_troubleshoot")


@registry.rule(registry.Area.CONFIGURATION, "05_authorization", order=429, needs=("dry_run_log",))
def dry_run_log_left(seen: Observation) -> Iterator[Cause]:
    """The access log of a dry run is still there, as after a run that was killed while it read."""
    if (found := seen.dry_run_log) is None:
        return
    yield Cause(
        reference(found),
        "it has the web pods' sidecars log what a dry run decides, and was not removed",
        "method and path of each request are written to the sidecars' logs, for whoever reads them",
        "unless a run is reading it now, run notebook 05_authorization, which removes it; or: "
        f"kubectl --namespace {namespace_of(found)} delete envoyfilter {name_of(found)}",
        (f"since {found['metadata'].get('creationTimestamp', 'an unknown time')}",),
        link="https://istio.io/latest/docs/tasks/security/authorization/authz-dry-run/",
    )


@_rule(
    order=430,
    needs=("messages",),
    explained_by=(
        "service-missing",
        "service-selects-nothing",
        "scaled-to-zero",
        "target-port-wrong",
    ),
)
def analyze(seen: Observation) -> Iterator[Cause]:
    """What `istioctl analyze` warns of, and no other rule does."""
    for message in seen.messages:
        if message.level == "Info" or message.code in _JUDGED or _of_dry_run(seen, message):
            continue
        yield Cause(
            message.origin,
            message.text,
            "istioctl analyze warns",
            "istioctl analyze --namespace " + seen.parameters.application.namespace,
            (f"{message.code} ({message.level}) {message.origin}: {message.text}",),
            link=f"{_ANALYSIS}{message.code.lower()}/",
        )


def _of_dry_run(seen: Observation, message: Message) -> bool:
    """Whether a message is about what logs a dry run: it warns of every EnvoyFilter."""
    return seen.dry_run_log is not None and name_of(seen.dry_run_log) in message.origin


def unexplained(seen: Observation) -> Cause | None:
    """Return a finding that says that wrong answers have no cause in what was seen."""
    if not seen.wrong_answers:
        return None
    first = seen.wrong_answers[0]
    beyond = "it lies beyond the cluster: load balancer, its target health, DNS, certificates"
    inside = "it lies in the application"
    return Cause(
        "the site",
        "nothing in the cluster explains the answers: perhaps "
        + (beyond if first.unreachable else inside),
        first.text,
        "look at the load balancer's target health, then turn the access log on "
        "(meshConfig.accessLogFile: /dev/stdout) and read the response flags",
        tuple(answer.text for answer in seen.wrong_answers),
        link="https://istio.io/latest/docs/ops/common-problems/network-issues/",
        outside=True,
        name="unexplained",
    )
