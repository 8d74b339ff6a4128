"""Record what happened as JSON lines: one event a line, redacted, chained, safe against crashes.

docs/evidence.md describes the format for those who read it without this library.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.redact import redact_value

SCHEMA = 1
"""Version of the lines' format; it changes when a reader of the old one would misread the new."""

NO_LINE = "0" * 64
"""What the first line has in place of a hash of the one before."""

_STAMP = ("time", "run", "event", "notebook", "step")
_CHAIN = ("schema", "line", "previous")
_BLOCK = 65536


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


@dataclass(frozen=True)
class Seal:
    """What identifies a journal up to one of its lines.

    Attributes:
        lines: How many lines there are up to there.
        sha256: The hash of the last of them without its line end, in hexadecimal. As each line
            holds the hash of the one before, it stands for all of them.
    """

    lines: int
    sha256: str

    def __str__(self) -> str:
        """Both, as the option `--seal` takes them."""
        return f"{self.lines}:{self.sha256}"


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
        plain = redact_value(json.loads(json.dumps(entry, default=_plain)))
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append(plain)
        except OSError as error:
            raise RunbookError(
                f"cannot write evidence to {self.path}: {error.strerror}",
                "free up disk space or choose another run folder; nothing is done without evidence",
            ) from error

    def _append(self, entry: dict[str, Any]) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # Without it the end may be read in the middle of another process's line. Closing the
            # file, or dying, lets go of the lock.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            last, cut_short = _last_line(descriptor)
            chain = {"schema": SCHEMA, "line": last.lines + 1, "previous": last.sha256}
            line = (json.dumps(chain | entry, ensure_ascii=False) + "\n").encode()
            if cut_short:  # by a crash: do not glue this one to it
                line = b"\n" + line
            _write_whole(descriptor, line)
        finally:
            os.close(descriptor)


def _write_whole(descriptor: int, line: bytes) -> None:
    """Append a line, or nothing of it: half a line on a full disk would break the chain."""
    size = os.fstat(descriptor).st_size
    try:
        left = line
        while left:  # what did not fit is refused, with its reason, when it is tried again
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def seal_of(path: Path) -> Seal:
    """Return what identifies the journal at `path` as it is now; zero lines if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return Seal(0, NO_LINE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return _last_line(descriptor)[0]
    finally:
        os.close(descriptor)


def hash_of(line: bytes) -> str:
    """Return what the line after this one holds as `previous`.

    Args:
        line: Without its line end.
    """
    return hashlib.sha256(line).hexdigest()


def _last_line(descriptor: int) -> tuple[Seal, bool]:
    """Return what identifies an open journal, and whether its last line has no end."""
    size = start = os.fstat(descriptor).st_size
    if not size:
        return Seal(0, NO_LINE), False
    cut_short = os.pread(descriptor, 1, size - 1) != b"\n"
    end = size if cut_short else size - 1
    text = b""
    while start > 0 and b"\n" not in text:
        start = max(0, start - _BLOCK)
        text = os.pread(descriptor, end - start, start)
    line = text.rpartition(b"\n")[2]
    try:
        number = int(json.loads(line)["line"])
    except (ValueError, TypeError, KeyError):  # cut short, or not written by this version
        number = os.pread(descriptor, size, 0).count(b"\n") + cut_short
    return Seal(number, hash_of(line)), cut_short


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


class Tail:
    """What is added to a journal, each time that it is looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> Iterator[Entry]:
        """Yield what was added since the last time; a line that is still being written comes later.

        Lines that cannot be read are left out.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
        except FileNotFoundError:
            return
        whole = added.rpartition(b"\n")[0]
        if not whole:
            return
        self._read += len(whole) + 1
        for line in whole.decode(errors="replace").split("\n"):
            if (entry := _entry(line)) is not None:
                yield entry


def _entry(line: str) -> Entry | None:
    try:
        fields: dict[str, Any] = json.loads(line)
        for key in _CHAIN:
            fields.pop(key, None)
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
