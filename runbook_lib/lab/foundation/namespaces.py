"""Linux namespaces by their system calls: unshare(2), setns(2), mount(2).

Namespaces belong to a thread, and a namespace lives as long as a file that refers to it is open.
So a thread that ends at once can make one and hand it over; see namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

MOUNTS, NETWORK = 0x00020000, 0x40000000
"""CLONE_NEWNS and CLONE_NEWNET of linux/sched.h."""

_BIND = 0x1000

Made = TypeVar("Made")

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(kinds: int) -> None:
    """Move this thread into new namespaces."""
    _checked(_libc.unshare(kinds), "unshare")


def bind(source: Path, target: Path) -> None:
    """Mount a file or folder over another one, in this thread's mount namespace."""
    arguments = (os.fsencode(source), os.fsencode(target), None, _BIND, None)
    _checked(_libc.mount(*arguments), f"mount {source} on {target}")


def opened(kind: str) -> int:
    """A file that keeps a namespace of this thread, `net` or `mnt`, alive."""
    return os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def in_thread(call: Callable[[], Made]) -> Made:
    """Call something in a thread that ends afterwards, whatever namespaces it is in by then."""
    results: list[Made] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # it is raised where the caller is
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def tcp_socket(network: int) -> socket.socket:
    """A socket in another network namespace: it stays there, whoever uses it.

    Args:
        network: What `opened` returned there.
    """

    def make() -> socket.socket:
        _checked(_libc.setns(network, NETWORK), "setns")
        return socket.socket()

    return in_thread(make)
