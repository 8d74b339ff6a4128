"""Record what happened as JSON lines: one event a line, redacted, safe against crashes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.redact import redact_value

_STAMP = ("time", "run", "event", "notebook", "step")


@dataclass(frozen=True)
class Event:
    """Something that happened: a frozen dataclass a kind, whose fields are what is recorded of it.

    Fields are JSON values, datetimes, enums, and tuples and dataclasses of these. A kind can be
    read once its class is imported.
    """

    name: ClassVar[str]
    kinds: ClassVar[dict[str, type[Event]]] = {}

    def __init_subclass__(cls, *, name: str) -> None:
        """Name a kind, as it is named in the file."""
        cls.name = name
        Event.kinds[name] = cls


@dataclass(frozen=True)
class Entry:
    """One line of a journal.

    Attributes:
        at: When it was recorded, in UTC.
        run: The run's name.
        event: What happened.
        notebook: Where; empty if it was in none.
        step: To which step; empty if to none.
    """

    at: datetime
    run: str
    event: Event
    notebook: str = ""
    step: str = ""


@dataclass(frozen=True)
class History:
    """What a journal holds.

    Attributes:
        entries: Oldest first.
        unreadable: Numbers of lines that are none, from 1: cut short by a crash and followed by
            others, or of a kind that this version does not know.
    """

    entries: tuple[Entry, ...] = ()
    unreadable: tuple[int, ...] = ()


class Journal:
    """An append-only record of one run.

    Several processes may append to the same file: each line is one write, under a lock. Only its
    owner may read it.
    """

    def __init__(self, path: Path, *, run: str, notebook: str = "", step: str = "") -> None:
        """Record to `path` (its folder is made).

        Args:
            path: The file, usually `runs/<run>/evidence.jsonl`.
            run: Names the run; part of every line.
            notebook: Where the events happen.
            step: Which step they are about.
        """
        self.path = Path(path)
        self.notebook = notebook
        self._run, self._step = run, step

    def of_step(self, step: str, notebook: str = "") -> Journal:
        """The same journal, for events about one step, of another notebook if one is named."""
        where = notebook or self.notebook
        return Journal(self.path, run=self._run, notebook=where, step=step)

    def record(self, event: Event) -> None:
        """Append one event.

        Raises:
            RunbookError: The file cannot be written.
        """
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        where = {"notebook": self.notebook, "step": self._step}
        stamp = {"time": moment, "run": self._run, "event": event.name}
        entry = {**stamp, **{key: text for key, text in where.items() if text}, **asdict(event)}
        plain = json.loads(json.dumps(entry, default=_plain))
        line = json.dumps(redact_value(plain), ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append(line.encode())
        except OSError as error:
            raise RunbookError(
                f"cannot write evidence to {self.path}: {error.strerror}",
                "free up disk space or choose another run folder; nothing is done without evidence",
            ) from error

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
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


def read(path: Path) -> History:
    """Return what the journal at `path` holds; nothing if there is no such file.

    A last line that a crash cut short is as if it had not been written.
    """
    try:
        # Not splitlines(): JSON text may hold U+2028, which is a line break to it.
        *lines, rest = Path(path).read_bytes().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return History()
    found = [_entry(line) for line in lines]
    unreadable = [number for number, entry in enumerate(found, start=1) if entry is None]
    return History(tuple(filter(None, [*found, _entry(rest)])), tuple(unreadable))


def _entry(line: str) -> Entry | None:
    try:
        fields: dict[str, Any] = json.loads(line)
        time, run, name, notebook, step = (fields.pop(key, "") for key in _STAMP)
        event = _reader(name)(fields)
        return Entry(datetime.fromisoformat(time), run, event, notebook, step)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@cache
def _reader(kind: str) -> Callable[[object], Event]:
    """Return what makes an event of a kind from JSON values; it raises ValueError."""
    from pydantic import TypeAdapter  # takes a while to import, and who writes needs it not

    return TypeAdapter(Event.kinds[kind]).validate_python


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
