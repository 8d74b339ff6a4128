"""Starting a process has three outcomes: healthy, exited, timed out."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.process import Process


def _run(
    tmp_path: Path,
    script: str,
    check: Callable[[], Awaitable[str | None]],
    timeout: float = 20,
) -> Process:
    async def scenario() -> Process:
        process = Process(
            "example", ["/bin/sh", "-c", script], log=tmp_path / "example.log", mark="test"
        )
        await process.start()
        try:
            await process.until_healthy(check, timeout)
        finally:
            await process.stop()
        return process

    return asyncio.run(scenario())


async def _never() -> str | None:
    return "port 1234 does not answer"


def test_healthy_is_when_the_check_finds_nothing_missing(tmp_path: Path) -> None:
    """The check decides, here that a file is there."""
    file = tmp_path / "ready"

    async def check() -> str | None:
        return None if file.exists() else "no file yet"

    _run(tmp_path, f"touch {file}; exec sleep 60", check)
    assert file.exists()


def test_exit_is_reported_with_code_and_last_lines(tmp_path: Path) -> None:
    """An early exit is not called a time-out."""
    with pytest.raises(LabError, match=r"(?s)example exited with code 3.*address in use"):
        _run(tmp_path, "echo address in use; exit 3", _never)


def test_timeout_says_what_was_missing(tmp_path: Path) -> None:
    """The error repeats what the check said last."""
    with pytest.raises(LabError, match=r"not healthy after 0 s: port 1234 does not answer"):
        _run(tmp_path, "exec sleep 60", _never, timeout=0.3)


def test_missing_program_is_named(tmp_path: Path) -> None:
    """A program that is not there ends as an exit, with the reason in the log."""

    async def scenario() -> None:
        process = Process("ghost", ["/nonexistent/ghost"], log=tmp_path / "log", mark="test")
        await process.start()
        await process.until_healthy(_never, 10)

    with pytest.raises(LabError, match=r"(?s)ghost exited.*No such file"):
        asyncio.run(scenario())


def test_what_keeps_ending_is_named_with_its_last_words(tmp_path: Path) -> None:
    """It may be why something else is missing."""

    async def scenario() -> Process:
        process = Process(
            "scheduler",
            ["/bin/sh", "-c", "echo address in use; exit 1"],
            log=tmp_path / "log",
            mark="test",
        )
        await process.start()
        assert process.troubles() == ""
        keeping = asyncio.create_task(process.keep(0.01))
        async with asyncio.timeout(10):
            while "(2 so far)" not in process.troubles():
                await asyncio.sleep(0.01)
        keeping.cancel()
        await process.stop()
        return process

    process = asyncio.run(scenario())
    assert re.fullmatch(
        r"scheduler keeps ending \(\d+ so far\), the last time with: address in use",
        process.troubles(),
    )


def test_stop_kills_what_ignores_the_request_and_its_children(tmp_path: Path) -> None:
    """A process that ignores TERM is gone after the grace, and so is its child."""
    children = tmp_path / "child"

    async def scenario() -> None:
        process = Process(
            "stubborn",
            ["/bin/sh", "-c", f"trap '' TERM; sleep 60 & echo $! > {children}; wait; wait"],
            log=tmp_path / "log",
            mark="test",
        )
        await process.start()

        async def check() -> str | None:
            return None if children.exists() and children.read_text().strip() else "no child"

        await process.until_healthy(check, 10)
        await process.stop(grace=0.2)

    asyncio.run(scenario())
    child = int(children.read_text())
    status = Path(f"/proc/{child}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z", os.kill(child, 0)
