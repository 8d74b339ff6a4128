"""The addresses of the lab's cluster, the same in every lab: each has a network of its own."""

from __future__ import annotations

LOOPBACK = "127.0.0.1"

NODE = "lab-node"
NODE_IP = "10.244.0.1"

POD_NETWORK = "10.244.0.0/16"
SIMULATED_NETWORK = "10.244.128.0/17"
"""The part of it for pods without a process: nothing answers there."""

SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"

DOMAIN = "cluster.local"

POD_CAPACITY = 600
"""How many pods the node takes."""

_FIRST, _BLOCKS, _BLOCK = 2, 126, 250


def pod_ip(number: int) -> str:
    """The address of the pod that was started so many pods after the first.

    They come round again after 31,500 pods, of which a node has `POD_CAPACITY` at most at a time.
    """
    block, last = divmod((number + _FIRST) % (_BLOCKS * _BLOCK), _BLOCK)
    return f"10.244.{1 + block}.{1 + last}"
