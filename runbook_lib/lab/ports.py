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

LOOPBACK = "127.0.0.1"
POD_PREFIX = "10.244"


_LOWEST = 21_000
"""Above the usual ports of Istio, Kiali and Jaeger."""

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

_given: deque[int] = deque(maxlen=1000)
"""Chosen by this process of late; whoever a port is for may not listen there yet."""


def free_port(address: str = LOOPBACK) -> int:
    """A port that is free on `address` now, and that no outgoing connection will take.

    Every connection of every program on this machine gets a port of the kernel's ephemeral range
    for as long as it lasts. A port chosen there can be gone before its server listens, and stay so
    however often that is restarted.
    """
    candidates = range(_LOWEST, int(_EPHEMERAL.read_text().split()[0]))
    for port in random.sample(candidates, len(candidates)):
        if port not in _given and bindable(address, port):
            _given.append(port)
            return port
    # This machine's ephemeral range leaves nothing below it.
    with socket.socket() as probe:
        probe.bind((address, 0))
        given: int = probe.getsockname()[1]
        return given


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
    """Pick a pair of second octets that no lab in `taken` uses; random, so users rarely meet."""
    candidates = [octet for octet in range(16, 250, 2) if octet not in taken]
    return Addresses(random.choice(candidates))
