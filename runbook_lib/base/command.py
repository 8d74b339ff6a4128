"""Run one command to its end. The only place that starts a one-shot subprocess."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.base.effort import METER
from runbook_lib.base.errors import CommandError

_GRACE_SECONDS = 2.0
"""Between asking a command to stop and killing it."""

_NOT_STARTED = 127
"""What a shell reports for a command that cannot be started."""


@dataclass(frozen=True)
class Completed:
    """A command that ran to its end.

    Attributes:
        argv: The command line.
        returncode: Its exit code; negative for a signal.
        stdout: Everything it wrote to standard output.
        stderr: Everything it wrote to standard error.
        seconds: Wall-clock time.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Completed:
    """Run `argv` and return its result.

    Args:
        argv: Program and arguments; no shell is involved.
        timeout: Seconds after which the command and its children are stopped.
        input: Text for standard input; without it standard input is empty, so nothing can block
            on a question.
        env: Variables added to this process's environment.
        check: Whether an exit code other than 0 is an error.

    Raises:
        CommandError: The command cannot be started, exits with an error (if `check`), or runs out
            of time.
    """
    words = tuple(str(word) for word in argv)
    started = time.monotonic()
    METER.started(words[0])
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
            encoding="utf-8",
            errors="replace",
            # A process group of its own, so that a timeout reaches grandchildren too. It also goes
            # on when this process is killed: half of what Helm does is worse than all of it.
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(
            words,
            _NOT_STARTED,
            "",
            "",
            problem=f"cannot start {words[0]}: {error.strerror or error}",
            remedy="check that it is installed and executable",
        ) from error
    try:
        stdout, stderr = process.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        stdout, stderr = _stop(process)
        raise CommandError(
            words,
            None,
            stdout,
            stderr,
            problem=f"stopped after {timeout:g} s, before it had finished: {shlex.join(words)}",
        ) from None
    except BaseException:
        _stop(process)
        raise
    if check and process.returncode != 0:
        raise CommandError(words, process.returncode, stdout, stderr)
    return Completed(words, process.returncode, stdout, stderr, time.monotonic() - started)


def _stop(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Stop the process group, gently first; return what it wrote."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            streams = process.communicate(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        # Children that hold none of the streams may still be there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return streams
    # Only a grandchild that left the group can still hold the pipes.
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return "", ""
