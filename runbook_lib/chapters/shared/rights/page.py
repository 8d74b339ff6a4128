"""The rights as a table of a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook_lib.chapters.shared.rights.right import AccountRole, Right


def page(roles: Iterable[AccountRole]) -> Iterator[str]:
    """Yield the lines of a section for each role, in Markdown: its rules, and what needs them."""
    for role in roles:
        yield from ("", f"### {role.name}", "", "| Where | What | Verbs | Needed by |")
        yield "|---|---|---|---|"
        for right in role.rights:
            cells = (right.namespace or "all", _what(right), " ".join(right.verbs))
            yield f"| {' | '.join(cells)} | {', '.join(right.steps) or 'all'} |"


def _what(right: Right) -> str:
    kinds = ", ".join(f"`{each}{right.group and '.' + right.group}`" for each in right.resources)
    return kinds + (f": {', '.join(right.names)}" if right.names else "")
