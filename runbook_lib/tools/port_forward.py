"""Reach a Service from this machine through `kubectl port-forward`, for as long as a check takes.

Not the API server's own proxy: on EKS the control plane need not reach pods on any port, while the
kubelet's port, by which this way leads, has to be open.
"""

from __future__ import annotations

import re
import selectors
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runbook_lib.base import CommandError, RunbookError

_READY = re.compile(r"Forwarding from (127\.0\.0\.1:\d+)")
_GRACE_SECONDS = 2.0


@contextmanager
def forwarded(
    kubectl: Path,
    kubeconfig: Path,
    context: str,
    *,
    namespace: str,
    service: str,
    port: int,
    timeout: float,
) -> Iterator[str]:
    """Yield a URL on this machine that leads to a pod behind a Service.

    Args:
        kubectl: The program.
        kubeconfig: The kubeconfig file.
        context: The context in it.
        namespace: The Service's namespace.
        service: Its name.
        port: Its port.
        timeout: Seconds until the way must be open.

    Raises:
        CommandError: kubectl cannot open it; its words say why, such as a pod that is not running.
    """
    argv = [
        str(kubectl),
        *("--kubeconfig", str(kubeconfig), "--context", context, "--namespace", namespace),
        *("port-forward", f"service/{service}", f":{port}", "--address", "127.0.0.1"),
    ]
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Ctrl-C in a terminal is for the runbook, which then ends this.
                start_new_session=True,
            )
        except OSError as error:
            raise RunbookError(f"cannot start {kubectl}: {error.strerror}") from error
        try:
            assert process.stdout is not None
            address = _address(process.stdout, timeout)
            if address is None:
                raise _failure(argv, process, errors, timeout)
            yield f"http://{address}"
        finally:
            _end(process)
            if process.stdout is not None:
                process.stdout.close()


def _address(stream: IO[str], timeout: float) -> str | None:
    """Return the address that kubectl says it listens on; None if it ended or took too long."""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = stream.readline()
            if not line:  # it has closed its output, and so ends
                return None
            if found := _READY.match(line):
                return found.group(1)
    return None


def _failure(
    argv: list[str], process: subprocess.Popen[str], errors: IO[str], timeout: float
) -> CommandError:
    late = process.poll() is None
    _end(process)
    errors.seek(0)
    problem = f"the way did not open within {timeout:g} s: {shlex.join(argv)}" if late else ""
    code = None if late else process.returncode
    return CommandError(argv, code, "", errors.read(), problem=problem)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
