"""Results on disk -> tables for people: the terminal, `summary.md` and `index.html`.

Works from a result folder alone (`summary.json`, `metrics.csv`, pictures) and imports nothing of the project, so that
a folder made anywhere can be rendered anywhere.
"""

from __future__ import annotations

import csv
import html
import json
from pathlib import Path
from urllib.parse import quote

ARROWS = {True: "↑", False: "↓", None: ""}


def write(out: Path) -> str:
    """Write `summary.md` and `index.html` next to `out/summary.json`; returns the tables as plain text.

    Raises OSError where a file cannot be read or written.
    """
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    markdown = "\n\n".join([_heading(summary), *(_markdown(d, summary) for d in summary["datasets"]), *_notes(summary)])
    _write(out / "summary.md", markdown + "\n")
    _write(out / "index.html", _page(summary, out))
    return "\n\n".join([*(_text(d, summary) for d in summary["datasets"]), *_notes(summary)])


def _write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


# --- cells ----------------------------------------------------------------------------------------------------------


def header(summary: dict) -> list[str]:
    return ["model", *(f"{name}{ARROWS[m['higher_is_better']]}" for name, m in summary["metrics"].items()), "s/image"]


def cells(dataset: dict, summary: dict) -> list[tuple[str, list[tuple[str, bool]], str]]:
    """(model, [(printed value, is best)], seconds) per row. Values that print alike are best together."""
    columns = {}
    for name, metric in summary["metrics"].items():
        printed = [_print(row["mean"][name]) for row in dataset["rows"]]
        defined = [float(p) for p in printed if p != "-"]
        pick = {True: max, False: min}.get(metric["higher_is_better"])
        best = pick(defined) if pick and len(defined) > 1 else None
        columns[name] = [
            (p + ("†" if row["undefined"].get(name) else ""), p != "-" and float(p) == best)
            for p, row in zip(printed, dataset["rows"], strict=True)
        ]
    return [
        (row["model"], [columns[name][i] for name in columns], _seconds(row["seconds"]))
        for i, row in enumerate(dataset["rows"])
    ]


def _print(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _heading(summary: dict) -> str:
    return f"# Fused pictures compared\n\n{_legend(summary)}"


def _legend(summary: dict) -> str:
    return f"Metrics of profile {summary['profile']}, means over images (seconds: median); best in bold."


def _title(dataset: dict) -> str:
    return f"{dataset['name']}: {dataset['pairs']} pairs"


def _notes(summary: dict) -> list[str]:
    notes = [f"Not run: {row}: {reason}" for row, reason in summary["skipped"].items()]
    for dataset in summary["datasets"]:
        for row in dataset["rows"]:
            where = f"{dataset['name']}, {row['model']}"
            if row["images"] != dataset["pairs"]:
                notes.append(f"{where}: means over {row['images']} of {dataset['pairs']} pairs.")
            notes += [
                f"† {where}: {name} is undefined on {n} of {row['images']} pictures, which its mean leaves out."
                for name, n in row["undefined"].items()
            ]
    if summary["failures"]:
        failed = [f"  {f['dataset']}/{f['image']}: {f['model']}: {f['error']}" for f in summary["failures"]]
        notes.append("\n".join([f"{len(failed)} failed:", *failed]))
    return ["\n".join(notes)] if notes else []


# --- forms ----------------------------------------------------------------------------------------------------------


def _text(dataset: dict, summary: dict) -> str:
    rows = [header(summary)]
    rows += [
        [model, *(("*" if best else "") + value for value, best in values), s]
        for model, values, s in cells(dataset, summary)
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([f"{_title(dataset)} (* best)", *lines])


def _markdown(dataset: dict, summary: dict) -> str:
    head = header(summary)
    lines = [f"## {_title(dataset)}", "", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for model, values, seconds in cells(dataset, summary):
        printed = [f"**{v}**" if best else v for v, best in values]
        lines.append("| " + " | ".join([model.replace("|", "\\|"), *printed, seconds]) + " |")
    return "\n".join(lines)


STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: .8rem; }
figure { margin: 0; } figcaption { font-size: .85rem; opacity: .8; }
img { width: 100%; display: block; }
"""


def _page(summary: dict, out: Path) -> str:
    parts = ["<h1>Fused pictures compared</h1>"]
    parts.append(f"<p>{html.escape(_legend(summary))}</p>")
    pictures = _pictures(out)
    for dataset in summary["datasets"]:
        parts.append(f"<h2>{html.escape(_title(dataset))}</h2>{_html_table(dataset, summary)}")
        for image, models in pictures.get(dataset["name"], {}).items():
            figures = "".join(_figure(dataset["name"], model, image) for model in models)
            parts.append(f"<h3>{html.escape(image)}</h3><div class=pictures>{figures}</div>")
    parts += [f"<pre>{html.escape(note)}</pre>" for note in _notes(summary)]
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Fused pictures compared</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>"


def _html_table(dataset: dict, summary: dict) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header(summary))
    body = ""
    for model, values, seconds in cells(dataset, summary):
        printed = "".join(f"<td>{f'<b>{v}</b>' if best else v}</td>" for v, best in values)
        body += f"<tr><td>{html.escape(model)}</td>{printed}<td>{seconds}</td></tr>"
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _pictures(out: Path) -> dict[str, dict[str, list[str]]]:
    """data set -> image -> models, in the order of metrics.csv."""
    found: dict[str, dict[str, list[str]]] = {}
    with (out / "metrics.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["dataset"], {}).setdefault(row["image"], []).append(row["model"])
    return found


def _figure(dataset: str, model: str, image: str) -> str:
    address = "/".join(quote(part) for part in (dataset, model, f"{image}.png"))
    return f"<figure><img loading=lazy src='{address}' alt=''><figcaption>{html.escape(model)}</figcaption></figure>"
