"""What users of the application lose while pods are replaced, or while policies change."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.cluster import Object, place_of, reference
from runbook_lib.lifecycle import Client, Context, Interruption, Loss
from runbook_lib.mesh import patience, rollout

OVER_HTTP = (Client.BROWSER, Client.REST, Client.UPLOAD)
"""Who sends HTTP requests."""

_DRAIN = 15
"""Seconds for which a load balancer may still send requests to a pod that ends.

It learns of that from the API server, and takes its targets out one by one; see
https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/pod_readiness_gate/.
"""


def outside(context: Context) -> tuple[Client, ...]:
    """Return who comes from outside: imaging devices only where there is a port for them."""
    devices = (Client.DEVICE,) if context.parameters.application.plaintext_ports else ()
    return (*OVER_HTTP, *devices)


def of_replacement(context: Context, workload: Object) -> Iterator[Interruption]:
    """Say what users lose while a workload of the application replaces its pods.

    What is not the web workload is taken for something that it depends on.
    """
    parameters = context.parameters
    web = parameters.application.web
    kind, name, _ = place_of(workload)
    where = reference(workload)
    found = rollout.pods_of(context, workload)
    if (kind, name) != (web.kind, web.name):
        if _alone(workload):
            yield Interruption(
                OVER_HTTP,
                Loss.DEPENDENT,
                f"whatever needs {name}, such as logging in and saving, ends in an error",
                f"{where} has one pod, which is replaced",
                patience.seconds_away(workload, found),
            )
        return
    if _alone(workload):
        served = patience.seconds_until_served(context)
        yield Interruption(
            outside(context),
            Loss.EVERYTHING,
            "no answer: the load balancer says 502, 503 or 504",
            f"{where} has one pod, which is replaced",
            round(patience.seconds_away(workload, found) + served),
        )
    else:
        yield Interruption(
            outside(context),
            Loss.SINGLE_REQUESTS,
            "single requests fail, and can be sent again",
            f"{where} replaces its pods in turn, and each is asked until everything has noticed",
            _DRAIN,
        )
    yield Interruption(
        (Client.BROWSER, Client.REST),
        Loss.UNFINISHED,
        "whoever was served by a pod that is replaced has to log in again",
        "sessions are kept in the pod",
        0,
    )
    grace = patience.seconds_to_end(workload["spec"]["template"])
    yield Interruption(
        (Client.UPLOAD,),
        Loss.UNFINISHED,
        "an upload to a pod that is replaced ends, and has to be sent again",
        f"a pod has {grace} s to end",
        0,
    )


def _alone(workload: Object) -> bool:
    """Whether nothing answers while a workload's pod is replaced."""
    return workload["spec"].get("replicas", 1) <= 1 and patience.max_surge(workload) == 0
