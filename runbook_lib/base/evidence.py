"""Record what happened as JSON lines: one event a line, redacted, safe against crashes."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.redact import redact_value


class Evidence:
    """An append-only record of one run.

    Several processes may append to the same file: each line is one write, under a lock.
    """

    def __init__(self, path: Path, *, run_id: str, **context: Any) -> None:
        """Record to `path` (its folder is made).

        Args:
            path: The file, usually `runs/<run id>/evidence.jsonl`.
            run_id: Names the run; part of every line.
            **context: Fields added to every line, such as `notebook="04_mutual_tls"`.
        """
        self.path = Path(path)
        self.run_id = run_id
        self._context = context

    def bind(self, **context: Any) -> Evidence:
        """The same record, with `context` added to every line."""
        return Evidence(self.path, run_id=self.run_id, **{**self._context, **context})

    def record(self, event: str, **fields: Any) -> None:
        """Append one event.

        Args:
            event: What happened, such as `step-applied`.
            **fields: JSON values; paths and other objects are recorded as their text.

        Raises:
            RunbookError: The file cannot be written.
        """
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": moment, "run": self.run_id, "event": event, **self._context, **fields}
        plain = json.loads(json.dumps(entry, default=str))
        line = json.dumps(redact_value(plain), ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(line.encode())
        except OSError as error:
            raise RunbookError(
                f"cannot write evidence to {self.path}: {error.strerror}",
                "free the disk or choose another run folder; nothing is done without evidence",
            ) from error

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # Without it the size may be read in the middle of another process's line. Closing the
            # file, or dying, lets go of the lock.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                # A crash cut the last line short: do not glue this one to it.
                line = b"\n" + line
            written = os.write(descriptor, line)
            if written != len(line):
                raise OSError(0, f"only {written} of {len(line)} bytes written")
        finally:
            os.close(descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the events in `path`, oldest first; none if there is no such file.

    A last line cut short by a crash is left out; one that was cut short earlier, and written after
    since, is returned as the event `unreadable` with its line number.
    """
    try:
        # Not splitlines(): JSON text may hold U+2028, which is a line break to it.
        lines = Path(path).read_bytes().decode(errors="replace").removesuffix("\n").split("\n")
    except FileNotFoundError:
        return []
    events: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            if number < len(lines):
                events.append({"event": "unreadable", "line": number})
            continue
        events.append(event)
    return events
