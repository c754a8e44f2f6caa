"""A result folder -> `index.html`, the page on which methods are compared by eye.

Works from the folder alone (`summary.json`, `metrics.csv`, pictures) and imports nothing of the project. The page opens
from disk without a server and without the internet, and the folder can be zipped and sent: style, programs and numbers
stand in `index.html`, everything else it shows lies under `index_files/` (see `pictures.py`).

`page.html` is the frame, `colours.css` and `page.css` the look, and each `*.js` one thing the page does; a browser runs
them in the order of `SCRIPTS`, as one program.
"""

from __future__ import annotations

import csv
import html
import json
import math
from pathlib import Path
from string import Template

from fusion.names import natural
from fusion.page import pictures, tables
from fusion.page.pictures import add_sources

__all__ = ["add_sources", "write"]

HERE = Path(__file__).parent
STYLES = ("colours.css", "page.css")
SCRIPTS = ("core.js", "tables.js", "views.js", "browser.js", "values.js", "strip.js", "charts.js", "start.js")


def write(out: Path) -> Path:
    """Write `out/index.html`, and under `out/index_files` the thumbnails and pixel values that are missing or old.

    Raises OSError where a file cannot be read or written.
    """
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    data = collect(summary, out)
    for dataset in data["datasets"]:
        dataset["sizes"] = pictures.prepare(out, dataset)
    target = out / "index.html"
    pictures.write_whole(target, render(summary, data).encode())
    return target


def collect(summary: dict, out: Path) -> dict:
    """What the programs of the page work on; every list of a data set is in the order of its `models` or `images`."""
    scores = _scores(out / "metrics.csv", list(summary["metrics"]))
    better = {True: 1, False: -1, None: 0}
    return {
        "metrics": [{"name": n, "better": better[m["higher_is_better"]]} for n, m in summary["metrics"].items()],
        "datasets": [_dataset(d, scores.get(d["name"], {}), out) for d in summary["datasets"]],
    }


def _scores(path: Path, metrics: list[str]) -> dict:
    """data set -> image -> model -> one value per metric, None where it is undefined."""
    found: dict = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = [_number(row.get(name)) for name in metrics]
            found.setdefault(row["dataset"], {}).setdefault(row["image"], {})[row["model"]] = values
    return found


def _number(text: str | float | None, digits: int = 6) -> float | None:
    """A finite number, rounded to as many digits as anyone reads; None for everything else."""
    try:
        value = float(f"{float(text):.{digits}g}")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _dataset(dataset: dict, scores: dict, out: Path) -> dict:
    sources = pictures.sources(out, dataset["name"])
    rows = dataset["rows"]
    images = sorted({*scores, *sources["files"]}, key=natural)
    return {
        "name": dataset["name"],
        "images": images,
        "models": [row["model"] for row in rows],
        "labels": sources["labels"],
        "sources": [sources["files"].get(image) for image in images],
        "scores": [[scores.get(image, {}).get(row["model"]) for image in images] for row in rows],
        "seconds": [[_number(row.get("times", {}).get(image), 3) for image in images] for row in rows],
        "typical": [_number(row["seconds"], 3) for row in rows],
    }


def render(summary: dict, data: dict) -> str:
    """The page as text. Whatever came from outside is escaped: as HTML in tables and notes, as JSON in the data."""
    scripts = "\n".join(f"<script>\n{(HERE / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS)
    frame = Template((HERE / "page.html").read_text(encoding="utf-8"))
    count = sum(d["pairs"] for d in summary["datasets"])
    return frame.substitute(
        style="\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES),
        about=html.escape(f"{count} pairs · profile {summary['profile']} · means over pictures, seconds: median"),
        tables="\n".join(tables.scores(d, summary) for d in summary["datasets"]),
        notes=tables.notes(summary),
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        scripts=scripts,
    )
