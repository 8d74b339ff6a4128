"""Paths without what could be a name: known words stay, and `*` stands for everything else.

A sidecar leaves names out before it logs a path, so that none reaches a log or what collects logs.
Envoy replaces by a regular expression (RE2, without looking ahead) and with the same replacement
everywhere, so there a name leaves nothing between two slashes; the `*` is put there afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

SUBSTITUTION = r"\1\2\3"
"""What is left of each segment that `pattern` matches: a word, and the slash after it."""

_COLLECTIONS = (
    *("projects", "subjects", "experiments", "assessors", "scans", "reconstructions"),
    *("resources", "files", "folders", "groups", "members", "sessions", "user", "users"),
)
"""Words of XNAT's REST interface that a name follows; see https://wiki.xnat.org/xnat-api."""

_WORDS = (
    *("REST", "data", "xapi", "app", "action", "screen", "template", "login", "JSESSION"),
    *("archive", "prearchive", "services", "import", "config", "search", "auth", "version"),
    *("siteConfig", "scan_types", "accessibility", "roles", "events", "dicomscp"),
)
"""Words of it that no name follows."""


def pattern(paths: Iterable[str]) -> str:
    """Return the expression that matches one segment of a path after the other, or the query.

    Args:
        paths: Paths of the parameters: their words are known, too.
    """
    known = {word for path in paths for word in re.split(r"[/?]", path.partition("?")[0])}
    words = sorted({*_COLLECTIONS, *_WORDS, *known} - {"", "*"})
    word = "|".join(map(re.escape, words))
    named = "|".join(_COLLECTIONS)
    return rf"(?:((?:{named})/)[^/?]*|({word})|[^/?]*)(?:(/)|\?.*|$)"


def in_stars(logged: str | None) -> str:
    """Return a path as people read it, such as `/data/projects/*`.

    Args:
        logged: As a sidecar wrote it; None if nothing was left of it. That a path ends with a slash
            cannot be told from a name there.
    """
    segments = [segment or "*" for segment in (logged or "/").split("/")[1:]]
    shorter = (list(same) for _, same in groupby(segments, key=lambda segment: segment == "*"))
    return "/" + "/".join("*" if same[0] == "*" else "/".join(same) for same in shorter)
