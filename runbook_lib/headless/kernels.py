"""Start the notebooks' kernels ahead of time: each boots while the notebook before it runs.

A kernel takes about a second to start Python, IPython and the runbook's imports, while a notebook
spends most of its time waiting for the cluster.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

_ARGV = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

_IMPORTS = ("runbook_lib.notebook.runbook", "kubernetes.dynamic", "httpx")
"""What every notebook imports sooner or later."""

_ARGUMENTS = (
    # Expressions, because they leave no names behind in the notebook.
    *(f"--IPKernelApp.exec_lines=__import__({module!r})" for module in _IMPORTS),
    # As nbclient does: what a run executes is no part of the user's history.
    "--HistoryManager.hist_file=:memory:",
)


_LONGEST_FOLDER = 107 - len("/runbook-01234567/kernel-99.json-ipc-5")
"""Bytes: the path of a Unix socket has 107, see unix(7), and TMPDIR may be anything."""


class _ThisInterpreter(KernelSpecManager):
    """Knows one kernel: a `python3` on JUPYTER_PATH may be of an environment without all this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(argv=_ARGV, display_name=kernel_name, language="python")


class Kernels:
    """Kernels for a number of notebooks; the first one boots at once.

    Leaving the block ends those that still run, however the block was left.
    """

    def __init__(self, count: int) -> None:
        self._left = count
        self._ready: AsyncKernelManager | None = None
        self._started: list[AsyncKernelManager] = []
        self._folder = tempfile.TemporaryDirectory(prefix="runbook-", dir=_short_folder())

    def __enter__(self) -> Kernels:
        self._start_next()
        return self

    def __exit__(self, *_exception: object) -> None:
        for kernel in self._started:
            if kernel.has_kernel:
                run_sync(kernel.shutdown_kernel)(now=True)
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
            self._ready = _start(Path(self._folder.name) / f"kernel-{self._left}.json")
            self._started.append(self._ready)
            self._left -= 1


def _start(connection_file: Path) -> AsyncKernelManager:
    # Unix sockets in a folder of our own: on TCP, every user of the machine can reach a kernel.
    options: dict[str, Any] = {"transport": "ipc", "connection_file": str(connection_file)}
    kernel = AsyncKernelManager(kernel_spec_manager=_ThisInterpreter(), **options)
    run_sync(kernel.start_kernel)(extra_arguments=list(_ARGUMENTS))
    return kernel


def _short_folder() -> str | None:
    """Return where sockets can be: the folder for temporary files, else one with a shorter path.

    None if there is none; then the one that is too long says so.
    """
    usual = (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/dev/shm")
    fit = (each for each in usual if each and len(os.fsencode(each)) <= _LONGEST_FOLDER)
    return next((each for each in fit if os.access(each, os.W_OK | os.X_OK)), None)
