"""A pod's sandbox: the network and mount namespaces that its containers share.

A pair of links leads from the pod to the node, with a route to each pod's address there: no
bridge, because traffic between two ports of one bypasses the node's connection tracking, and with
it what kube-proxy does and undoes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.lab.foundation import namespaces
from runbook_lib.lab.foundation.addresses import DNS_SERVICE_IP, DOMAIN, LOOPBACK, NODE_IP
from runbook_lib.lab.foundation.netlink import FORWARDING, ROUTE_LOCALNET, Netlink

_LINK = "eth0"

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
postgres:x:999:999:postgres:/tmp:/bin/sh
istio-proxy:x:1337:1337:istio-proxy:/tmp:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
"""
# systemd-resolved's module would leave the namespace through a Unix socket.
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"


def resolv_conf(namespace: str) -> str:
    """How the processes of a namespace's pods look up names, as a kubelet writes it."""
    search = f"{namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
    return f"search {search}\nnameserver {DNS_SERVICE_IP}\noptions ndots:5\n"


@dataclass(frozen=True)
class Sandbox:
    """The namespaces of one pod, alive while these files are open.

    Attributes:
        address: The pod's.
        network: File of the network namespace; None for a pod of the node's own network.
        mounts: File of the mount namespace.
        link: The node's end of the pair of links.
    """

    address: str
    network: int | None
    mounts: int
    link: str

    @property
    def enter(self) -> list[str]:
        """What a command line begins with, so that it runs in the sandbox."""
        files = f"/proc/{os.getpid()}/fd"
        network = [] if self.network is None else [f"--net={files}/{self.network}"]
        return ["nsenter", *network, f"--mount={files}/{self.mounts}", "--"]

    def socket(self) -> socket.socket:
        """A TCP socket in the pod's network."""
        return socket.socket() if self.network is None else namespaces.tcp_socket(self.network)

    def close(self) -> None:
        """Take the pod off the network; its namespaces go with its last process."""
        if self.network is not None:
            # A connection that is still open would keep the namespace, and the link, alive.
            with Netlink() as node, suppress(OSError):
                node.delete(self.link)
            os.close(self.network)
        os.close(self.mounts)


def make_sandbox(
    folder: Path, *, name: str, namespace: str, address: str, number: int, host_network: bool
) -> Sandbox:
    """Make a pod's namespaces and put it on the network.

    Args:
        folder: Where the files are kept that are mounted below /etc.
        name: The pod's.
        namespace: The pod's.
        address: The pod's.
        number: Distinguishes the links of the pods of a lab.
        host_network: The pod shares the node's network.

    Raises:
        OSError: The kernel's, such as ENOSPC if the user may have no more namespaces.
    """
    files = _etc(
        folder,
        {
            "resolv.conf": resolv_conf(namespace),
            "nsswitch.conf": NSSWITCH,
            "passwd": PASSWD,
            "hosts": f"{LOOPBACK} localhost\n{address} {name}\n",
        },
    )
    link, node = f"pod{number}", os.getpid()

    def inside() -> tuple[int | None, int]:
        namespaces.unshare(namespaces.MOUNTS | (0 if host_network else namespaces.NETWORK))
        for target, source in files.items():
            namespaces.bind(source, target)
        if host_network:
            return None, namespaces.opened("mnt")
        with Netlink() as network:
            network.set_up("lo")
            network.add_veth(_LINK, link, node)
            network.set_up(_LINK)
            network.add_address(_LINK, address)
            network.add_route(f"{NODE_IP}/32", _LINK)
            network.add_route("0.0.0.0/0", _LINK, via=NODE_IP)
        return namespaces.opened("net"), namespaces.opened("mnt")

    network, mounts = namespaces.in_thread(inside)
    if network is not None:
        with Netlink() as here:
            here.set_up(link, [FORWARDING, ROUTE_LOCALNET])
            here.add_route(f"{address}/32", link, source=NODE_IP)
    return Sandbox(address, network, mounts, link)


def _etc(folder: Path, contents: Mapping[str, str]) -> dict[Path, Path]:
    """Write files; returns them by the place over which each is mounted, where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {}
    for name, content in contents.items():
        target = Path("/etc") / name
        if target.exists():
            result[target] = folder / name
            result[target].write_text(content)
    return result
