"""Faults of the application: its pods and Services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runbook_lib.cluster.objects import Object
from tests.faults.site import FRONT, Fault, Site


@contextmanager
def sidecar_killed(site: Site) -> Iterator[None]:
    site.process("pilot-agent").kill()

    def restarted(pod: Object) -> bool:
        states = pod["status"].get("initContainerStatuses") or []
        return any(s["name"] == "istio-proxy" and s["restartCount"] for s in states)

    site.until_pod("xnat-xnat-web-0", "to have its sidecar restarted", restarted)
    yield
    site.restart_web()


@contextmanager
def application_hangs(site: Site) -> Iterator[None]:
    process = site.process("standins.xnat")
    process.suspend()
    try:
        site.until_pod("xnat-xnat-web-0", "not to be ready", lambda pod: not _web_is_ready(pod))
        yield
    finally:
        process.resume()
    site.until_pod("xnat-xnat-web-0", "to be ready", _web_is_ready)


def _web_is_ready(pod: Object) -> bool:
    states = pod["status"].get("containerStatuses") or []
    return any(s["name"] == "xnat" and s["ready"] for s in states)


@contextmanager
def scaled_to_zero(site: Site) -> Iterator[None]:
    site.kubectl("scale", "statefulset/xnat-xnat-web", "--replicas=0")
    site.until_answer("GET", 503)
    yield
    site.kubectl("scale", "statefulset/xnat-xnat-web", "--replicas=1")
    site.until_rolled_out()


def service(
    path: str, value: str | int, *, status: int, names: tuple[str, ...] = (FRONT,)
) -> Fault:
    """Services in front of the web pods with one field otherwise."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        old: Any = site.get("service", names[0])
        for key in path.strip("/").split("/"):
            field = key.replace("~1", "/")  # RFC 6901
            old = old[int(field)] if isinstance(old, list) else old[field]

        def put(new: str | int) -> None:
            patch = json.dumps([{"op": "replace", "path": path, "value": new}])
            for name in names:
                site.kubectl("patch", "service", name, "--type", "json", "--patch", patch)

        put(value)
        site.until_answer("GET", status)
        yield
        put(old)
        site.until_answer("GET", 200)

    return fault


@contextmanager
def service_deleted(site: Site) -> Iterator[None]:
    before = site.get("service", FRONT)
    site.kubectl("delete", "service", FRONT)
    site.until_answer("GET", 503)
    yield
    site.recreate(before)
    site.until_answer("GET", 200)
