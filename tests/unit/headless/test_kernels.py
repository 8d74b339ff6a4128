"""A run's kernels are this interpreter's, wherever temporary files and kernelspecs are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from runbook_lib.headless.kernels import Kernels


def evaluated(kernel: AsyncKernelManager, expression: str) -> str:
    """Return what a kernel makes of an expression, as text."""
    client = kernel.client()
    client.start_channels()
    try:
        run_sync(client.wait_for_ready)(timeout=30)
        reply = run_sync(client.execute_interactive)(
            "", user_expressions={"found": expression}, timeout=30
        )
        return str(reply["content"]["user_expressions"]["found"]["data"]["text/plain"])
    finally:
        client.stop_channels()


def test_kernels_start_where_temporary_files_have_long_paths_and_python3_is_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / ("t" * 90)
    foreign = tmp_path / "kernels" / "python3"
    for folder in (temporary, foreign):
        folder.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "another", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with Kernels(1) as kernels:
        assert evaluated(kernels.take(), "__import__('sys').executable") == repr(sys.executable)
    assert list(temporary.iterdir()) == []
