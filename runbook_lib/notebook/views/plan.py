"""Show a plan as HTML: a block for each object, its difference line by line.

A sign in front of every changed line says what the tint repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from runbook_lib.base import style
from runbook_lib.lifecycle import Change, Plan

LONG = 60
"""Lines from which a block is folded."""

_STYLE = style.sheet("plan")


@dataclass(frozen=True)
class Block:
    """Part of a change under a heading of its own.

    Attributes:
        heading: Such as `change Deployment istio-system/istiod` or `values`; may be empty.
        lines: Its lines, each of a diff or indented text.
    """

    heading: str
    lines: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """How many lines are added and removed."""
        return (
            sum(line.startswith("+") for line in self.lines),
            sum(line.startswith("-") for line in self.lines),
        )


def plan_html(plan: Plan) -> str:
    """A plan: each change with its difference, long ones folded."""
    if plan.empty:
        return (
            f"{_STYLE}<div class='rb-plan'><p><b>✓ Nothing to change.</b> "
            f"{escape(plan.note)}</p></div>"
        )
    count = "1 change" if len(plan.changes) == 1 else f"{len(plan.changes)} changes"
    parts = [f"<p><b>{count}</b> <small>(plan {plan.digest[:12]})</small></p>"]
    if plan.note:
        parts.append(f"<p>{escape(plan.note)}</p>")
    parts += map(_change_html, plan.changes)
    parts += [f"<p>⚠ Interruption: {escape(str(item))}</p>" for item in plan.interruptions]
    parts += [f"<p>⚠ Cannot be predicted: {escape(item)}</p>" for item in plan.unpredictable]
    if plan.fallback:
        parts.append(f"<p>If it is not verified: {escape(plan.fallback)}</p>")
    return f"{_STYLE}<div class='rb-plan'>{''.join(parts)}</div>"


def blocks(text: str) -> tuple[Block, ...]:
    """Split the text of a change where a line that is no diff and not indented begins a part."""
    return tuple(_blocks(text.splitlines()))


def _blocks(lines: Iterable[str]) -> Iterator[Block]:
    heading, kept = "", list[str]()
    for line in lines:
        if line.startswith(("--- live", "+++ desired")):
            # The names of the two sides; Helm's values have no other heading.
            name = line.removeprefix("--- live").strip()
            if line.startswith("---") and name:
                if heading or kept:
                    yield Block(heading, tuple(kept))
                heading, kept = name, []
        elif line[:1] in (" ", "+", "-", "@", ""):
            kept.append(line)
        else:
            if heading or kept:
                yield Block(heading, tuple(kept))
            heading, kept = line.rstrip(":"), []
    if heading or kept:
        yield Block(heading, tuple(kept))


def _change_html(change: Change) -> str:
    found = blocks(change.text)
    if len(found) == 1 and (not found[0].heading or not found[0].lines):
        # One object, or one sentence such as the reason of a restart.
        body = _lines_html(found[0].lines) or f"<p style='margin:.6em'>{escape(change.text)}</p>"
    else:
        body = "".join(map(_block_html, found))
    name = f"<b>{escape(change.action)}</b> <code>{escape(change.ref)}</code>"
    total = [sum(pair) for pair in zip(*(block.counts for block in found), strict=True)] or [0, 0]
    return _details(name, body, total[0], total[1], _is_long(found))


def _block_html(block: Block) -> str:
    if not block.lines:
        return f"<p style='margin:.4em .6em'>{escape(block.heading)}</p>"
    name = f"<code>{escape(block.heading)}</code>" if block.heading else "text"
    return _details(name, _lines_html(block.lines), *block.counts, _is_long((block,)))


def _is_long(found: tuple[Block, ...]) -> bool:
    """Whether to fold: several blocks are as long as the longest, the others fold themselves."""
    return len(found) == 1 and len(found[0].lines) > LONG


def _details(name: str, body: str, added: int, removed: int, folded: bool) -> str:
    marks = [f"+{added}"] if added else []
    marks += [f"−{removed}"] if removed else []  # a minus sign, as wide as the plus
    hint = " <small>(folded: select to open)</small>" if folded else ""
    title = f"lines added: {added}, removed: {removed}"
    count = f"<span class='rb-count' title='{title}'>{' '.join(marks)}</span>" if marks else ""
    state = "" if folded else " open"
    return f"<details{state}><summary>{count}{name}{hint}</summary>{body}</details>"


def _lines_html(lines: tuple[str, ...]) -> str:
    if lines and lines[0].startswith("@"):
        lines = lines[1:]  # a gap is worth a mark between two parts only
    return f"<pre>{''.join(map(_line_html, lines))}</pre>" if lines else ""


def _line_html(line: str) -> str:
    if line.startswith("@"):
        return "<span class='rb-at'>⋯</span>"
    kind = {"+": " class='rb-add'", "-": " class='rb-del'"}.get(line[:1], "")
    return f"<span{kind}>{escape(line) or ' '}</span>"
