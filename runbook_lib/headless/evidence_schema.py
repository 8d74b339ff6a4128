"""The JSON Schema of a line of evidence, made from the events themselves."""

from __future__ import annotations

from typing import Any

from runbook_lib.base import Event
from runbook_lib.base.journal import SCHEMA
from runbook_lib.lifecycle import events

_LINE: dict[str, Any] = {
    "schema": {"const": SCHEMA, "description": "Version of this format."},
    "line": {"type": "integer", "minimum": 1, "description": "The line's number."},
    "previous": {
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "SHA-256 of the line before without its line end; zeros in the first line.",
    },
    "time": {"type": "string", "format": "date-time", "description": "When, in UTC."},
    "run": {"type": "string", "description": "The name of the run's folder."},
    "notebook": {"type": "string", "description": "Where; left out if in none."},
    "step": {"type": "string", "description": "To which step; left out if to none."},
}
_OPTIONAL = ("notebook", "step")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of one line, a choice among all kinds of events."""
    from pydantic import TypeAdapter

    kinds = {name: kind for name, kind in sorted(Event.kinds.items()) if _is_ours(kind)}
    template = "#/$defs/{model}"
    found, shared = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(kind)) for name, kind in kinds.items()],
        ref_template=template,
    )
    definitions: dict[str, Any] = dict(shared.get("$defs", {}))
    choices = []
    for (name, _), made in found.items():
        own = definitions[made["$ref"].rpartition("/")[2]] if "$ref" in made else made
        definitions[str(name)] = {
            "description": own["description"],
            "type": "object",
            "properties": {"event": {"const": name}, **_LINE, **own["properties"]},
            "required": [
                *("event", *(key for key in _LINE if key not in _OPTIONAL)),
                *own["properties"],
            ],
            "additionalProperties": False,
        }
        choices.append({"$ref": f"#/$defs/{name}"})
    used = _used(definitions, choices)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of evidence.jsonl, version {SCHEMA}",
        "oneOf": choices,
        "$defs": {name: definitions[name] for name in sorted(definitions) if name in used},
    }


def _is_ours(kind: type[Event]) -> bool:
    """Whether it is of a run: approvals of plans, for example, have a file of their own."""
    return kind.__module__ == events.__name__


def _used(definitions: dict[str, Any], start: Any) -> set[str]:
    """Return the names of the definitions to which something leads."""
    names: set[str] = set()
    left = [start]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            reference = str(item.get("$ref", "")).rpartition("/")[2]
            if reference and reference not in names:
                names.add(reference)
                left.append(definitions[reference])
            left += item.values()
        elif isinstance(item, list):
            left += item
    return names
