"""Start the notebooks' kernels ahead of time: each boots while the notebook before it runs.

A kernel takes about two seconds of CPU time to start Python, IPython and the runbook's imports. So
one process does that once, and kernels are forked from it: see `fork_server`.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import run_sync

_LAUNCHER = (sys.executable, "-m", "ipykernel_launcher")

_IMPORTS = ("runbook_lib.notebook.runbook", "kubernetes.dynamic", "httpx")
"""What every notebook imports sooner or later."""

_OF_KERNELS = (
    *("ipykernel.kernelapp", "tornado.platform.asyncio", "sqlite3", "IPython.core.debugger"),
    *("IPython.core.oinspect", "IPython.core.completerlib", "IPython.extensions.storemagic"),
)
"""What a kernel imports by itself, some of it as late as when it starts."""

_ARGUMENTS = (
    # Expressions, because they leave no names behind in the notebook.
    *(f"--IPKernelApp.exec_lines=__import__({module!r})" for module in _IMPORTS),
    # As nbclient does: what a run executes is no part of the user's history.
    "--HistoryManager.hist_file=:memory:",
)

_FORKS = hasattr(os, "pidfd_open")
"""On Linux. Elsewhere libraries of the system may have begun threads by then, see
https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods, and kernels are
started one by one."""

_LONGEST_FOLDER = 107 - len("/runbook-01234567/kernel-99.json-ipc-5")
"""Bytes: the path of a Unix socket has 107, see unix(7), and TMPDIR may be anything."""

_SERVER_LIMIT = 60.0
"""Seconds for the imports, and to end."""


class _ThisInterpreter(KernelSpecManager):
    """Knows one kernel: a `python3` on JUPYTER_PATH may be of an environment without all this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [*_LAUNCHER, "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name=kernel_name, language="python")


class Kernels:
    """Kernels for a number of notebooks; the first one boots at once.

    Leaving the block ends those that still run, however the block was left.
    """

    def __init__(self, count: int) -> None:
        self._left = count
        self._ready: AsyncKernelManager | None = None
        self._started: list[AsyncKernelManager] = []
        self._server: _ForkServer | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="runbook-", dir=_short_folder())

    def __enter__(self) -> Kernels:
        if self._left and _FORKS:
            self._server = _ForkServer()
        self._start_next()
        return self

    def __exit__(self, *_exception: object) -> None:
        for kernel in self._started:
            if kernel.has_kernel:
                run_sync(kernel.shutdown_kernel)(now=True)
        if self._server is not None:
            self._server.close()
        self._folder.cleanup()

    def take(self) -> AsyncKernelManager:
        """Return a kernel that has been started, and start the one for the next notebook."""
        kernel = self._ready
        assert kernel is not None, "more kernels were taken than announced"
        self._start_next()
        return kernel

    def _start_next(self) -> None:
        self._ready = None
        if self._left:
            self._ready = self._start(Path(self._folder.name) / f"kernel-{self._left}.json")
            self._started.append(self._ready)
            self._left -= 1

    def _start(self, connection_file: Path) -> AsyncKernelManager:
        # Unix sockets in a folder of our own: on TCP, every user of the machine can reach a kernel.
        options: dict[str, Any] = {"transport": "ipc", "connection_file": str(connection_file)}
        kernel = AsyncKernelManager(kernel_spec_manager=_ThisInterpreter(), **options)
        if self._server is not None:
            kernel.provisioner = _Forking(parent=kernel, kernel_spec=kernel.kernel_spec)
            kernel.provisioner.server = self._server
        run_sync(kernel.start_kernel)(extra_arguments=list(_ARGUMENTS))
        return kernel


class _ForkServer:
    """The process that kernels are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runbook_lib.headless.fork_server", *_OF_KERNELS, *_IMPORTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in a terminal is for the runner, which ends this
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout
        self._asked = 0
        self._pids: list[int] = []

    def fork(self, arguments: Sequence[str], environment: dict[str, str]) -> _Fork:
        """Ask for a kernel; it comes once the imports are done."""
        question = {"arguments": arguments, "environment": environment}
        with suppress(BrokenPipeError):  # it has ended: so has the kernel, as its poll says
            self._questions.write(json.dumps(question).encode() + b"\n")
        self._asked += 1
        return _Fork(self, self._asked - 1)

    def pid(self, number: int, *, wait: bool) -> int | None:
        """Return a kernel's process id; 0 if the server ended before, None if it is not there yet.

        Args:
            number: Which kernel, from 0 in the order in which they were asked for.
            wait: Whether to wait until it is.
        """
        while len(self._pids) <= number:
            if not wait and not select.select([self._answers], [], [], 0)[0]:
                return None
            self._pids.append(int(self._answers.readline() or 0))
        return self._pids[number]

    def close(self) -> None:
        """End it; its kernels end with it."""
        self._questions.close()
        self._answers.close()
        try:
            self._process.wait(_SERVER_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Fork:
    """A kernel of the server, with what its provisioner needs of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, server: _ForkServer, number: int) -> None:
        self._server, self._number = server, number
        self._watched: int | None = None

    def poll(self) -> int | None:
        """None while it is there, or is about to be; how it ended only its parent is told."""
        if self._watched is None:
            pid = self._server.pid(self._number, wait=False)
            if pid is None:
                return None
            try:
                self._watched = os.pidfd_open(pid) if pid else -1
            except ProcessLookupError:
                self._watched = -1
        # It can be read from once the process has ended, see pidfd_open(2).
        ended = self._watched < 0 or select.select([self._watched], [], [], 0)[0]
        return 1 if ended else None

    def wait(self) -> int:
        """Let go of it, after `poll` has seen its end."""
        if self._watched is not None and self._watched >= 0:
            os.close(self._watched)
        self._watched = -1
        return 1

    def send_signal(self, number: int) -> None:
        """Send a signal to it and to what it has started."""
        pid = self._server.pid(self._number, wait=True)
        if pid and self.poll() is None:
            os.killpg(pid, number)


class _Forking(LocalProvisioner):
    """Has a kernel forked where others start a program."""

    server: _ForkServer

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        """Fork; called by the kernel's manager."""
        fork: Any = self.server.fork(cmd[len(_LAUNCHER) :], options["env"])
        self.process = fork
        return self.connection_info


def _short_folder() -> str | None:
    """Return where sockets can be: the folder for temporary files, else one with a shorter path.

    None if there is none; then the one that is too long says so.
    """
    usual = (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/dev/shm")
    fit = (each for each in usual if each and len(os.fsencode(each)) <= _LONGEST_FOLDER)
    return next((each for each in fit if os.access(each, os.W_OK | os.X_OK)), None)
