"""Papermill, imported without what it loads for uses that no notebook here has.

That is two thirds of its CPU time: jsonschema, which reads notebooks, builds a grammar for
internationalised URLs when it is imported, and papermill loads Amazon's library for notebooks that
are stored there.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LEFT_OUT = ("rfc3987_syntax", "boto3")
"""Optional for those who import them."""


def papermill() -> Any:
    """Return the module; called before anything else imports it, or nbformat."""
    with _without(_LEFT_OUT):
        return importlib.import_module("papermill")


@contextmanager
def _without(modules: tuple[str, ...]) -> Iterator[None]:
    """Import as if optional modules were not installed; those that are loaded stay."""
    blocked = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type] # None makes imports fail
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]
