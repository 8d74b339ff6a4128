"""On a disk that is full, evidence stays whole: a small file system of its own, really filled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILL = """
import sys
from pathlib import Path
from runbook_lib.base import RunbookError, chain
from runbook_lib.base.journal import Event, Journal, read, seal_of
from dataclasses import dataclass

@dataclass(frozen=True)
class Said(Event, name="test-said"):
    text: str

folder = Path(sys.argv[1])
ballast, path = folder / "ballast", folder / "evidence.jsonl"
ballast.write_bytes(b"x" * 40_000)
journal = Journal(path, run="r")
try:
    while True:
        journal.record(Said("x" * 1500))
except RunbookError as error:
    print(error)
whole = len(read(path).entries)
assert whole > 3 and path.read_bytes().endswith(b"\\n")
assert chain.faults(path, [seal_of(path)]) == [], chain.faults(path)
ballast.unlink()
journal.record(Said("after"))
assert len(read(path).entries) == whole + 1
assert chain.faults(path, [seal_of(path)]) == []
"""


def on_a_small_disk(folder: Path, *argv: str, size: str) -> subprocess.CompletedProcess[str]:
    """Run a command in namespaces where a folder is a file system of a few bytes."""
    mounted = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, folder, *argv],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_line_that_does_not_fit_leaves_nothing_of_itself(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path, sys.executable, "-c", FILL, str(tmp_path), size="64k")
    assert done.returncode == 0, done.stderr
    assert "cannot write evidence to" in done.stdout
    assert "No space left on device" in done.stdout
    assert "free up disk space" in done.stdout
