"""What papers print, to hold our values against: the tables of CDDFuse (Zhao et al., CVPR 2023, and the README of its
program), means over the pictures of a data set in profile `cddfuse`, two decimals.

A row of its Table 1 is reproduced by the authors' weights and the method's `Convention`: U2Fusion, SDNet, ReCoNet and
TarDAL in every cell on TNO and RoadScene, DIDFuse but for the `MISPRINTS`.
"""

from __future__ import annotations

from fusion.report import beside as beside_ours

COLUMNS = ("EN", "SD", "SF", "MI", "SCD", "VIF", "Qabf", "SSIM")
PROFILE = "cddfuse"


def _row(text: str) -> dict[str, str]:
    return dict(zip(COLUMNS, text.split(), strict=True))


ROWS: dict[str, dict[str, str]] = {  # as printed, so that digits count
    "TNO": _row("7.12 46.00 13.15 2.19 1.76 0.77 0.54 1.03"),
    "RoadScene": _row("7.44 54.67 16.36 2.30 1.81 0.69 0.52 0.98"),
    "MSRS": _row("6.70 43.38 11.56 3.47 1.62 1.05 0.69 1.00"),
    "MRI_CT": _row("4.88 79.17 38.14 2.61 1.41 0.61 0.68 1.34"),
    "MRI_CT (IVF weights)": _row("4.83 88.59 33.83 2.24 1.74 0.50 0.59 1.31"),
    "MRI_PET": _row("4.22 70.74 29.57 2.03 1.69 0.71 0.71 1.49"),
    "MRI_SPECT": _row("3.90 58.31 20.87 2.49 1.35 0.97 0.78 1.48"),
}

PAIRS = {"TNO": 25, "RoadScene": 50, "MSRS": 361, "MRI_CT": 21, "MRI_PET": 42, "MRI_SPECT": 73}
"""Pictures behind each row: those of the authors' test_img, and MSRS's test half."""


METHODS: dict[str, dict[str, dict[str, str]]] = {  # network -> data set -> row of Table 1
    "cddfuse": {name: ROWS[name] for name in ("TNO", "RoadScene", "MSRS")},
    "didfuse": {
        "TNO": _row("6.97 45.12 12.59 1.70 1.71 0.60 0.40 0.81"),
        "RoadScene": _row("7.43 51.58 14.66 2.11 1.70 0.58 0.48 0.86"),
        "MSRS": _row("4.27 31.49 10.15 1.61 1.11 0.31 0.20 0.24"),
    },
    "u2fusion": {
        "TNO": _row("6.83 34.55 11.52 1.37 1.71 0.58 0.44 0.99"),
        "RoadScene": _row("7.09 38.12 13.25 1.87 1.70 0.60 0.51 0.97"),
        "MSRS": _row("5.37 25.52 9.07 1.40 1.24 0.54 0.42 0.77"),
    },
    "sdnet": {
        "TNO": _row("6.64 32.66 12.05 1.52 1.49 0.56 0.44 1.00"),
        "RoadScene": _row("7.14 40.20 13.70 2.21 1.49 0.60 0.51 0.99"),
        "MSRS": _row("5.25 17.35 8.67 1.19 0.99 0.50 0.38 0.72"),
    },
    "tardal": {
        "TNO": _row("6.84 45.63 8.68 1.86 1.52 0.53 0.32 0.88"),
        "RoadScene": _row("7.17 47.44 10.83 2.14 1.55 0.54 0.40 0.88"),
        "MSRS": _row("5.28 25.22 5.98 1.49 0.71 0.42 0.18 0.47"),
    },
    "reconet": {
        "TNO": _row("7.10 44.85 8.73 1.78 1.70 0.57 0.39 0.88"),
        "RoadScene": _row("7.36 52.54 10.78 2.18 1.74 0.59 0.43 0.88"),
        "MSRS": _row("6.61 43.24 9.77 2.16 1.44 0.71 0.50 0.85"),
    },
}
PAPER = "Zhao et al., CDDFuse, CVPR 2023, Table 1"
PAIRS = {"TNO": 25, "RoadScene": 50, "MSRS": 361}
"""How many the printed means are over."""

MISPRINTS: dict[tuple[str, str], str] = {
    ("didfuse", "TNO"): "SD is printed 5.00 lower than the authors' weights give; taken for a misprint",
    ("didfuse", "RoadScene"): (
        "SD is printed 5.00 lower than the authors' weights give, SCD 0.14 and VIF 0.05; taken for misprints, as all "
        "other cells agree"
    ),
}
"""(network, data set) -> what is known to be wrong in print."""


