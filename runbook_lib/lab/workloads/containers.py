"""One container of a pod that the lab runs: its process, restarts, probes and log."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from runbook_lib.lab.build.behind import BeingCompiled
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.process import (
    DIE_WITH_PARENT,
    ContainerProcess,
    Launch,
    Process,
)
from runbook_lib.lab.network.sandbox import Sandbox
from runbook_lib.lab.workloads.pods import Container
from runbook_lib.lab.workloads.probes import Probe, probe
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


def _reason(error: Exception) -> str:
    """Return why a container waits that could not be started, in a kubelet's words."""
    if isinstance(error, BeingCompiled):
        return "ContainerCreating"
    return "FailedMount" if isinstance(error, NotMountable) else "CreateContainerError"


class ContainerRuntime:
    """Runs one container until stopped, and knows its state as a kubelet reports it.

    Args:
        container: What the pod's spec says.
        prepare: Mounts volumes and returns the command line; None for a simulated container.
        sandbox: The pod's.
        log: The container's log.
        folder: What plays its root file system, and is its working directory.
        mark: The lab's.
        label: What errors call it.
        restart: The pod's restartPolicy.
        changed: Called after every change of state.
    """

    def __init__(
        self,
        container: Container,
        prepare: Callable[[], Awaitable[Launch]] | None,
        *,
        sandbox: Sandbox,
        log: Path,
        folder: Path,
        mark: str,
        label: str,
        restart: str,
        changed: Callable[[], None],
    ) -> None:
        self.container = container
        self._log = log
        self._prepare = prepare
        self._sandbox = sandbox
        self._folder, self._mark, self._label = folder, mark, label
        self._restart = "Always" if container.sidecar else restart
        self._changed = changed
        self._process: Process | None = None
        self._launch: Launch | None = None
        self._task: asyncio.Task[None] | None = None
        self._state: Object = {"waiting": {"reason": "PodInitializing"}}
        self._last_state: Object = {}
        self._restarts = 0
        self.ready = False
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    @property
    def process(self) -> Process | None:
        """Its process, while it has one."""
        return self._process

    def log_of(self, *, previous: bool) -> Path:
        """Where the log of the newest run is, or of the one before that.

        As with a kubelet, a container that waits to be started again has no newer run than the
        one that ended last, and that is the previous one too.
        """
        waits = bool(self._last_state) and "waiting" in self._state
        return self._log.with_suffix(".previous.log") if previous and not waits else self._log

    @property
    def exit_code(self) -> int | None:
        """How it has ended for good."""
        ended = self._state.get("terminated")
        return int(ended["exitCode"]) if ended else None

    def start(self) -> None:
        """Begin; `started` is set once it has passed its startup probe, `ended` at its end."""
        self._state = {"waiting": {"reason": "ContainerCreating"}}
        self._task = asyncio.create_task(self._run())

    async def before_stop(self, grace: float) -> None:
        """Play the preStop hook, a pause or a command, for the grace period at most."""
        hook = self.container.spec.get("lifecycle", {}).get("preStop", {})
        with suppress(TimeoutError, LabError):
            async with asyncio.timeout(grace):
                if "sleep" in hook:
                    await asyncio.sleep(hook["sleep"]["seconds"])
                elif "exec" in hook:
                    await self._exec(hook["exec"]["command"])

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

    def command(self, argv: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Launch:
        """What runs a command in the container, with its environment and its user.

        Args:
            argv: The command.
            env: Set besides the container's own.

        Raises:
            LabError: the container has no process to go by.
        """
        if self._launch is None:
            why = "has not been started yet" if self._prepare else "is simulated: it has no process"
            raise LabError(f"container {self._label} {why}")
        user = str(self._launch.user)
        as_user = ("unshare", "--user", f"--map-user={user}", f"--map-group={user}", "--")
        prefix = [
            *self._sandbox.enter,
            *("env", f"--chdir={self._folder}"),
            *([*as_user, *DIE_WITH_PARENT] if self._launch.user else []),
        ]
        return Launch([*prefix, *argv], self._launch.env | (env or {}))

    async def _run(self) -> None:
        if self._prepare is None:
            self._simulate()
            return
        backoff = BACKOFF_FIRST
        while True:
            began = asyncio.get_running_loop().time()
            code = await self._run_once(self._prepare)
            if code is not None and self._is_over(code):
                return
            if asyncio.get_running_loop().time() - began > BACKOFF_RESET:
                backoff = BACKOFF_FIRST
            await asyncio.sleep(backoff)  # as a kubelet does; nothing announces a better moment
            backoff = min(backoff * 2, BACKOFF_MOST)

    def _simulate(self) -> None:
        self._running()
        self.started.set()
        if self.container.ends:
            self._terminate(0, "simulated: its image has no process in the lab")
        else:
            self._set_ready(True)

    def _is_over(self, code: int) -> bool:
        """Whether it is not started again after it has ended."""
        return self._restart == "Never" or (
            code == 0 and (self.container.ends or self._restart == "OnFailure")
        )

    async def _run_once(self, prepare: Callable[[], Awaitable[Launch]]) -> int | None:
        """Run it to its end; returns its exit code, None if it could not be started."""
        try:
            self._launch = await prepare()
        except (LabError, httpx.HTTPError) as error:
            self._wait(_reason(error), str(error) or type(error).__name__)
            return None
        except Exception as error:  # a mistake of the lab's: the pod says so, and does not wait on
            log.exception("%s could not be started", self._label)
            self._wait("CreateContainerError", f"the lab failed: {error!r}")
            return None
        command = self.command(self._launch.argv)
        process = ContainerProcess(
            self._label, command.argv, log=self._log, mark=self._mark, env=command.env
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
        # As a shell reports it: 128 and the signal's number.
        code = code if code >= 0 else 128 - code
        self.started.clear()
        self.ready = False
        if self._is_over(code):
            self._terminate(code, process.tail()[-1000:])
        else:
            self._exited(code, process.tail()[-1000:])
        return code

    async def _probe(self) -> None:
        startup = probe(self.container, "startupProbe")
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            if startup and not await self._starts(client, startup):
                await self._kill("it did not pass its startup probe")
                return
            self.started.set()
            self._changed()
            await asyncio.gather(self._watch_readiness(client), self._watch_liveness(client))

    async def _starts(self, client: httpx.AsyncClient, startup: Probe) -> bool:
        loop = asyncio.get_running_loop()
        latest = loop.time() + startup.delay + startup.failures * startup.period
        while not await self._passes(client, startup):
            if loop.time() > latest:
                return False
            await asyncio.sleep(STARTING_PERIOD)
        return True

    async def _watch_readiness(self, client: httpx.AsyncClient) -> None:
        readiness = probe(self.container, "readinessProbe")
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
        self._set_ready(not self.container.ends)

    async def _watch_liveness(self, client: httpx.AsyncClient) -> None:
        liveness = probe(self.container, "livenessProbe")
        if liveness is None:
            return
        await asyncio.sleep(liveness.delay)
        failures = 0
        while failures < liveness.failures:
            await asyncio.sleep(liveness.period)
            failures = 0 if await self._passes(client, liveness) else failures + 1
        await self._kill(f"it failed its liveness probe {failures} times in a row")

    async def _passes(self, client: httpx.AsyncClient, check: Probe) -> bool:
        return await check.passes(self._sandbox.address, client, self._exec)

    async def _exec(self, argv: list[str]) -> int:
        command = self.command(argv)
        child = await asyncio.create_subprocess_exec(
            *DIE_WITH_PARENT,
            *command.argv,
            env=command.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            return await child.wait()
        finally:
            with suppress(ProcessLookupError):
                child.kill()

    async def _kill(self, why: str) -> None:
        """End the process, which is started again as when it ends by itself."""
        assert self._process is not None
        self._process.note(f"killed: {why}")
        # In a task of its own: the end of the process cancels this one.
        stopping = asyncio.create_task(self._process.stop(5))
        await asyncio.shield(stopping)

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

    def _ending(self, code: int, message: str) -> Object:
        running = self._state.get("running", {})
        return {
            "terminated": {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                "message": message,
                "startedAt": running.get("startedAt", now()),
                "finishedAt": now(),
            }
        }

    def _terminate(self, code: int, message: str) -> None:
        """It has ended, and is not started again."""
        self._state = self._ending(code, message)
        self.ready = self.container.init and code == 0
        self.ended.set()
        self._changed()

    def _exited(self, code: int, message: str) -> None:
        self._last_state = self._ending(code, message)
        self._restarts += 1
        self._wait("CrashLoopBackOff", f"exited with code {code}; starting again")
