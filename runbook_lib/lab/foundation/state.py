"""What a lab says about itself on disk, and how the processes that belong to it are found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from runbook_lib.base.locations import lab_directory, lab_state_file
from runbook_lib.lab.foundation.certificates import write_private
from runbook_lib.lab.foundation.process import MARK


@dataclass(frozen=True)
class State:
    """The contents of lab.json.

    Attributes:
        state: `ready` or `stopping`.
        url: The application through the edge.
        sites: The URL of each namespace's Ingress, kept up to date.
        bin: Folder with kubectl, helm and istioctl that fit the cluster.
        charts: Chart folders: `base`, `istiod` and `kiali-operator`.
        istio_version: The version of Istio that these are of.
        upgrades: `bin` and `charts` of versions that Istio can be upgraded to, by version.
        addons: Manifests of Istio's sample add-ons, by the name of the program.
        pid: Process id of the supervisor.
        authority: Certificate that signed those of the site's load balancers.
    """

    name: str
    state: str
    kubeconfig: str
    context: str
    server: str
    url: str
    bin: str
    charts: dict[str, str]
    istio_version: str
    pid: int
    addons: dict[str, str] = field(default_factory=dict)
    authority: str = ""
    sites: dict[str, str] = field(default_factory=dict)
    upgrades: dict[str, dict[str, Any]] = field(default_factory=dict)

    def stopping(self) -> State:
        """The same lab on its way down."""
        return dataclasses.replace(self, state="stopping")


def write_state(name: str, state: State) -> None:
    """Replace lab.json in one step."""
    path = lab_state_file(name)
    new = write_private(path.with_suffix(".new"), json.dumps(dataclasses.asdict(state), indent=2))
    new.rename(path)


def read_state(name: str) -> State | None:
    """The lab's own words; None if it never became ready, is gone, or another version started it.

    It may have crashed since.
    """
    written = _written(name)
    required = {
        each.name
        for each in dataclasses.fields(State)
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    }
    if not required <= written.keys():
        return None
    known = {each.name for each in dataclasses.fields(State)}
    return State(**{key: value for key, value in written.items() if key in known})


def _written(name: str) -> dict[str, Any]:
    """The contents of a lab's lab.json, whichever version wrote them; empty without a file."""
    try:
        written: dict[str, Any] = json.loads(lab_state_file(name).read_text())
    except FileNotFoundError:
        return {}
    return written


def marked_processes(name: str) -> Iterator[psutil.Process]:
    """Every process that carries the lab's mark in its environment, whoever its parent is."""
    mark = str(lab_directory(name))
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                yield process
        except (psutil.AccessDenied, psutil.NoSuchProcess, OSError):
            continue


def alive(state: State) -> bool:
    """Whether the supervisor that wrote the state still runs."""
    return any(process.pid == state.pid for process in marked_processes(state.name))


def log_files(name: str) -> dict[str, Path]:
    """Log name to file: components by their name, containers as namespace/pod/container."""
    folder = lab_directory(name)
    found = {file.stem: file for file in sorted((folder / "logs").glob("*.log"))}
    for file in sorted((folder / "pods").glob("*/*.log")):
        if not file.stem.endswith(".previous"):
            namespace, pod, _ = file.parent.name.split("_")
            found[f"{namespace}/{pod}/{file.stem}"] = file
    return found
