"""Kernels boot ahead of time, are reached by nobody else, and none is left behind."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from runbook_lib.base.wait import State, until
from runbook_lib.headless.kernels import Kernels
from tests.unit.headless.test_kernels import evaluated

pytestmark = pytest.mark.notebooks


def running() -> list[psutil.Process]:
    """The kernels: what the process that they are forked from has started."""
    return [kernel for server in psutil.Process().children() for kernel in server.children()]


def booted(kernels: Kernels) -> AsyncKernelManager:
    kernel = kernels.take()
    evaluated(kernel, "1")
    return kernel


def test_the_next_kernel_boots_while_the_one_before_is_used() -> None:
    with Kernels(2) as kernels:
        first = booted(kernels)
        until("the next", lambda: State(len(running()) == 2, f"{len(running())}"), timeout=20)
        second = booted(kernels)
        assert len(running()) == 2
        assert first.connection_file != second.connection_file
    assert running() == []


def test_kernels_share_nothing_but_what_they_imported() -> None:
    with Kernels(2) as kernels:
        first = kernels.take()
        assert evaluated(first, "__import__('os').environ.setdefault('LEFT', 'x')") == "'x'"
        assert evaluated(first, "setattr(__import__('runbook_lib'), 'left', 1)") == "None"
        second = kernels.take()
        assert evaluated(second, "__import__('os').environ.get('LEFT')") == "None"
        assert evaluated(second, "hasattr(__import__('runbook_lib'), 'left')") == "False"
        numbers = [evaluated(each, "__import__('random').random()") for each in (first, second)]
        assert len(set(numbers)) == 2
        groups = {evaluated(each, "__import__('os').getpgid(0)") for each in (first, second)}
        assert len(groups) == 2, "a signal to one is for it and its programs alone"


def test_a_kernel_that_is_killed_is_missed_at_once() -> None:
    with Kernels(1) as kernels:
        kernel = booted(kernels)
        assert run_sync(kernel.is_alive)()
        (process,) = running()
        process.kill()
        psutil.wait_procs([process], timeout=10)
        assert not run_sync(kernel.is_alive)()


def test_kernels_end_with_what_they_are_forked_from() -> None:
    with Kernels(1) as kernels:
        kernel = booted(kernels)
        (process,), (server,) = running(), psutil.Process().children()
        server.kill()
        _, alive = psutil.wait_procs([process], timeout=10)
        assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
        assert not run_sync(kernel.is_alive)()


def test_no_kernel_is_left_however_the_block_is_left() -> None:
    def leave_early() -> None:
        with Kernels(3) as kernels:
            booted(kernels)
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
