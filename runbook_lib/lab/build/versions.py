"""A second version of Istio: the one that was built, under the stamp of the next minor version.

Go's linker keeps the version that `-X` gave it as one string. In a copy of the programs another one
of the same length takes its place, and the charts name it as a release's do. Compiling once more
would take a quarter of an hour for the same code.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from runbook_lib.lab.build.binaries import Build, stamp_chart
from runbook_lib.lab.build.recipes import istio_version
from runbook_lib.lab.foundation.errors import LabError

_PROGRAMS = ("istioctl", "pilot-agent", "pilot-discovery")
_TOOLS = ("helm", "kubectl")
"""What goes with istioctl in a folder of tools, the same for every version."""

_UNRELEASED = "tag: latest"
"""What the source tree's chart says where a release's names its version."""


def next_version() -> str:
    """The version that an upgrade leads to: one minor version newer than `istio_version`."""
    major, minor, rest = istio_version().split(".", 2)
    return f"{major}.{int(minor) + 1}.{rest}"


def ensure_next(build: Build) -> Build:
    """Return Istio's programs and charts of the next version, making them first if need be.

    Args:
        build: The version that was built.

    Raises:
        LabError: A program or a chart does not have the stamp that is to be replaced.
    """
    final = build.root.with_name(f"{build.root.name}-{next_version()}")
    if not final.is_dir():
        partial = Path(tempfile.mkdtemp(prefix=f"{final.name}.partial-", dir=final.parent))
        try:
            _make(build, Build(partial))
            partial.chmod(0o755)
            partial.rename(final)
        except OSError:  # another lab that starts at this moment was faster
            if not final.is_dir():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Build(final, build.addons)


def _make(first: Build, second: Build) -> None:
    second.bin.mkdir()
    for name in _PROGRAMS:
        _write_stamped(first.program(name), second.program(name))
    for name in _TOOLS:
        second.program(name).symlink_to(os.path.realpath(first.program(name)))
    charts = second.share("charts")
    shutil.copytree(first.share("charts"), charts)
    for chart in charts.iterdir():
        stamp_chart(chart / "Chart.yaml", next_version())
    values = charts / "istiod" / "values.yaml"
    values.write_bytes(_stamped(values, _UNRELEASED, f"tag: {next_version()}"))


def _write_stamped(source: Path, target: Path) -> None:
    before, after = istio_version(), next_version()
    if len(before) != len(after):
        raise LabError(f"Go keeps a string with its length, and {before} and {after} differ in it")
    target.write_bytes(_stamped(source, before, after))
    target.chmod(0o755)


def _stamped(source: Path, before: str, after: str) -> bytes:
    content = source.read_bytes()
    if (found := content.count(before.encode())) != 1:
        raise LabError(f"{source} has {before!r} {found} times, not once")
    return content.replace(before.encode(), after.encode())
