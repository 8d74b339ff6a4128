"""Webhooks that nothing serves: the API server refuses what it would ask them about."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared.preflight.helm import release_of
from runbook_lib.chapters.shared.preflight.wording import kubectl
from runbook_lib.cluster import ADMISSION, Object, name_of, ownership, ref
from runbook_lib.lifecycle import Context, Finding

_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def webhooks(context: Context) -> Iterator[Finding]:
    """Find webhooks that refuse pods, or Istio's objects, because their Service is gone."""
    istio = context.parameters.istio
    own = {(r.release, istio.namespace) for r in (istio.base, istio.istiod)}
    for kind in _WEBHOOKS:
        for item in context.cluster.list(ADMISSION, kind):
            if release_of(item) in own:
                continue  # its Service comes with the release
            dead = list(dict.fromkeys(_dead_services(context, item)))
            if not dead:
                continue
            name = name_of(item)
            yield Finding(
                ref(kind, name),
                f"asks {', '.join(dead)}, which does not exist, and refuses when it gets no answer",
                "what it is asked about cannot be created: a restart would leave no pod",
                "bring the Service back; or, if what it belonged to is gone for good "
                f"(made by {ownership.makers(item)}): {kubectl('delete', kind.lower(), name)}",
            )


def _dead_services(context: Context, configuration: Object) -> Iterator[str]:
    for webhook in configuration.get("webhooks") or []:
        service = webhook["clientConfig"].get("service")
        if service is None or webhook.get("failurePolicy", "Fail") != "Fail":
            continue
        if not any(_concerns_us(rule) for rule in webhook.get("rules") or []):
            continue
        name, namespace = service["name"], service["namespace"]
        if context.cluster.get("v1", "Service", name, namespace) is None:
            yield ref("Service", name, namespace)


def _concerns_us(rule: Object) -> bool:
    groups, resources = rule.get("apiGroups") or [], rule.get("resources") or []
    ours = any(group == "*" or group.endswith(".istio.io") for group in groups)
    pods = any(group in ("", "*") for group in groups) and bool({"pods", "*", "*/*"} & {*resources})
    return ours or pods
