"""What a command prints for programs: one JSON document, of a shape that is documented."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

SCHEMA = 1
"""Version of all documents; within one, fields are only added (docs/commands.md)."""


class OutputFormat(StrEnum):
    """For whom a command prints."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a command says on standard output with `--output json`.

    Attributes:
        schema: The version of its shape.
    """

    schema: int = field(default=SCHEMA, init=False)

    def __str__(self) -> str:
        """The document as JSON; paths and times as text."""
        return json.dumps(asdict(self), indent=2, default=str)
