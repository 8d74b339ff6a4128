"""What has to be gone with an istiod: its pods, and the webhooks that call it."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import State
from runbook_lib.cluster import ADMISSION, REVISION_LABEL, Object, name_of, reference
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import has_ended

_WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def wait_until_gone(context: Context, revision: str) -> None:
    """Wait until no pod of a revision's istiod is left.

    Raises:
        WaitTimeout: One is still there.
    """

    def observe(found: list[Object]) -> State:
        names = [name_of(pod) for pod in found if not has_ended(pod)]
        return State(not names, f"still there: {', '.join(names)}" if names else "gone")

    context.cluster.watch_until(
        "istiod's pods to be gone",
        "v1",
        "Pod",
        context.parameters.istio.namespace,
        observe,
        labels={"app": "istiod", REVISION_LABEL: revision},
        timeout=context.parameters.timeouts.istiod,
        on_change=context.waiting,
    )


def webhooks_calling_none(context: Context) -> list[str]:
    """Return the webhook configurations that call an istiod that is gone: its Service is."""
    namespace = context.parameters.istio.namespace
    there = {name_of(each) for each in context.cluster.list("v1", "Service", namespace)}
    return [
        reference(item)
        for item, services in _called(context)
        if any(where == namespace and name not in there for where, name in services)
    ]


def _called(context: Context) -> Iterator[tuple[Object, set[tuple[str, str]]]]:
    """Yield every webhook configuration, with namespaces and names of the Services it calls."""
    for kind in _WEBHOOK_KINDS:
        for item in context.cluster.list(ADMISSION, kind):
            clients = (hook.get("clientConfig") or {} for hook in item.get("webhooks") or [])
            services = (client["service"] for client in clients if client.get("service"))
            yield item, {(each["namespace"], each["name"]) for each in services}
