"""JSON that may go into a file: secrets are sealed, and can be compared all the same."""

from __future__ import annotations

import hashlib
from typing import Any

from runbook_lib.base import MASK, redact_value

SEALED = "sealed"
"""The only key of what stands in place of a secret."""

_SECRET = ("data", "stringData")
"""What of a Secret is secret."""


def sealed(value: Any, salt: str) -> Any:
    """Return a JSON value with each secret in it replaced by a digest of it.

    A password is shorter than what a digest could hide, so it takes scrypt's time to try each one.

    Args:
        value: An object, or a part of one.
        salt: Of one file; the same secret has other digests elsewhere.
    """
    return _sealed(value, salt, "", everything=False)


def _sealed(value: Any, salt: str, key: str, *, everything: bool) -> Any:
    if isinstance(value, dict):
        kept = value.get("kind") == "Secret"
        return {
            str(name): _sealed(item, salt, str(name), everything=everything or _is_of(kept, name))
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_sealed(item, salt, key, everything=everything) for item in value]
    if everything or MASK in str(redact_value({key: value})):
        plain = str(value).encode()
        return {SEALED: hashlib.scrypt(plain, salt=salt.encode(), n=2**13, r=8, p=1).hex()}
    return value


def _is_of(kept: bool, name: object) -> bool:
    return kept and name in _SECRET


def is_sealed(value: Any) -> bool:
    """Whether a value stands in place of a secret."""
    return isinstance(value, dict) and value.keys() == {SEALED}
