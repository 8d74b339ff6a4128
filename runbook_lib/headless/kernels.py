"""Start the notebooks' kernels ahead of time: each boots while the notebook before it runs.

A kernel takes about a second to start Python, IPython and the runbook's imports, while a notebook
spends most of its time waiting for the cluster.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

KERNEL = "python3"

_IMPORTS = ("runbook_lib.notebook.runbook", "kubernetes.dynamic", "httpx")
"""What every notebook imports sooner or later."""

_ARGUMENTS = (
    # Expressions, because they leave no names behind in the notebook.
    *(f"--IPKernelApp.exec_lines=__import__({module!r})" for module in _IMPORTS),
    # As nbclient does: what a run executes is no part of the user's history.
    "--HistoryManager.hist_file=:memory:",
)


class Kernels:
    """Kernels for a number of notebooks; the first one boots at once.

    Leaving the block ends those that still run, however the block was left.
    """

    def __init__(self, count: int) -> None:
        self._left = count
        self._ready: AsyncKernelManager | None = None
        self._started: list[AsyncKernelManager] = []
        self._folder = tempfile.TemporaryDirectory(prefix="runbook-")

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
    kernel = AsyncKernelManager(kernel_name=KERNEL, **options)
    run_sync(kernel.start_kernel)(extra_arguments=list(_ARGUMENTS))
    return kernel
