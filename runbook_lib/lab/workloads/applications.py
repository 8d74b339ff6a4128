"""The images of the lab's applications: what runs where a container names no command of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from runbook_lib.lab.foundation.process import Launch
from runbook_lib.lab.standins.postgresql import programs as postgresql_programs
from runbook_lib.lab.workloads.pods import Container
from runbook_lib.lab.workloads.programs import Surroundings, python

_POSTGRES = 999
"""User id of `postgres` in pods: the server refuses to be root."""


async def xnat(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,  # noqa: ARG001 -- as every launcher
    around: Surroundings,  # noqa: ARG001
) -> Launch:
    """The stand-in for XNAT."""
    return Launch([*(container.command or python("xnat", env)), *arguments], env)


async def postgresql(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,  # noqa: ARG001 -- as every launcher
    around: Surroundings,  # noqa: ARG001
) -> Launch:
    """PostgreSQL, with its tools on PATH for probes and for those who wait for it."""
    env["PATH"] = f"{postgresql_programs()}:{env['PATH']}"
    command = container.command or python("postgresql", env)
    return Launch([*command, *arguments], env, user=_POSTGRES)


async def portal(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,  # noqa: ARG001 -- as every launcher
    around: Surroundings,  # noqa: ARG001
) -> Launch:
    """A web server of Python's own, which knows GET and HEAD and answers 501 to the rest."""
    command = container.command or [sys.executable, "-u", "-m", "http.server"]
    return Launch([*command, *arguments], env)