def beside(network: str, dataset: str, means: dict[str, float | None]) -> dict | None:
    """A row's certificate: `printed` and `difference` (ours as printed, less theirs) by metric, `paper`, `pairs` and
    `remark`; None where no row is printed. means: of profile `PROFILE`, by metric."""
    rows = {name.lower(): row for name, row in METHODS.get(network, {}).items()}
    if (printed := rows.get(dataset.lower())) is None:
        return None
    name = next(name for name in METHODS[network] if name.lower() == dataset.lower())
    known = {metric: text for metric, text in printed.items() if means.get(metric) is not None}
    return {
        "paper": PAPER,
        "pairs": PAIRS[name],
        "printed": known,
        "difference": {metric: difference(text, means[metric]) for metric, text in known.items()},
        "remark": MISPRINTS.get((network, name), ""),
    }


def rows_for(dataset: str) -> dict[str, dict[str, str]]:
    """The printed rows of a data set; a variant stands in brackets behind its name."""
    return {name: row for name, row in ROWS.items() if name.partition(" (")[0].lower() == dataset.lower()}


def difference(printed: str, value: float) -> float:
    """`value` as it would be printed, minus what is; 0 where they print alike."""
    digits = len(printed.partition(".")[2])
    return round(round(value, digits) - float(printed), digits)


# --- the certificate ------------------------------------------------------------------------------------------------


def certificate(summary: dict, command: str) -> str:
    """Markdown: beside each printed row ours and their difference, for every data set of a `summary.json`.

    command: what makes it again.
    """
    parts = [HEAD.format(paper=PAPER, profile=summary["profile"], command=command)]
    for dataset in summary["datasets"]:
        if rows := [row for row in dataset["rows"] if "published" in row]:
            parts += [f"## {dataset['name']}", _count(dataset, rows), _beside(rows), *_remarks(rows)]
        if rest := [row for row in dataset["rows"] if "published" not in row]:
            parts += [] if rows else [f"## {dataset['name']}"]
            parts += ["Methods of which that paper prints no row here:", _ours(rest)]
    return "\n\n".join([*parts, *_left_out(summary), *_weights(summary)]) + "\n"


HEAD = """# Printed rows, and what this project gets

Printed: {paper}. Ours: the authors' weights, each method's convention (`fusion/networks`), means over the pictures of a
data set in profile `{profile}`. `=`: ours prints alike; else ours less what is printed. This file is written by

    {command}"""


def _count(dataset: dict, rows: list[dict]) -> str:
    """How many cells agree, which do not, and whether they need to."""
    off = {
        (row["model"], name): difference
        for row in rows
        for name, difference in row["published"]["difference"].items()
        if difference
    }
    total = sum(len(row["published"]["difference"]) for row in rows)
    pairs, printed = dataset["pairs"], rows[0]["published"]["pairs"]
    text = f"{total - len(off)} of {total} cells print alike, over {pairs} pairs."
    if off:
        text += " Not: " + ", ".join(f"{model} {name} ({gap:+.2f})" for (model, name), gap in off.items()) + "."
    if pairs != printed:
        text += f" The printed means are over {printed} pairs: they need not agree."
    return text


def _table(first: str, lines: list[list[str]]) -> str:
    head = [f"| {first} | " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * len(COLUMNS)]
    return "\n".join([*head, *("| " + " | ".join(line) + " |" for line in lines)])


def _beside(rows: list[dict]) -> str:
    return _table("", [[name, *cells] for name, cells in beside_ours(rows, COLUMNS)])


def _ours(rows: list[dict]) -> str:
    means = [[row["mean"].get(name) for name in COLUMNS] for row in rows]
    cells = [["-" if mean is None else f"{mean:.2f}" for mean in each] for each in means]
    return _table("ours", [[row["model"], *each] for row, each in zip(rows, cells, strict=True)])


def _remarks(rows: list[dict]) -> list[str]:
    remarks = [f"- {row['model']}: {row['published']['remark']}." for row in rows if row["published"]["remark"]]
    return ["\n".join(remarks)] if remarks else []


def _left_out(summary: dict) -> list[str]:
    """Rows that did not run, by name: why not is a matter of the machine."""
    names = ", ".join(summary["skipped"])
    return [f"Left out, as their weights were not there: {names}."] if names else []


def _weights(summary: dict) -> list[str]:
    """Which files the rows are of."""
    found = {row["model"]: row["weights"] for d in summary["datasets"] for row in d["rows"] if row.get("weights")}
    if not found:
        return []
    lines = [f"| {model} | {about['file']} | {about['sha256']} |" for model, about in found.items()]
    two = any(" + " in about["file"] for about in found.values())
    note = ["Of two files the checksum is of one after the other: `cat A B | sha256sum`."] if two else []
    return ["## Weights", *note, "\n".join(["| method | file | SHA-256 |", "| --- | --- | --- |", *lines])]
