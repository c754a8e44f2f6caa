"""The parts of the page that are plain HTML: the score tables and the notes. Readable without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fusion import report

ARROWS = {True: "↑", False: "↓", None: ""}
COSTS = report.COSTS.values()


def scores(dataset: dict, summary: dict) -> str:
    """A data set's table: a row per model, a column per metric, best and second marked, sortable (`tables.js`)."""
    rows, reference = dataset["rows"], dataset.get("reference", "")
    ranks = [row.get("rank") for row in rows]
    ranked = any(rank is not None for rank in ranks)
    heads = [_head("model", None, "")]
    heads += [_head(name, m["higher_is_better"], m["note"]) for name, m in summary["metrics"].items()]
    heads += [_head("rank", False, "mean rank over the metrics; 1 is best")] if ranked else []
    timed = "median time per picture, without reading and writing files"
    heads += [_head("s/image", False, "; ".join(filter(None, [timed, report.seconds_legend(summary)])))]
    if summary.get("costs"):
        heads += [_head(head, False, f"{what}; {report.costs_legend(summary)}") for head, _, what in COSTS]
    directions = {name: m["higher_is_better"] for name, m in summary["metrics"].items()}
    places = {name: _places([row["mean"][name] for row in rows], up) for name, up in directions.items()}
    rank_places = _places(ranks, False)
    body = ""
    for i, row in enumerate(rows):
        cells = "".join(_cell(row, name, places[name][i], reference) for name in directions)
        cells += _number(ranks[i], 2, rank_places[i]) if ranked else ""
        cells += _number(row["seconds"], 3)
        cells += "".join(map(_cost, report.costs_values(row, summary), report.costs_cells(row, summary)))
        body += f'<tr><th scope="row">{escape(row["model"])}</th>{cells}</tr>\n'
    title = f"{escape(dataset['name'])} <small>{dataset['pairs']} pairs</small>"
    table = f'<table class="scores"><thead><tr>{"".join(heads)}</tr></thead>\n<tbody>\n{body}</tbody></table>'
    return f'<section class="dataset"><h2>{title}</h2>\n<div class="wide">{table}</div>{published(dataset)}</section>'


def published(dataset: dict) -> str:
    """What papers print of the same methods, below ours, cell by cell: `=` where ours prints alike, else ours less
    theirs."""
    rows = [row for row in dataset["rows"] if "published" in row]
    if not rows:
        return ""
    columns = report.published_columns(rows)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("", *columns))
    body = ""
    for i, (name, cells) in enumerate(report.beside(rows, columns)):
        printed = ' class="printed"' if i % 2 else ""
        body += f'<tr{printed}><th scope="row">{escape(name)}</th>{"".join(map(_compared, cells))}</tr>\n'
    table = f'<table class="published"><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody></table>'
    legend = escape(report.published_legend(dataset, rows)).replace("`=`", "<b>=</b>")
    return f'<h3>What is printed</h3>\n<p class="about">{legend}</p>\n<div class="wide">{table}</div>'


def _compared(cell: str) -> str:
    """A cell of `report.beside`; what differs stands out."""
    value, _, off = cell.partition(" ")
    if not off:
        return f"<td>{value}</td>"
    return f'<td>{value} <i class="{"alike" if off == "=" else "off"}">{off}</i></td>'


def _head(name: str, higher_is_better: bool | None, note: str) -> str:
    arrow = f' <i aria-hidden="true">{ARROWS[higher_is_better]}</i>' if higher_is_better is not None else ""
    tip = f' data-tip="{escape(note)}"' if note else ""
    first = {True: "descending", False: "ascending", None: ""}[higher_is_better]
    return f'<th scope="col"><button data-first="{first}"{tip}>{escape(name)}{arrow}</button></th>'


def _places(values: list[float | None], higher_is_better: bool | None) -> list[int | None]:
    """1 for the best, 2 for the second of three or more, else None; values that print alike share a place."""
    printed = [_printed(value) for value in values]
    if higher_is_better is None or len(values) < 2:
        return [None] * len(values)
    order = sorted({float(p) for p in printed if p != "-"}, reverse=higher_is_better)[: 2 if len(values) > 2 else 1]
    return [order.index(float(p)) + 1 if p != "-" and float(p) in order else None for p in printed]


def _marked(text: str, place: int | None) -> str:
    return {1: f"<b>{text}</b>", 2: f"<u>{text}</u>"}.get(place, text)


def _printed(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _cell(row: dict, name: str, place: int | None, reference: str) -> str:
    value, undefined = row["mean"][name], row["undefined"].get(name)
    mark = "<sup>†</sup>" if undefined else ""
    if value is None:
        return f"<td>-{mark}</td>"
    text = _marked(_printed(value) + mark, place)
    tip = escape("\n".join(_tip(row, name, value, undefined or 0, reference)))
    return f'<td data-value="{value!r}" data-tip="{tip}">{text}</td>'


def _tip(row: dict, name: str, value: float, undefined: int, reference: str) -> Iterator[str]:
    """What shows on hover. Statistics are there where the summary has them."""
    interval, median, p = (row.get(key, {}).get(name) for key in ("interval", "median", "p"))
    yield f"{row['model']}, {name}: {value:.5g}"
    if interval:
        yield "95 % interval {:.5g} to {:.5g}".format(*interval)
    if median is not None:
        yield f"median {median:.5g}"
    if p is not None:
        yield f"{'p < 0.001' if p < 0.001 else f'p = {p:.3f}'} against {reference} (Wilcoxon, Holm)"
    yield f"mean over {row['images'] - undefined} pictures" + (
        f", † undefined on {undefined} more" if undefined else ""
    )


def _cost(value: float | None, printed: str) -> str:
    return f"<td>{printed}</td>" if value is None else f'<td data-value="{value!r}">{printed}</td>'


def _number(value: float | None, digits: int, place: int | None = None) -> str:
    text = _marked(_printed(value, digits), place)
    return "<td>-</td>" if value is None else f'<td data-value="{value!r}">{text}</td>'


# --- notes ----------------------------------------------------------------------------------------------------------


def notes(summary: dict) -> str:
    """What went wrong, what is missing, and how each metric departs from what its name suggests."""
    parts = [
        _list("Failed", [f"{f['dataset']}/{f['image']}: {f['model']}: {f['error']}" for f in summary["failures"]]),
        _list("Not run", [f"{row}: {reason}" for row, reason in summary["skipped"].items()]),
        _list("Incomplete", list(_gaps(summary))),
        _list("Time", list(filter(None, [report.seconds_legend(summary), report.costs_legend(summary)]))),
    ]
    terms = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(m['note'])}</dd>" for name, m in summary["metrics"].items() if m["note"]
    )
    parts.append(f"<h3>How the metrics are computed here</h3><dl>{terms}</dl>" if terms else "")
    return "\n".join(filter(None, parts))


def _gaps(summary: dict) -> Iterator[str]:
    for dataset in summary["datasets"]:
        for row in dataset["rows"]:
            where = f"{dataset['name']}, {row['model']}"
            if row["images"] != dataset["pairs"]:
                yield f"{where}: means over {row['images']} of {dataset['pairs']} pairs."
            for name, n in row["undefined"].items():
                yield f"† {where}: {name} is undefined on {n} of {row['images']} pictures, which its mean leaves out."


def _list(title: str, lines: list[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h3>{title}</h3><ul>{items}</ul>" if lines else ""
