"""Results on disk -> tables for a paper: `summary.tex`, one booktabs table per data set, best bold, second underlined.

Works from `summary.json` alone. The document needs `\\usepackage{booktabs}`.
"""

from __future__ import annotations

import json
from pathlib import Path

from fusion import report

ARROWS = {True: "$\\uparrow$", False: "$\\downarrow$", None: ""}
SPECIAL = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
SPECIAL |= {c: f"\\{c}" for c in "&%$#_{}"}
MARKS = {1: "\\textbf{%s}", 2: "\\underline{%s}", None: "%s"}


def write(out: Path) -> None:
    """Write `summary.tex` next to `out/summary.json`. Raises OSError where a file cannot be read or written."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    text = "\n".join(["% \\usepackage{booktabs}", *(table(d, summary) for d in summary["datasets"])])
    path, unfinished = out / "summary.tex", out / ".summary.tex.part"
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def table(dataset: dict, summary: dict) -> str:
    """One data set: a row per model, a column per metric, then the mean rank."""
    metrics = summary["metrics"]
    rows = dataset["rows"]
    columns = {name: marked([row["mean"][name] for row in rows], m["higher_is_better"]) for name, m in metrics.items()}
    columns["rank"] = marked([row.get("rank") for row in rows], False)
    head = [escaped(name) + ARROWS[m["higher_is_better"]] for name, m in metrics.items()] + ["rank" + ARROWS[False]]
    head += report.costs_heads(summary)
    lines = []
    for i, row in enumerate(rows):
        scores = [columns[name][i] + _dagger(row, name) for name in columns]
        costs = [cell.replace("-", "--") for cell in report.costs_cells(row, summary)]
        lines.append(" & ".join([escaped(row["model"]), *scores, *costs]) + " \\\\")
        if "published" in row:
            cells = [report.published_cell(row["published"], name) for name in metrics]
            blank = [""] * (1 + len(costs))
            lines.append(" & ".join(["\\quad printed", *map(compared, cells), *blank]) + " \\\\")
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{caption(dataset, summary)}}}",
            f"\\begin{{tabular}}{{l{'r' * len(head)}}}",
            "\\toprule",
            " & ".join(["", *head]) + " \\\\",
            "\\midrule",
            *lines,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def compared(cell: str) -> str:
    """A printed value and what ours is more, in small type."""
    return "--" if cell == "-" else f"{{\\footnotesize {cell.replace(' ', '~').replace('-', '$-$')}}}"


def _dagger(row: dict, name: str) -> str:
    return "$^\\dagger$" if row["undefined"].get(name) else ""


def caption(dataset: dict, summary: dict) -> str:
    """What the table holds, where printed rows come from, and every mean that is not over all pairs."""
    parts = [
        f"{escaped(dataset['name'])}: means over {dataset['pairs']} pairs, metrics of profile "
        f"{escaped(summary['profile'])}; best bold, second underlined."
    ]
    parts += filter(None, [escaped(report.costs_legend(summary))])
    if printed := [row for row in dataset["rows"] if "published" in row]:
        parts.append(escaped(report.published_legend(dataset, printed)).replace("`=`", "="))
    for row in dataset["rows"]:
        if row["images"] != dataset["pairs"]:
            parts.append(f"{escaped(row['model'])}: {row['images']} pairs only.")
        parts += [
            f"$^\\dagger$ {escaped(name)} of {escaped(row['model'])} is undefined on {n} of them."
            for name, n in row["undefined"].items()
        ]
    return " ".join(parts)


def marked(values: list[float | None], higher_is_better: bool | None) -> list[str]:
    """The values to two decimals, the best bold and the second underlined; those that print alike share a place."""
    printed = ["--" if value is None else f"{value:.2f}" for value in values]
    known = sorted({float(p) for p in printed if p != "--"}, reverse=bool(higher_is_better))
    ranked = higher_is_better is not None and sum(p != "--" for p in printed) > 1
    places = {value: place for place, value in enumerate(known[:2], 1)} if ranked else {}
    return [MARKS[None if p == "--" else places.get(float(p))] % p for p in printed]


def escaped(text: str) -> str:
    return "".join(SPECIAL.get(c, c) for c in text)
