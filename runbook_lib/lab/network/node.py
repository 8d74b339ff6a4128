"""The node's own network, in the namespace of the supervisor."""

from __future__ import annotations

from runbook_lib.lab.foundation.addresses import NODE_IP, SERVICE_NETWORK, SIMULATED_NETWORK
from runbook_lib.lab.foundation.netlink import ROUTE_LOCALNET, Netlink


def set_up_node() -> None:
    """Give the node its address and its routes.

    Raises:
        OSError: The kernel's, if the namespace is not this process's own.
    """
    with Netlink() as network:
        network.set_up("lo", [ROUTE_LOCALNET])
        network.add_address("lo", NODE_IP)
        # Before kube-proxy's rules rewrite an address there must be a route to it.
        network.add_route(SERVICE_NETWORK, "lo", source=NODE_IP)
        network.add_route(SIMULATED_NETWORK, None)
