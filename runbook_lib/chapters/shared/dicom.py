"""The door for imaging devices: where it is, whether it should be open, and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from runbook_lib.base import VerificationFailed, WaitTimeout, wait
from runbook_lib.cluster import Object, has_sidecar, labels_of, name_of, reference
from runbook_lib.lifecycle import Context, Row, Table
from runbook_lib.mesh import traffic, web_pods
from runbook_lib.mesh.policy import service_targets, why_not_inbound
from runbook_lib.parameters import DicomParameters
from runbook_lib.site import dicom

_SUCCESSES = 3
_INTERVAL = 0.1
_TITLE = "DICOM from outside, a C-ECHO over connections of their own"


class _Door(NamedTuple):
    """A way in for devices.

    Attributes:
        name: What people call it, the same on every cluster.
        host: The name or address; empty if it is not known.
        port: The port there.
    """

    name: str
    host: str
    port: int


def prove(context: Context) -> tuple[Table, ...]:
    """Wait until devices are answered at every door, or at none, as the policies in force imply.

    Returns:
        A table with a row a door; nothing where the parameters name no DICOM.

    Raises:
        VerificationFailed: They are not in time; the error shows the table.
    """
    ask = _asking(context)
    if ask is None:
        return ()
    seen = Table(_TITLE, (), ())

    def observe() -> wait.State:
        nonlocal seen
        seen = ask()
        return wait.State(seen.ok, "; ".join(": ".join(row.cells[:2]) for row in seen.rows))

    try:
        wait.until(
            "the expected answers to devices",
            observe,
            timeout=context.parameters.timeouts.policy,
            interval=_INTERVAL,
            successes=_SUCCESSES,
            on_change=context.waiting,
        )
    except WaitTimeout as error:
        raise VerificationFailed(
            f"devices did not get the expected answers:\n{seen}",
            "see that the address leads from here to the port, and that the receiver runs; name "
            "another address in application.dicom.address, or leave application.dicom out",
        ) from error
    return (seen,)


def look(context: Context) -> tuple[Table, ...]:
    """Ask once, and return the answers as `prove` does."""
    ask = _asking(context)
    return () if ask is None else (ask(),)


def _asking(context: Context) -> Callable[[], Table] | None:
    """Return what asks at every door once; None where the parameters name no DICOM."""
    given = context.parameters.application.dicom
    if given is None:
        return None
    doors = list(_doors(context, given))
    open_ = _should_be_open(context, given.port)

    def ask() -> Table:
        rows = tuple(_asked(context, given, door, open_=open_) for door in doors)
        return Table(_TITLE, ("door", "found", "expected"), rows)

    return ask


def _asked(context: Context, given: DicomParameters, door: _Door, *, open_: bool | None) -> Row:
    expected = {True: "answered", False: "not answered", None: "cannot be derived"}[open_]
    if not door.host:
        unknown = "not asked: no address is known; give it as application.dicom.address"
        return Row((door.name, unknown, expected))
    found = dicom.echo(
        door.host, door.port, title=given.ae_title, timeout=context.parameters.timeouts.probe
    )
    ok = None if open_ is None else found.answered is open_
    return Row((door.name, found.text, expected), ok)


def _should_be_open(context: Context, port: int) -> bool | None:
    """Whether the runbook's policies in force let devices in; None if that cannot be derived."""
    parameters = context.parameters
    web = web_pods(context.cluster, context.parameters)
    if any(has_sidecar(pod) and why_not_inbound(pod, port) is not None for pod in web):
        return True
    policies = traffic.of_the_runbook(
        parameters, traffic.policies_in_force(context.cluster, parameters)
    )
    return traffic.takes_plaintext_tcp(parameters, policies, port)


def _doors(context: Context, given: DicomParameters) -> Iterator[_Door]:
    """Yield where devices call: at the given address, or through Services from outside."""
    if given.address is not None:
        host, _, number = given.address.rpartition(":")
        yield _Door(given.address, host.strip("[]"), int(number))
        return
    namespace = context.parameters.application.namespace
    ways = [
        _way_in(context, service, port)
        for pod in web_pods(context.cluster, context.parameters)[:1]
        for service in context.cluster.list("v1", "Service", namespace)
        for port in _ports_to(service, pod, given.port)
    ]
    doors = [way for way in ways if way is not None]
    yield from doors or [_Door(f"port {given.port} of the web pods", "", 0)]


def _ports_to(service: Object, pod: Object, container_port: int) -> Iterator[Object]:
    """Yield the ports of a Service that lead to a port of the pod."""
    selector = service["spec"].get("selector")
    if not selector or not selector.items() <= labels_of(pod).items():
        return
    for port in service["spec"].get("ports") or []:
        alone = {**service, "spec": {**service["spec"], "ports": [port]}}
        if container_port in {target for _, target in service_targets(alone, pod)}:
            yield port


def _way_in(context: Context, service: Object, port: Object) -> _Door | None:
    """Return how a port of a Service is reached from outside; None if it is not."""
    kind = service["spec"].get("type")
    name = f"{reference(service)} ({kind})"
    if kind == "LoadBalancer":
        entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        hosts = (str(each.get("hostname") or each.get("ip") or "") for each in entries)
        return _Door(name, next(hosts, ""), port["port"])
    if kind == "NodePort":
        return _Door(name, _node_address(context), port["nodePort"])
    return None


def _node_address(context: Context) -> str:
    """Return a node's address for callers outside; empty on clusters whose nodes have none."""
    addresses = (
        str(address["address"])
        for node in sorted(context.cluster.list("v1", "Node"), key=name_of)
        for address in (node.get("status") or {}).get("addresses") or []
        if address["type"] == "ExternalIP"
    )
    return next(addresses, "")
