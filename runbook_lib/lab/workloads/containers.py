"""One container of a pod that the lab runs: its process, restarts, probes and log."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.process import Process
from runbook_lib.lab.network.tunnel import Endpoint
from runbook_lib.lab.workloads.pods import Container, HttpProbe, http_probe
from runbook_lib.lab.workloads.programs import Launch
from runbook_lib.lab.workloads.volumes import NotMountable

Object = dict[str, Any]

log = logging.getLogger(__name__)

# A kubelet checks as rarely as the spec says (15 s for Istio); a lab's user watches it happen.
LONGEST_PERIOD = 1.0
STARTING_PERIOD = 0.1
BACKOFF_FIRST, BACKOFF_MOST, BACKOFF_RESET = 0.5, 10.0, 10.0


def now() -> str:
    """The time as Kubernetes writes it, in whole seconds."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ContainerProcess(Process):
    """A process whose output is kept in the format of container runtimes, as KWOK serves it."""

    async def start(self) -> None:
        """Start it, keeping the log of the run before as `*.previous.log`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():  # from the run before
            self.log.rename(self.log.with_suffix(".previous.log"))
        self.log.touch(mode=0o600)
        await self._spawn(asyncio.subprocess.PIPE)
        self._copy = asyncio.create_task(self._copy_output())

    async def wait(self) -> int:
        """Wait until it ends and all it said is in the log."""
        code = await super().wait()
        # Something it started may keep the stream open; its own last words are there by now.
        await asyncio.wait({self._copy}, timeout=1)
        return code

    async def _copy_output(self) -> None:
        assert self._child is not None
        assert self._child.stdout is not None
        pending = b""
        with self.log.open("ab", buffering=0) as log:
            while data := await self._child.stdout.read(1 << 16):
                *lines, pending = (pending + data).split(b"\n")
                log.write(b"".join(_formatted(line) for line in lines))
            if pending:
                log.write(_formatted(pending))


def _formatted(line: bytes) -> bytes:
    stamp = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{stamp} stdout F ".encode() + line + b"\n"


class ContainerRuntime:
    """Runs one container until stopped, and knows its state as a kubelet reports it.

    Args:
        container: What the pod's spec says.
        prepare: Mounts volumes and returns the command line; None for a simulated container.
        local: Where the pod's programs listen, by container port.
        changed: Called after every change of state.
    """

    def __init__(
        self,
        container: Container,
        prepare: Callable[[], Awaitable[Launch]] | None,
        *,
        local: dict[int, Endpoint],
        log: Path,
        folder: Path,
        mark: str,
        label: str,
        changed: Callable[[], None],
    ) -> None:
        self.container = container
        self._prepare = prepare
        self._local = local
        self._log, self._folder, self._mark, self._label = log, folder, mark, label
        self._changed = changed
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self._last_state: Object = {}
        self._restarts = 0
        self.ready = False
        self.started = asyncio.Event()

    @property
    def process(self) -> Process | None:
        """Its process, while it has one."""
        return self._process

    def start(self) -> None:
        """Begin; `started` is set once it has passed its startup probe."""
        self._task = asyncio.create_task(self._run())

    def complete(self) -> None:
        """Report an init container as having ended well."""
        at = now()
        self._state = {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "message": "simulated: the lab redirects no traffic with iptables",
                "startedAt": at,
                "finishedAt": at,
            }
        }
        self.ready = True
        self._changed()

    async def stop(self, grace: float) -> None:
        """End its process and stop restarting it."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._process:
            await self._process.stop(grace)

    def status(self) -> Object:
        """Its entry in the pod's containerStatuses or initContainerStatuses."""
        return {
            "name": self.container.name,
            "image": self.container.spec["image"],
            "imageID": "process" if self._prepare else "simulated",
            "ready": self.ready,
            "started": self.started.is_set(),
            "restartCount": self._restarts,
            "state": self._state,
            "lastState": self._last_state,
        }

    async def _run(self) -> None:
        if self._prepare is None:
            self._running()
            self.started.set()
            self._set_ready(True)
            return
        backoff = BACKOFF_FIRST
        while True:
            began = asyncio.get_running_loop().time()
            await self._run_once(self._prepare)
            if asyncio.get_running_loop().time() - began > BACKOFF_RESET:
                backoff = BACKOFF_FIRST
            await asyncio.sleep(backoff)  # as a kubelet does; nothing announces a better moment
            backoff = min(backoff * 2, BACKOFF_MOST)

    async def _run_once(self, prepare: Callable[[], Awaitable[Launch]]) -> None:
        try:
            command = await prepare()
        except (LabError, httpx.HTTPError) as error:
            reason = "FailedMount" if isinstance(error, NotMountable) else "CreateContainerError"
            self._wait(reason, str(error) or type(error).__name__)
            return
        except Exception as error:  # a mistake of the lab's: the pod says so, and does not wait on
            log.exception("%s could not be started", self._label)
            self._wait("CreateContainerError", f"the lab failed: {error!r}")
            return
        process = ContainerProcess(
            self._label,
            command.argv,
            log=self._log,
            mark=self._mark,
            env=command.env,
            folder=self._folder,
        )
        await process.start()
        self._process = process
        self._running()
        probing = asyncio.create_task(self._probe())
        try:
            code = await process.wait()
        finally:
            probing.cancel()
        await process.stop(0)  # whatever it started and left behind
        self.started.clear()
        self._exited(code, process.tail())

    async def _probe(self) -> None:
        startup = http_probe(self.container, "startupProbe")
        readiness = http_probe(self.container, "readinessProbe")
        async with httpx.AsyncClient(trust_env=False) as client:
            if startup:
                while not await self._passes(client, startup):
                    await asyncio.sleep(STARTING_PERIOD)
            self.started.set()
            failures = 0
            while readiness:
                if await self._passes(client, readiness):
                    failures = 0
                    self._set_ready(True)
                else:
                    failures += 1
                    if failures >= readiness.failures:
                        self._set_ready(False)
                settled = self.ready and not failures
                await asyncio.sleep(
                    min(readiness.period, LONGEST_PERIOD) if settled else STARTING_PERIOD
                )
            self._set_ready(True)

    async def _passes(self, client: httpx.AsyncClient, probe: HttpProbe) -> bool:
        address, port = self._local[probe.port]
        try:
            answer = await client.get(f"http://{address}:{port}{probe.path}", timeout=probe.timeout)
        except httpx.HTTPError:
            return False
        return 200 <= answer.status_code < 400

    def _set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._changed()

    def _running(self) -> None:
        self._state = {"running": {"startedAt": now()}}
        self._changed()

    def _wait(self, reason: str, message: str) -> None:
        state = {"waiting": {"reason": reason, "message": message}}
        if state != self._state:
            self._state = state
            self._changed()

    def _exited(self, code: int, tail: str) -> None:
        running = self._state.get("running", {})
        self._last_state = {
            "terminated": {
                # As a shell reports it: 128 and the signal's number.
                "exitCode": code if code >= 0 else 128 - code,
                "reason": "Completed" if code == 0 else "Error",
                "message": tail[-1000:],
                "startedAt": running.get("startedAt", now()),
                "finishedAt": now(),
            }
        }
        self._restarts += 1
        self.ready = False
        self._wait("CrashLoopBackOff", f"exited with code {code}; starting again")
