"""Readers of the output that go away before its end, as `head` does, do not end a command."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Unread(io.FileIO):
    """A file whose reader may have gone: what is written from then on goes nowhere."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let what is printed go nowhere once its reader is gone; the exit code stays the same."""
    sys.stdout, sys.stderr = _unread(sys.stdout), _unread(sys.stderr)


def _unread(stream: TextIO) -> TextIO:
    try:
        file = _Unread(stream.fileno(), "w", closefd=False)
    except io.UnsupportedOperation:  # no file: whoever put it there reads it
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty() or stream is sys.__stderr__,
        write_through=stream is sys.__stderr__,
    )
