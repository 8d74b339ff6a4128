"""Keep secrets out of everything that people or files get to see.

Two nets: values registered as secret while the runbook runs, and shapes that are secret wherever
they occur. Both are applied to error messages, evidence and probe excerpts.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

MASK = "[redacted]"

_SHORTEST_SECRET = 6
"""Shorter values are not masked: they would blot out ordinary text."""

_SECRET_KEY = re.compile(
    r"(password|passwd|passphrase|token|authorization|credentials?"
    r"|(api|access|account|client|encryption|private|secret|signing)key(data)?"
    r"|(access|app|client|login|shared|webhook)secret)$"
)
"""The end of a key whose scalar is secret, in lower case without punctuation.

Not `secret` alone: `existingSecret` and `pullSecret` name a Secret, and a name is none.
"""

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
    # user:password@ in a URL; a password may hold @, and some services take a token alone.
    (re.compile(r"(?<=://)([^/\s:@'\"<>]*):[^/\s'\"<>]+@"), rf"\1:{MASK}@"),
    (re.compile(rf"(?<=://)(?!{_PARTLY})[^/\s:@'\"<>]{{6,}}@"), f"{MASK}@"),
)

_URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s]+)@")

_REFERENCE = re.compile(r"secret:[^:]+:[^:]+")
"""How a Kiali resource names a key of a Secret, in place of what is in it."""

_registered: set[str] = set()
_lock = threading.Lock()


def register(secret: str) -> None:
    """Mask `secret`, and each long line of it, from now on in this process.

    It is masked as it stands in HTML, JSON, URLs and Secrets as well.
    """
    parts = {secret.strip(), *(line.strip() for line in secret.splitlines())}
    forms = {
        form
        for part in parts
        if len(part) >= _SHORTEST_SECRET
        for form in (
            *(part, html.escape(part), quote(part, safe="")),
            *(json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]),
            base64.b64encode(part.encode()).decode(),
        )
    }
    with _lock:
        _registered.update(forms)


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
    """Redact every string inside mappings and sequences; what `secrets_in` finds goes entirely."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        secret = _secret_keys(value)
        return {
            redact(str(key)): MASK if key in secret else redact_value(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(item) for item in value]
    return value


def secrets_in(value: Any) -> Iterator[str]:
    """Yield every scalar that is secret by its key, and every password of a URL.

    Args:
        value: JSON values, such as the values of a Helm chart.
    """
    left, seen = [value], set()
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield from _URL_PASSWORD.findall(item)
        if id(item) in seen:  # an alias of YAML may lead into itself
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            secret = _secret_keys(item)
            yield from (str(item[key]) for key in secret)
            left += [each for key, each in item.items() if key not in secret]
        elif isinstance(item, list | tuple | set | frozenset):
            left += item


def _secret_keys(mapping: Mapping[Any, Any]) -> list[Any]:
    """Return the keys whose scalars are secret.

    A variable of a container has its own in two: `name: DB_PASSWORD` and `value`.
    """
    found = [key for key in mapping if _is_secret(str(key), mapping[key])]
    name = mapping.get("name")
    if isinstance(name, str) and _is_secret(name, mapping.get("value")):
        found.append("value")
    return found


def _is_secret(key: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    if _REFERENCE.fullmatch(str(value)):
        return False
    return _SECRET_KEY.search(re.sub(r"[^a-z0-9]", "", key.lower())) is not None
