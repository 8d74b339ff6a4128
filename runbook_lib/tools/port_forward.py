"""Reach pods from this machine through `kubectl port-forward`, for as long as a check takes.

Not the API server's own proxy: on EKS the control plane need not reach pods on any port, while the
kubelet's port, by which this way leads, has to be open.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runbook_lib.base import METER, CommandError, RunbookError
from runbook_lib.cluster import Kubeconfig

_READY = re.compile(rb"Forwarding from (127\.0\.0\.1:\d+) ")
_GRACE_SECONDS = 2.0


@contextmanager
def forwarded(
    kubectl: Path,
    kubeconfig: Kubeconfig,
    context: str,
    *,
    namespace: str,
    to: str,
    ports: Sequence[int],
    timeout: float,
) -> Iterator[tuple[str, ...]]:
    """Yield URLs on this machine that lead to ports of one pod.

    A connection that the pod resets ends kubectl, and with it the way for all, see
    https://github.com/kubernetes/kubernetes/issues/111825.

    Args:
        kubectl: The program.
        kubeconfig: The kubeconfig.
        context: The context in it.
        namespace: Where the pod is.
        to: The pod, or a Service that has it behind it, such as `service/kiali`.
        ports: Ports of that pod or Service.
        timeout: Seconds until the way must be open.

    Yields:
        A URL for each port, in their order.

    Raises:
        CommandError: kubectl cannot open it; its words say why, such as a pod that is not running.
    """
    argv = [
        *kubeconfig.calling(kubectl),
        *("--context", context, "--namespace", namespace),
        *("port-forward", to, *(f":{port}" for port in ports), "--address", "127.0.0.1"),
    ]
    with tempfile.TemporaryFile("w+") as errors:
        METER.started(argv[0])
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C in a terminal is for the runbook, which then ends this.
                start_new_session=True,
            )
        except OSError as error:
            raise RunbookError(f"cannot start {kubectl}: {error.strerror}") from error
        try:
            assert process.stdout is not None
            addresses = _addresses(process.stdout.fileno(), len(ports), timeout)
            if len(addresses) < len(ports):
                raise _failure(argv, process, errors, timeout)
            yield tuple(f"http://{address}" for address in addresses)
        finally:
            _end(process)
            if process.stdout is not None:
                process.stdout.close()


def _addresses(stream: int, count: int, timeout: float) -> list[str]:
    """Return the addresses that kubectl says it listens on; fewer if it ended or took too long."""
    deadline = time.monotonic() + timeout
    said = b""
    found: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while len(found) < count and selector.select(max(0.0, deadline - time.monotonic())):
            more = os.read(stream, 4096)
            if not more:  # it has closed its output, and so ends
                break
            said += more
            found = _READY.findall(said)
    return [address.decode() for address in found]


def _failure(
    argv: list[str], process: subprocess.Popen[bytes], errors: IO[str], timeout: float
) -> CommandError:
    late = process.poll() is None
    _end(process)
    errors.seek(0)
    problem = f"the way did not open within {timeout:g} s: {shlex.join(argv)}" if late else ""
    code = None if late else process.returncode
    return CommandError(argv, code, "", errors.read(), problem=problem)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
