"""Papermill's engine: for the kernels of a run, which boot ahead, and for papermill by itself.

`papermill --engine runbook` writes no secrets: papermill puts the parameters that it is given into
the executed notebook, into a cell and into its metadata. Kernels start as in a run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from papermill.clientwrap import PapermillNotebookClient  # type: ignore[import-untyped]
from papermill.engines import NBClientEngine, papermill_engines  # type: ignore[import-untyped]

from runbook_lib.base import redact_value
from runbook_lib.base.redact import redact
from runbook_lib.headless.kernels import Kernels
from runbook_lib.lifecycle.runs import ENGINE_VARIABLE
from runbook_lib.parameters import loading

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


class _Client(PapermillNotebookClient):  # type: ignore[misc] # the base has no type hints
    """Executes the injected cell as it was before its secrets were masked."""

    injected_source = ""

    async def async_execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
        if not _is_injected(cell):
            return await super().async_execute_cell(cell, cell_index, **options)
        whole = type(cell)(cell)
        whole.source = self.injected_source
        try:
            await super().async_execute_cell(whole, cell_index, **options)
        finally:
            cell.outputs, cell.execution_count = whole.outputs, whole.execution_count
            self.nb.cells[cell_index] = cell  # where nbclient has put the one that was executed
        return cell

    execute_cell = run_sync(async_execute_cell)


class RunbookEngine(NBClientEngine):  # type: ignore[misc] # the base has no type hints
    """Executes a notebook in a kernel of this interpreter, and ends that kernel afterwards."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, *arguments: Any, **options: Any) -> Any:
        """Mask the secrets that papermill was given, and execute; called by papermill."""
        given = nb.metadata.get("papermill", {}).get("parameters", {})
        loading.register_secrets(given)
        nb.metadata.papermill.parameters = redact_value(given)
        injected = next(filter(_is_injected, nb.cells), None)
        if injected is not None:
            options["injected_source"] = injected.source
            injected.source = redact(injected.source)
        return super().execute_notebook(nb, kernel_name, *arguments, **options)

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        start_timeout: int,
        kernel: AsyncKernelManager | None = None,
        execution_timeout: int | None = None,
        injected_source: str = "",
        **_options: Any,
    ) -> Any:
        """Execute `nb_man`'s notebook; called by papermill."""
        if kernel is None:
            os.environ[ENGINE_VARIABLE] = NAME
        with Kernels(0 if kernel else 1) as kernels:
            client = _Client(
                nb_man,
                km=kernel or kernels.take(),
                kernel_name=kernel_name,
                startup_timeout=start_timeout,
                timeout=execution_timeout,
                # Everything worth keeping of a run is written by then.
                shutdown_kernel="immediate" if kernel else "graceful",
            )
            client.injected_source = injected_source
            nb_man.save = _at_most_every(_SAVE_SECONDS, nb_man.save)
            try:
                return client.execute(cleanup_kc=True)
            finally:
                del nb_man.save  # papermill saves once more at the end: that counts


def _is_injected(cell: Any) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", ())


papermill_engines.register(NAME, RunbookEngine)
