"""Results on disk -> tables for people: the terminal and `summary.md`. The page, `index.html`, is `fusion/page`'s.

Works from `summary.json` alone and imports nothing of the project, so that a folder made anywhere can be rendered
anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

ARROWS = {True: "↑", False: "↓", None: ""}
STAR = "\\*"  # significant at 5 %, in Markdown


def write(out: Path) -> str:
    """Write `summary.md` next to `out/summary.json`; returns the tables as plain text.

    Raises OSError where a file cannot be read or written.
    """
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    parts = [
        part for d in summary["datasets"] for part in (_markdown(d, summary), *_published(d), *_statistics(d, summary))
    ]
    markdown = "\n\n".join([_heading(summary), *parts, *_notes(summary)])
    _write(out / "summary.md", markdown + "\n")
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
    notes += filter(None, [seconds_legend(summary), costs_legend(summary)])
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


# --- what a pair costs ----------------------------------------------------------------------------------------------

COSTS = {  # key of a row's `costs` -> heading, how it prints, what it is
    "parameters": ("params", "{:,.0f}", "weights of the network"),
    "flops": ("GFLOPs", "{:.4g}", "convolutions and matrix products, two for a multiply and an add"),
    "seconds": ("s", "{:.3g}", "median seconds"),
    "mebibytes": ("MiB", "{:.0f}", "peak memory of a process, Python and PyTorch included; of a GPU, tensors"),
}


def costs_heads(summary: dict) -> list[str]:
    """Headings of the columns of costs; none where they were not asked for."""
    return [head for head, *_ in COSTS.values()] if summary.get("costs") else []


def costs_values(row: dict, summary: dict) -> list[float | None]:
    """A row's costs in the units of their columns, None where nothing is known."""
    found = row.get("costs") or {}
    scale = {"flops": 1e-9}
    values = [(found.get(key), scale.get(key, 1)) for key in COSTS] if summary.get("costs") else []
    return [None if value is None else value * unit for value, unit in values]


def costs_cells(row: dict, summary: dict) -> list[str]:
    """The same, printed."""
    values = zip(COSTS.values(), costs_values(row, summary), strict=bool(summary.get("costs")))
    return ["-" if value is None else form.format(value) for (_, form, _), value in values]


def seconds_legend(summary: dict) -> str:
    """Where pictures were timed; several places where a comparison was continued elsewhere. Empty where none tells."""
    machines = summary.get("machines", [])
    return f"s/image: as the pictures were made, on {'; '.join(machines)}." if machines else ""


def costs_legend(summary: dict) -> str:
    """Where costs were measured; empty where they were not."""
    if not (about := summary.get("costs")):
        return ""
    heads = costs_heads(summary)
    return f"{', '.join(heads[:-1])} and {heads[-1]}: of a pair of {about['size']} on {about['machine']}."


# --- forms ----------------------------------------------------------------------------------------------------------


def _text(dataset: dict, summary: dict) -> str:
    rows = [[*header(summary), *costs_heads(summary)]]
    rows += [
        [model, *(("*" if best else "") + value for value, best in values), s, *costs_cells(row, summary)]
        for (model, values, s), row in zip(cells(dataset, summary), dataset["rows"], strict=True)
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([f"{_title(dataset)} (* best)", *lines])


def _markdown(dataset: dict, summary: dict) -> str:
    head = [*header(summary), *costs_heads(summary)]
    lines = [f"## {_title(dataset)}", "", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for (model, values, seconds), row in zip(cells(dataset, summary), dataset["rows"], strict=True):
        printed = [f"**{v}**" if best else v for v, best in values]
        found = [model.replace("|", "\\|"), *printed, seconds, *costs_cells(row, summary)]
        lines.append("| " + " | ".join(found) + " |")
    return "\n".join(lines)


def _published(dataset: dict) -> list[str]:
    """What papers print of the same methods, beside ours, cell by cell; nothing where they print none of them."""
    rows = [row for row in dataset["rows"] if "published" in row]
    if not rows:
        return []
    columns = published_columns(rows)
    lines = ["|  | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    lines += ["| " + " | ".join([name.replace("|", "\\|"), *cells]) + " |" for name, cells in beside(rows, columns)]
    return [published_legend(dataset, rows), "\n".join(lines)]


def published_columns(rows: list[dict]) -> list[str]:
    """The metrics that papers print of any of `rows`."""
    return list(dict.fromkeys(name for row in rows for name in row["published"]["printed"]))


def beside(rows: list[dict], columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(heading, cells) of two lines for each of `rows`: ours, and below it what is printed and by how much ours is
    more."""
    lines = []
    for row in rows:
        lines.append((f"{row['model']}, ours", [_print(row["mean"].get(name)) for name in columns]))
        lines.append(("printed", [published_cell(row["published"], name) for name in columns]))
    return lines


def published_cell(published: dict, name: str) -> str:
    """`6.83 =` where ours prints alike, else what ours is more."""
    if name not in published["printed"]:
        return "-"
    off = published["difference"][name]
    return f"{published['printed'][name]} {f'{off:+.2f}' if off else '='}"


def published_legend(dataset: dict, rows: list[dict]) -> str:
    about = rows[0]["published"]
    source = f"As printed in {about['paper']}, means over {about['pairs']} pairs"
    lines = [f"{source}; `=`: ours prints alike, else ours less theirs."]
    if about["pairs"] != dataset["pairs"]:
        lines.append(f"Ours are means over {dataset['pairs']} pairs: they need not agree.")
    lines += [f"{row['model']}: {row['published']['remark']}." for row in rows if row["published"]["remark"]]
    return " ".join(lines)


def _statistics(dataset: dict, summary: dict) -> list[str]:
    """How sure the means are: a row per metric, a column per model; nothing for results that hold no statistics."""
    rows = dataset["rows"]
    if not rows or "interval" not in rows[0]:
        return []
    head = ["", *(row["model"].replace("|", "\\|") for row in rows)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * len(rows)]
    for name in summary["metrics"]:
        lines.append(f"| {name} | " + " | ".join(_spread(row, name) for row in rows) + " |")
    ranks = ["-" if row["rank"] is None else f"{row['rank']:.2f}" for row in rows]
    lines.append("| mean rank | " + " | ".join(ranks) + " |")
    legend = (
        "Mean ± standard error [95 % interval of the mean], median; p: Wilcoxon's signed-rank test against "
        f"{dataset['reference']}, Holm's correction for this table."
    )
    return [legend, "\n".join(lines)]


def _spread(row: dict, name: str) -> str:
    mean, error, interval = row["mean"][name], row["standard_error"][name], row["interval"][name]
    if mean is None:
        return "-"
    text = _print(mean) + (f" ± {_print(error)}" if error is not None else "")
    text += " [{:.2f}, {:.2f}]".format(*interval) if interval else ""
    text += f", {_print(row['median'][name])}"
    p = row["p"][name]
    return text + (
        "" if p is None else f"; p < 0.001{STAR}" if p < 0.001 else f"; p = {p:.3f}{STAR if p < 0.05 else ''}"
    )
