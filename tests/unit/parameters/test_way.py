"""The way of a parameter, from the file to the object that it changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from runbook_lib.chapters.policies import manifest as manifest
from runbook_lib.notebook.given import Given
from runbook_lib.parameters import handover, loading

PORTS = [8104, 11112]
"""Ports that occur nowhere else."""


def containers(value: Any, depth: int = 8) -> Iterator[Any]:
    """Yield whatever inside of a value holds the two ports themselves."""
    if isinstance(value, list | tuple):
        if all(port in value for port in PORTS):
            yield value
        children: Any = value
    elif isinstance(value, dict):
        # A PeerAuthentication has the ports as keys.
        if set(PORTS) <= {int(key) for key in value if str(key).isdigit()}:
            yield value
        children = value.values()
    else:
        children = getattr(value, "__dict__", {}).values()
    for child in children if depth else ():
        yield from containers(child, depth - 1)


class Rebuilders:
    """The runbook's modules in which a parameter takes a new shape, in order."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self._seen: list[Any] = []  # kept, so that no identity is used twice

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return") or not _module(frame):
            return
        # What a function is called with was made by its caller.
        maker: FrameType | None = frame.f_back if event == "call" else frame
        while maker is not None and not _module(maker):
            maker = maker.f_back
        for found in containers([value, *frame.f_locals.values()]):
            if not any(found is each for each in self._seen):
                self._seen.append(found)
                if maker is not None and _module(maker) not in self.modules:
                    self.modules.append(_module(maker))


def _module(frame: FrameType) -> str:
    name = str(frame.f_globals.get("__name__"))
    return name if name.startswith("runbook_lib.") else ""


def test_a_parameter_is_rebuilt_by_four_modules_at_most(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"target: {{kind: lab}}\napplication: {{plaintext_ports: {PORTS}}}\n")
    rebuilders = Rebuilders()
    sys.setprofile(rebuilders)
    try:
        checked = loading.load(file)
        environ = handover.hand_over(checked, tmp_path)
        parameters = Given({}, environ).checked.parameters
        exception = manifest.mutual_tls_exception(parameters, {"app": "web"})
    finally:
        sys.setprofile(None)
    assert exception["spec"]["portLevelMtls"].keys() == {"8080", "8104", "11112"}
    assert rebuilders.modules == [
        "runbook_lib.base.yaml_source",
        "runbook_lib.parameters.loading",
        "runbook_lib.parameters.handover",
        "runbook_lib.chapters.policies.manifest",
    ]
