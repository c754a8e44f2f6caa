"""The generated part of docs/metrics.md: every metric in every convention, and its value on a stored pair.

All of it comes from the code: docstrings give the formulas, metadata the rest. The fused picture is the average of the
two sources of the pair, rounded half to even.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from fusion import images
from fusion.metrics import LEFT_OUT, Metric, evaluate, profiles
from fusion.registry import METRICS

PAIR = "01_street_day"
DEFAULT = "cddfuse"
ARROWS = {True: "higher is better", False: "lower is better", None: "no better direction"}


def generated(root: Path) -> str:
    """Markdown; `root` is the project's folder."""
    values = on_the_pair(root)
    names = sorted({m.name for m in METRICS.values()}, key=lambda name: next(iter(conventions(name))).column)
    return "\n".join([overview(names, values), *(section(name, values) for name in names), left_out()])


def on_the_pair(root: Path) -> dict[str, float]:
    folder = root / "test_img" / "sample"
    ir, vis = (images.grey_levels(images.read(folder / side / f"{PAIR}.png")) for side in ("ir", "vi"))
    return evaluate(np.rint((ir + vis) / 2), ir, vis, profile="all")


def conventions(name: str) -> list[Metric]:
    """The default profile first."""
    return sorted((m for m in METRICS.values() if m.name == name), key=lambda m: (m.profile != DEFAULT, m.profile))


def number(value: float) -> str:
    return "∞" if value == math.inf else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def overview(names: list[str], values: dict[str, float]) -> str:
    columns = [DEFAULT, *(p for p in profiles() if p != DEFAULT)]
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name in names:
        cells = [number(values[f"{p}/{name}"]) if f"{p}/{name}" in values else "" for p in columns]
        lines.append(f"| [{name}](#{name.lower()}) | " + " | ".join(cells) + " |")
    return "\n".join([f"Of the average of `test_img/sample/*/{PAIR}.png`:", "", *lines, ""])


def section(name: str, values: dict[str, float]) -> str:
    """One metric: its direction, then a paragraph per formula with the profiles that share it."""
    same: dict[object, list[Metric]] = {}
    for m in conventions(name):
        same.setdefault(m.function, []).append(m)
    base = values[next(iter(same.values()))[0].key]
    lines = [f"### {name}", "", f"{ARROWS[conventions(name)[0].higher_is_better].capitalize()}.", ""]
    for group in same.values():
        m, value = group[0], values[group[0].key]
        title = ", ".join(f"`{other.profile}`" for other in group)
        apart = f", {value / base:.3g} times the first" if value != base and math.isfinite(value) else ""
        lines += [f"- {title}: **{number(value)}**{apart}. {formula(m)}", f"  Source: {m.source}. {facts(m)}"]
        notes: dict[str, list[str]] = {}
        for other in group:
            notes.setdefault(other.note, []).append(f"`{other.profile}`")
        lines += [f"  Note on {', '.join(who)}: {note}." for note, who in notes.items() if note]
    return "\n".join([*lines, ""])


def formula(m: Metric) -> str:
    """The first paragraph of the docstring."""
    return " ".join(m.function.__doc__.split("\n\n")[0].split())


def facts(m: Metric) -> str:
    low, high = ("-∞" if m.range[0] == -math.inf else f"{m.range[0]:.4g}", number(m.range[1]))
    unit = f" {m.unit}" if m.unit else ""
    smallest = f"; sides of {m.smallest} pixels or more" if m.smallest > 1 else ""
    return f"Range {low} to {high}{unit}{smallest}."


def left_out() -> str:
    lines = [f"- `{key}`: {reason}." for key, reason in sorted(LEFT_OUT.items())]
    return "\n".join(["### Left out, and why", "", *lines])
