"""The kubelet's server: `kubectl logs`, `kubectl exec` and `kubectl port-forward` end here."""

from __future__ import annotations

import asyncio
from pathlib import Path

from runbook_lib.lab.foundation.addresses import NODE_IP
from runbook_lib.lab.foundation.certificates import Pair
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.https import Request, Response, serve
from runbook_lib.lab.kubelet import logs, streams
from runbook_lib.lab.workloads.workloads import Workloads

PORT = 10250


class Kubelet:
    """Answers the API server.

    Args:
        workloads: The pods that have a process.
        mark: The lab's, for the commands that are run in containers.
    """

    def __init__(self, workloads: Workloads, mark: str) -> None:
        self._workloads, self._mark = workloads, mark

    async def start(self, serving: Pair, clients: Path) -> asyncio.Server:
        """Listen on the node's address."""
        return await serve(self._answer, NODE_IP, PORT, serving=serving, clients=clients)

    async def _answer(self, request: Request) -> Response | None:
        kind, *words = request.path.strip("/").split("/")
        if kind not in ("containerLogs", "exec", "portForward") or len(words) < 2:
            return Response(404, b"the lab's kubelet does not serve this\n")
        pod = self._workloads.pod(words[0], words[1])
        if pod is None:
            return Response(404, f"pod {words[0]}/{words[1]} is simulated\n".encode())
        if kind == "portForward":
            await streams.forward(request, pod.sandbox)
            return None
        container = pod.container(words[2])
        if container is None:
            return Response(404, f"pod {words[1]} has no container {words[2]}\n".encode())
        if kind == "containerLogs":
            path = container.log_of(previous=request.first("previous") == "true")
            if not path.exists():
                return Response(404, f"container {words[2]} has no such log\n".encode())
            await logs.send(request, path, running=container.ended)
            return None
        try:
            command = container.command(request.query.get("command", []))
        except LabError as error:
            return Response(400, f"{error}\n".encode())
        await streams.execute(request, command, self._mark)
        return None
