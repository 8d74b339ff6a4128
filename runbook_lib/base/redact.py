"""Keep secrets out of everything that people or files get to see.

Two nets: values registered as secret while the runbook runs, and shapes that are secret wherever
they occur. Both are applied to error messages, evidence and probe excerpts.
"""

from __future__ import annotations

import re
import threading
from typing import Any

MASK = "[redacted]"

_SHORTEST_SECRET = 6
"""Shorter values are not masked: they would blot out ordinary text."""

_SECRET_KEYS = frozenset(
    {
        *("token", "password", "passphrase", "authorization"),
        *("client-key-data", "client_key_data", "clientkeydata"),
        *("signing_key", "signingkey", "client_secret", "clientsecret"),
    }
)

_PARTLY = re.escape(MASK)
"""A secret whose beginning was masked because that is registered, too."""

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # JSON Web Token: three base64url parts, the first of which is JSON ('{"' is 'eyJ').
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)?"), MASK),
    # Token of an EKS cluster: a presigned URL, see aws-iam-authenticator.
    (re.compile(r"\bk8s-aws-v1\.[\w-]+"), MASK),
    (
        re.compile(
            rf"(?i)(\bauthorization[\"']?[ \t]*[:=][ \t]*[\"']?(?:bearer|basic)[ \t]+)"
            rf"(?:{_PARTLY})?[\w.~+/=-]+"
        ),
        rf"\1{MASK}",
    ),
    # Outside a header only what is too long for a word: "Bearer authentication" is no secret.
    (
        re.compile(rf"(?i)(\bbearer[ \t]+)(?:{_PARTLY}[\w.~+/=-]+|[\w.~+/=-]{{16,}})"),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.S
        ),
        MASK,
    ),
    # kubeconfig fields, as YAML or JSON; see https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
    (
        re.compile(
            r"(?i)(\b(?:client-key-data|id-token|refresh-token|access-token|token|password)"
            rf"[\"']?\s*[:=]\s*[\"']?)(?:{_PARTLY}[^\s\"',}}{{]+|(?!\[redacted\])[^\s\"',}}{{]{{6,}})"
        ),
        rf"\1{MASK}",
    ),
    # user:password@ in a URL
    (re.compile(r"(?<=://)([^/\s:@]+):[^/\s@]+@"), rf"\1:{MASK}@"),
)

_registered: set[str] = set()
_lock = threading.Lock()


def register(secret: str) -> None:
    """Mask `secret`, and each long line of it, from now on in this process."""
    parts = {secret.strip(), *(line.strip() for line in secret.splitlines())}
    with _lock:
        _registered.update(part for part in parts if len(part) >= _SHORTEST_SECRET)


def redact(text: str) -> str:
    """Return `text` with registered secrets and secret-looking shapes replaced by `MASK`."""
    with _lock:
        secrets = sorted(_registered, key=len, reverse=True)
    for secret in secrets:
        text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_value(value: Any) -> Any:
    """Redact every string inside mappings and sequences; scalars under secret keys go entirely."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            redact(str(key)): MASK
            if str(key).lower() in _SECRET_KEYS and isinstance(item, str | int | float)
            else redact_value(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(item) for item in value]
    return value
