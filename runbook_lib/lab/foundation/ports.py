"""Choose addresses and ports on loopback that nothing else on the machine uses.

Every pod gets two loopback addresses, because any address in 127.0.0.0/8 can be bound on Linux:
its *outside*, which the network sees (the sidecar's inbound listener), and its *inside*, where
its own processes listen. Well-known ports are kept wherever the machine leaves them free.
"""

from __future__ import annotations

import random
import socket
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.lab.foundation.errors import LabError

LOOPBACK = "127.0.0.1"
POD_PREFIX = "10.244"

_LOWEST = 21_000
"""Above the usual ports of Istio, Kiali and Jaeger."""

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

_held: deque[socket.socket] = deque(maxlen=200)
"""Ports that were given of late: whoever they are for may not listen there yet."""

_claims: list[socket.socket] = []
"""What this process has claimed until it ends."""


def free_port(address: str = LOOPBACK) -> int:
    """A port that is free on `address`, and is kept free for the server that it is for.

    Until then nobody else gets it: neither another lab, nor an outgoing connection, which is given
    a port of the kernel's ephemeral range for as long as it lasts. A server that found its port
    taken would find it so however often it is restarted.
    """
    candidates = range(_LOWEST, int(_EPHEMERAL.read_text().split()[0]))
    # The kernel chooses where this machine's ephemeral range leaves nothing below it.
    for port in [*random.sample(candidates, len(candidates)), 0]:
        hold = socket.socket()
        try:
            hold.bind((address, port))
        except OSError:
            hold.close()
            continue
        # From now on whoever sets it too may listen here, as servers do; who asks for a free port
        # does not.
        hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if len(_held) == _held.maxlen:
            _held.popleft().close()
        _held.append(hold)
        given: int = hold.getsockname()[1]
        return given
    raise LabError(f"no port is free on {address}", "end some of the programs that listen there")


def bindable(address: str, port: int) -> bool:
    """Whether a server could listen there now; a wildcard listener elsewhere also prevents it."""
    with socket.socket() as probe:
        # Servers set it too; it only forgives connections in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError:
            return False
        return True


def choose_port(address: str, preferred: int) -> int:
    """The preferred port if it can be had on `address`, else a free one."""
    return preferred if bindable(address, preferred) else free_port(address)


@dataclass(frozen=True)
class Addresses:
    """The loopback twins of one lab's pod network 10.244.0.0/16.

    Attributes:
        outside: second octet of the addresses that the network sees; inside is one higher.
    """

    outside: int

    def outside_of(self, pod_ip: str) -> str:
        """Where a pod's address is reached from outside the pod, such as 127.40.1.7."""
        return pod_ip.replace(POD_PREFIX, f"127.{self.outside}", 1)

    def inside_of(self, pod_ip: str) -> str:
        """Where the pod's own processes listen, such as 127.41.1.7."""
        return pod_ip.replace(POD_PREFIX, f"127.{self.outside + 1}", 1)

    @property
    def services(self) -> str:
        """The address of the lab's own service relays, outside the range given to pods."""
        return f"127.{self.outside}.255.1"

    def service(self, number: int) -> str:
        """The address of one Service's relay, counted from 1; outside the range as well."""
        return f"127.{self.outside}.254.{number}"


def choose_addresses(taken: set[int]) -> Addresses:
    """Claim a pair of second octets for as long as this process lives.

    Args:
        taken: Those that labs have which may not have claimed them.

    Raises:
        LabError: None is left.
    """
    candidates = [octet for octet in range(16, 250, 2) if octet not in taken]
    for octet in random.sample(candidates, len(candidates)):
        # An abstract name is free again when its process ends, however it ends; see unix(7).
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0istio-runbook/127.{octet}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return Addresses(octet)
    raise LabError(
        "every pair of loopback networks is taken by a lab",
        "take those down that are of no more use: python -m runbook_lib lab down --name NAME",
    )
