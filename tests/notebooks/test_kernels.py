"""Kernels boot ahead of time, are reached by nobody else, and none is left behind."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import AsyncKernelManager

from runbook_lib.headless.kernels import Kernels

pytestmark = pytest.mark.notebooks


def running() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "ipykernel_launcher" in " ".join(child.cmdline())
    ]


def test_the_next_kernel_boots_while_the_one_before_is_used() -> None:
    with Kernels(2) as kernels:
        assert len(running()) == 1
        first = kernels.take()
        assert len(running()) == 2
        second = kernels.take()
        assert len(running()) == 2
        assert first.connection_file != second.connection_file
    assert running() == []


def test_no_kernel_is_left_however_the_block_is_left() -> None:
    def leave_early() -> None:
        with Kernels(3) as kernels:
            kernels.take()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave_early()
    assert running() == []


def test_a_kernel_is_reached_through_a_folder_that_only_its_user_can_open() -> None:
    with Kernels(1) as kernels:
        kernel: AsyncKernelManager = kernels.take()
        assert kernel.transport == "ipc"
        folder = Path(kernel.connection_file).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert Path(kernel.ip).parent == folder
    assert not folder.exists()
