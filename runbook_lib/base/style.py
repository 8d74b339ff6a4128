"""One look for all that is shown as HTML: a palette, and the rules for each kind of view.

Colours only repeat what a word or a sign says already. Tints lie over the theme's own colours, and
lines take JupyterLab's variables with fallbacks, so light and dark themes work, and front ends
without these variables too.
"""

from __future__ import annotations

from string import Template

HUES = {"good": "#2ea043", "warn": "#d29922", "bad": "#f85149", "info": "#1976d2"}
"""Accents: as it should be, to be considered, wrong, and at work."""

TINTS = {
    "good_tint": "rgba(46,160,67,.18)",
    "warn_tint": "rgba(210,153,34,.16)",
    "bad_tint": "rgba(248,81,73,.22)",
    "grey_tint": "rgba(128,128,128,.12)",
}
"""The same as backgrounds, and one for what is only set apart."""

_FROM_THEME = {
    "text": "var(--jp-content-font-color1, inherit)",
    "border": "var(--jp-border-color1, #8888)",
    "border_soft": "var(--jp-border-color2, #8886)",
    "focus": f"var(--jp-brand-color1, {HUES['info']})",
    "code_font": "var(--jp-code-font-family, monospace)",
    "code_size": "var(--jp-code-font-size, 13px)",
}
_VALUES = {**HUES, **TINTS, **_FROM_THEME}

_RULES = {
    # JupyterLab aligns all cells to the right, by a rule that is more specific than any of ours.
    "table": (
        ".rb-table * { text-align: left !important; } "
        ".rb-good { background:$good_tint } .rb-bad { background:$bad_tint }"
    ),
    "plan": """
.rb-plan { color: $text; max-width: 72em; }
.rb-plan p { margin: .4em 0; }
.rb-plan details { margin: .5em 0; border: 1px solid $border; border-radius: 3px; }
.rb-plan details details { margin: .4em; border-color: $border_soft; }
.rb-plan summary { padding: .3em .6em; cursor: pointer; background: $grey_tint; }
.rb-plan summary:focus-visible { outline: 2px solid $focus; }
.rb-plan pre { margin: 0; padding: .3em 0; overflow-x: auto; background: transparent;
  color: inherit; line-height: 1.45; font-size: $code_size; font-family: $code_font; }
.rb-plan pre span { display: block; min-width: max-content; padding: 0 .6em;
  border-left: 3px solid transparent; }
.rb-plan .rb-add { background: $good_tint; border-color: $good; }
.rb-plan .rb-del { background: $bad_tint; border-color: $bad; }
.rb-plan .rb-at { opacity: .75; background: $grey_tint; }
.rb-plan .rb-count { float: right; opacity: .85; font-family: $code_font; }
""",
    "diagnosis": """
.rb-diagnosis { color: $text; max-width: 72em; }
.rb-diagnosis p { margin: .4em 0; }
.rb-diagnosis .rb-card { margin: .6em 0; padding: .4em .8em; border-radius: 3px;
  border: 1px solid $border; border-left: 4px solid $bad; }
.rb-diagnosis .rb-todo { border-left-color: $warn; }
.rb-diagnosis .rb-kind { opacity: .85; font-size: .9em; }
.rb-diagnosis dl { display: grid; grid-template-columns: max-content minmax(0, 1fr);
  gap: .15em 1em; margin: .4em 0; }
.rb-diagnosis dt { opacity: .75; }
.rb-diagnosis dd { margin: 0; overflow-wrap: anywhere; }
.rb-diagnosis code, .rb-transcript pre { background: $grey_tint; color: inherit; }
.rb-diagnosis summary { cursor: pointer; padding: .2em 0; }
.rb-diagnosis summary:focus-visible { outline: 2px solid $focus; }
.rb-transcript pre { padding: .4em .6em; overflow-x: auto; line-height: 1.4;
  font-size: $code_size; }
""",
    # The theme's stripes and its alignment go from the table of facts.
    "gate": """
.rb-gate { color: $text; line-height: 1.45; }
.rb-gate table { border-collapse: collapse; margin: .3em 0; }
.rb-gate tr { background: transparent !important; }
.rb-gate tr > * { text-align: left !important; vertical-align: top; font-size: inherit;
  padding: .1em 1em .1em 0; }
.rb-gate th { white-space: nowrap; font-weight: 600; }
.rb-gate .rb-title { font-size: 1.15em; font-weight: 600; margin: 0 0 .2em; }
.rb-gate .rb-warning { border-left: 4px solid $warn; padding: .2em .6em; margin: .4em 0;
  background: $warn_tint; }
.rb-gate .rb-status { border-left: 4px solid $border; padding: .25em .6em; margin: .3em 0; }
.rb-gate .rb-status.rb-approved { border-color: $good; background: $good_tint; }
.rb-gate .rb-status.rb-stopped { border-color: $bad; background: $bad_tint; }
.rb-gate .rb-status.rb-skipped { border-color: $warn; background: $warn_tint; }
.rb-widget { border: 1px solid $border; border-radius: 4px; padding: .6em .8em; }
.rb-widget button:focus-visible { outline: 3px solid $focus; outline-offset: 1px; }
""",
    "wait": """
.rb-wait { color: $text; border-left: 4px solid $focus; padding: .25em .6em; margin: .2em 0; }
.rb-wait.rb-done { border-color: $good; } .rb-wait.rb-failed { border-color: $bad; }
.rb-wait small { opacity: .85; white-space: pre-wrap; }
""",
}


def sheet(view: str) -> str:
    """Return the `style` element of a kind of view: `table`, `plan`, `diagnosis`, `gate`, `wait`.

    Every output brings its own: front ends show outputs one by one.
    """
    return f"<style>{Template(_RULES[view]).substitute(_VALUES)}</style>"
