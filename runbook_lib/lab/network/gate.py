"""The gate: the lab's one process in the host's network, which makes its listening sockets.

Everything else of a lab runs in namespaces of its own, and reaches the host's network by no way.
The gate starts the supervisor there and hands it listening sockets, over a Unix socket that both
inherit (SCM_RIGHTS, see unix(7)); a socket stays in the network in which it was made. They listen
on loopback addresses alone. The gate ends with the supervisor, and takes it along when it is
killed. What a lab's processes leave behind becomes the gate's, which ends that too.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ENTER = (
    *("unshare", "--user", "--map-root-user", "--net", "--mount", "--"),
    *("setpriv", "--pdeathsig", "KILL", "--"),
)
"""Runs a command as the root of a user, network and mount namespace of its own."""

_SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h: orphans among the descendants become children."""


class Gate:
    """The supervisor's end.

    Args:
        descriptor: The Unix socket that the gate has passed on.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._turn = asyncio.Lock()

    async def listen(self, address: str, port: int = 0) -> socket.socket:
        """A socket that listens on the host.

        Args:
            address: One of the host's loopback addresses.
            port: 0 to have the kernel choose a free one.

        Raises:
            OSError: It cannot be had, for instance because the port is taken.
        """
        async with self._turn:
            return await asyncio.to_thread(self._ask, address, port)

    def _ask(self, address: str, port: int) -> socket.socket:
        self._socket.send(json.dumps([address, port]).encode())
        answer, descriptors, _, _ = socket.recv_fds(self._socket, 1024, 1)
        if not descriptors:
            code = json.loads(answer)
            raise OSError(code, f"{address}:{port}: {os.strerror(code)}")
        return socket.socket(fileno=descriptors[0])


def _serve(supervisor: socket.socket) -> None:
    """Answer until the supervisor has ended."""
    while asked := supervisor.recv(1024):
        address, port = json.loads(asked)
        try:
            with _listening(address, port) as made:
                socket.send_fds(supervisor, [b"0"], [made.fileno()])
        except OSError as error:
            supervisor.send(json.dumps(error.errno).encode())


def _listening(address: str, port: int) -> socket.socket:
    if not ipaddress.ip_address(address).is_loopback:
        raise OSError(errno.EACCES, "the gate listens on loopback alone")
    return socket.create_server((address, port), backlog=128)


def _end_children() -> None:
    """Kill what is left of the lab, such as what a command of `kubectl exec` started."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with suppress(ChildProcessError):  # the last one is gone
        while True:
            # Children of those that are killed become the gate's, and are met in the next turn.
            for each in Path("/proc/thread-self/children").read_text().split():
                os.kill(int(each), signal.SIGKILL)
            os.wait()


def main(command: Sequence[str]) -> None:
    """Run a command in its namespaces, with the number of its socket as the last argument."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = theirs.fileno()
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    subprocess.Popen([*ENTER, *command, str(number)], pass_fds=[number, *_passed(command)])
    # The supervisor decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not every machine's first process takes orphans off the table of processes, or soon.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    theirs.close()
    for descriptor in _passed(command):
        os.close(descriptor)
    with suppress(ConnectionError):  # it may be killed
        _serve(ours)
    _end_children()


def _passed(command: Sequence[str]) -> list[int]:
    """Descriptors that the command names as its last argument: they are its own."""
    return [int(command[-1])]


if __name__ == "__main__":
    main(sys.argv[1:])
