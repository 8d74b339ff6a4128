"""Links, addresses and routes of a network namespace, by rtnetlink(7).

pyroute2 takes most of a second to import, which every lab would pay, and cannot write a link's
IPv4 settings. Those matter: a container's /proc/sys is often read-only, while netlink works.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from typing import Self

_REQUEST, _ACK, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x400, 0x200
_NEW_LINK, _DELETE_LINK, _SET_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 17, 19, 20, 24
_ERROR = 2
_UP = 0x1
_MAIN_TABLE, _STATIC = 254, 4
_ANYWHERE, _ON_LINK = 0, 253
_UNICAST, _UNREACHABLE = 1, 7

FORWARDING, ROUTE_LOCALNET = 1, 26
"""Settings of a link: IPV4_DEVCONF_* of linux/ip.h."""


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length % 4)


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, flags)


def _name(kind: int, name: str) -> bytes:
    return _attribute(kind, name.encode() + b"\0")


class Netlink:
    """A netlink socket in the network namespace of the thread that makes it.

    Every method raises OSError with the kernel's error.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def set_up(self, link: str, settings: Sequence[int] = ()) -> None:
        """Bring a link up, with these IPv4 settings on."""
        index = socket.if_nametoindex(link)
        self._ask(_NEW_LINK, _link(index, _UP))
        if settings:
            values = b"".join(_attribute(each, struct.pack("=I", 1)) for each in settings)
            # IFLA_AF_SPEC, AF_INET, IFLA_INET_CONF
            nested = _attribute(26, _attribute(socket.AF_INET, _attribute(1, values)))
            self._ask(_SET_LINK, _link(index) + nested)

    def add_veth(self, name: str, peer: str, peer_pid: int) -> None:
        """Make a pair of links, one of them in the network namespace of another process."""
        # IFLA_IFNAME 3, IFLA_NET_NS_PID 19, IFLA_LINKINFO 18: IFLA_INFO_KIND 1, IFLA_INFO_DATA 2
        there = _link() + _name(3, peer) + _attribute(19, struct.pack("=I", peer_pid))
        info = _name(1, "veth") + _attribute(2, _attribute(1, there))
        self._ask(_NEW_LINK, _link() + _name(3, name) + _attribute(18, info), _CREATE | _EXCLUSIVE)

    def delete(self, link: str) -> None:
        """Remove a link, and so its peer."""
        self._ask(_DELETE_LINK, _link(socket.if_nametoindex(link)))

    def add_address(self, link: str, address: str) -> None:
        """Give a link an address of its own: no network is reached by it."""
        packed = socket.inet_aton(address)
        head = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex(link))
        attributes = _attribute(1, packed) + _attribute(2, packed)  # IFA_ADDRESS, IFA_LOCAL
        self._ask(_NEW_ADDRESS, head + attributes, _CREATE | _EXCLUSIVE)

    def add_route(
        self, network: str, link: str | None, *, via: str | None = None, source: str | None = None
    ) -> None:
        """Send what is for a network to a link.

        Args:
            network: Such as `10.96.0.0/16`.
            link: None to answer that the network cannot be reached.
            via: A neighbour's address; without one, the network is on the link.
            source: The sender's address, for connections of this namespace.
        """
        address, _, bits = network.partition("/")
        kind = _UNICAST if link else _UNREACHABLE
        scope = _ON_LINK if link and not via else _ANYWHERE
        head = struct.pack(
            *("=BBBBBBBBI", socket.AF_INET, int(bits), 0, 0),
            *(_MAIN_TABLE, _STATIC, scope, kind, 0),
        )
        attributes = _attribute(1, socket.inet_aton(address)) if int(bits) else b""  # RTA_DST
        if link:
            attributes += _attribute(4, struct.pack("=I", socket.if_nametoindex(link)))  # RTA_OIF
        if via:
            attributes += _attribute(5, socket.inet_aton(via))  # RTA_GATEWAY
        if source:
            attributes += _attribute(7, socket.inet_aton(source))  # RTA_PREFSRC
        self._ask(_NEW_ROUTE, head + attributes, _CREATE | _EXCLUSIVE)

    def _ask(self, kind: int, body: bytes, flags: int = 0) -> None:
        head = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 1, 0)
        self._socket.send(head + body)
        answer = self._socket.recv(1 << 16)
        _, answered = struct.unpack_from("=IH", answer)
        if answered == _ERROR:
            (code,) = struct.unpack_from("=i", answer, 16)
            if code:
                raise OSError(-code, os.strerror(-code))
