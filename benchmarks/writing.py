"""Write what was measured as Markdown and as JSON, with the machine on which it was."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from runbook_lib.headless.report import PHASES, Bar

_WIDTH = 48
_SIGNS = dict(zip(PHASES, "·▒|█░", strict=True))
"""How each phase is drawn."""


@dataclass(frozen=True)
class Figure:
    """One figure, measured once or several times.

    Attributes:
        values: What was measured.
        unit: Such as `s`; empty for a ratio.
        aim: The most that it should be; None if there is no aim.
    """

    values: tuple[float, ...]
    unit: str = "s"
    aim: float | None = None


@dataclass
class Results:
    """Everything that was measured.

    Attributes:
        machine: The machine, by what is said of it.
        figures: By what they are of.
        chart: The full run, phase by phase.
        memory: Of the lab after 05, by program, in MiB.
    """

    machine: dict[str, str]
    figures: dict[str, Figure] = field(default_factory=dict)
    chart: tuple[Bar, ...] = ()
    memory: Mapping[str, float] = field(default_factory=dict)


def machine() -> dict[str, str]:
    """Describe this machine as it is now."""
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / (1 << 30):.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load at the beginning (1, 5, 15 min)": load,
    }


def write(results: Results, folder: Path) -> str:
    """Write `benchmark.json` and `benchmark.md`; return the latter's text."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _markdown(results)
    (folder / "benchmark.md").write_text(text, encoding="utf-8")
    (folder / "benchmark.json").write_text(json.dumps(asdict(results), indent=1) + "\n")
    return text


def _markdown(results: Results) -> str:
    lines = ["# Benchmark", "", *(f"- {key}: {text}" for key, text in results.machine.items()), ""]
    lines += ["| | min | median | max | | aim |", "|---|---:|---:|---:|---|---:|"]
    for name, figure in results.figures.items():
        low, middle, high = (f(figure.values) for f in (min, statistics.median, max))
        aim = "" if figure.aim is None else f"{figure.aim:g}"
        lines.append(f"| {name} | {low:.2f} | {middle:.2f} | {high:.2f} | {figure.unit} | {aim} |")
    lines += ["", "## The full run, phase by phase", "", "```text", *_chart(results.chart), "```"]
    lines += ["", "## What it made others do", "", *_counts(results.chart)]
    lines += ["", "## Memory of the lab after 05, MiB", "", "| program | PSS |", "|---|---:|"]
    by_size = sorted(results.memory.items(), key=lambda item: -item[1])
    lines += [f"| {name} | {size:.0f} |" for name, size in by_size]
    return "\n".join([*lines, ""])


def _chart(bars: tuple[Bar, ...]) -> list[str]:
    longest = max((bar.total for bar in bars), default=1.0)
    width = max((len(bar.title) for bar in bars), default=0)
    lines = ["  ".join(f"{_SIGNS[phase]} {phase}" for phase in PHASES), ""]
    for bar in bars:
        drawn = "".join(
            _SIGNS[phase] * round(_WIDTH * bar.seconds.get(phase, 0.0) / longest)
            for phase in PHASES
        )
        lines.append(f"{bar.title:<{width}} {bar.total:7.2f} s  {drawn}")
    return lines


def _counts(bars: tuple[Bar, ...]) -> list[str]:
    rows = [
        f"| {bar.title} | {bar.requests} | {bar.programs_text} | {bar.shown_bytes} |"
        for bar in bars
    ]
    every = sum((bar.programs for bar in bars), start=Counter[str]())
    programs = ", ".join(f"{count} {name}" for name, count in sorted(every.items()))
    total = f"| all | {sum(b.requests for b in bars)} | {programs} | "
    total += f"{sum(b.shown_bytes for b in bars)} |"
    return ["| | API requests | programs | bytes shown |", "|---|---:|---|---:|", *rows, total]
