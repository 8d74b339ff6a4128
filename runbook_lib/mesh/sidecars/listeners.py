"""The listeners that sidecars have now, asked of each by istioctl."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runbook_lib.base import CommandError
from runbook_lib.cluster import Object, describe, name_of
from runbook_lib.lifecycle import Context

Listener = dict[str, Any]
"""A listener of Envoy's, as in `istioctl proxy-config listeners --output json`."""

_LIMIT = 15.0
"""Seconds to ask one sidecar: one that does not answer must not use up the time for all."""

_AT_ONCE = 8


def listeners_of(
    context: Context, meshed: Iterable[Object]
) -> Iterator[tuple[Object, list[Listener] | str]]:
    """Yield pods with their listeners, or with a text that names the pod and says why not.

    A pod that starts, or goes while it is asked, is a state and no failure.

    Args:
        context: Where.
        meshed: Pods of the application with sidecars.
    """
    namespace = context.parameters.application.namespace
    istioctl = context.istioctl.within(min(_LIMIT, context.parameters.timeouts.policy))

    def ask(pod: Object) -> list[Listener] | str:
        name = name_of(pod)
        try:
            listeners = istioctl.proxy_config_listeners_json(name, namespace=namespace)
        except CommandError as error:
            last = error.stderr.strip().splitlines()[-1:] or [error.cause.split("\n")[0]]
            return f"{describe(pod)}: its sidecar cannot be asked: {last[0]}"
        if not any(map(is_inbound, listeners)):
            return f"{describe(pod)}: its sidecar has no listeners yet"
        return listeners

    asked = list(meshed)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from zip(asked, threads.map(ask, asked), strict=True)


def is_inbound(listener: Listener) -> bool:
    """Whether it takes what is sent to the pod."""
    return listener.get("trafficDirection") == "INBOUND"
