"""Papermill's engine for kernels that run already."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client.manager import AsyncKernelManager


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Import as if an optional module were not installed."""
    sys.modules.setdefault(module, None)  # type: ignore[arg-type] # None makes its import fail
    yield
    if sys.modules[module] is None:
        del sys.modules[module]


# jsonschema, which papermill loads to read notebooks, builds a grammar for internationalised URLs
# when it is imported. That takes longer than all the rest, and no notebook needs it.
with _without("rfc3987_syntax"):
    from papermill.clientwrap import PapermillNotebookClient  # type: ignore[import-untyped]
    from papermill.engines import NBClientEngine, papermill_engines  # type: ignore[import-untyped]

NAME = "runbook"

_SAVE_SECONDS = 1.0
"""What a killed run may lack of its executed notebook; its evidence is complete in any case."""


def _at_most_every(seconds: float, save: Callable[..., None]) -> Callable[..., None]:
    """Leave out saves that follow another within `seconds`.

    Papermill saves the whole notebook before and after each cell, texts included. Where there was
    nothing to change, that was half of the CPU time of the run's own process.
    """
    last = float("-inf")

    def sparing(**arguments: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            save(**arguments)
            last = now

    return sparing


class StartedKernelEngine(NBClientEngine):  # type: ignore[misc] # the base has no type hints
    """Executes a notebook in a kernel that it is given, and ends that kernel afterwards."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        kernel: AsyncKernelManager,
        start_timeout: int,
        execution_timeout: int,
        **_options: Any,
    ) -> Any:
        """Execute `nb_man`'s notebook; called by papermill."""
        client = PapermillNotebookClient(
            nb_man,
            km=kernel,
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            timeout=execution_timeout,
            # Everything worth keeping is written by then.
            shutdown_kernel="immediate",
        )
        nb_man.save = _at_most_every(_SAVE_SECONDS, nb_man.save)
        try:
            return client.execute(cleanup_kc=True)
        finally:
            del nb_man.save  # papermill saves once more at the end: that counts


papermill_engines.register(NAME, StartedKernelEngine)
