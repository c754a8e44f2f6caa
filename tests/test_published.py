"""Printed rows beside ours: the comparison of all methods, and what its tables say of each cell."""

import json

import pytest

import fusion.networks  # noqa: F401 -- registers the networks
from fusion import config, latex, report
from fusion.metrics import published
from fusion.options import TestOptions as Options  # a name that pytest would collect
from fusion.page import tables
from fusion.registry import NETWORKS

MEANS = {"EN": 6.9732, "SD": 50.1216, "SF": 12.5883, "MI": None}


@pytest.fixture
def dataset() -> dict:
    rows = [
        {"model": "didfuse", "mean": MEANS, "published": published.beside("didfuse", "tno", MEANS)},
        {"model": "average", "mean": MEANS},
    ]
    return {"name": "tno", "pairs": 25, "rows": rows}


def test_a_row_cell_by_cell():
    row = published.beside("didfuse", "TNO", MEANS)
    assert row["printed"] == {"EN": "6.97", "SD": "45.12", "SF": "12.59"}
    assert row["difference"] == {"EN": 0, "SD": 5.0, "SF": 0}
    assert "5.00" in row["remark"]
    assert published.beside("average", "TNO", MEANS) is None
    assert published.beside("didfuse", "sample", MEANS) is None


def test_in_summary_and_page(dataset):
    legend, table = report._published(dataset)
    assert published.PAPER in legend
    assert "didfuse: SD is printed 5.00 lower" in legend
    assert "need not agree" not in legend
    ours, printed = table.splitlines()[2:]
    assert ours == "| didfuse, ours | 6.97 | 50.12 | 12.59 |"
    assert printed == "| printed | 6.97 = | 45.12 +5.00 | 12.59 = |"
    page = tables.published(dataset)
    assert "<td>6.97</td><td>50.12</td><td>12.59</td>" in page
    assert '<td>6.97 <i class="alike">=</i></td><td>45.12 <i class="off">+5.00</i></td>' in page
    assert "average" not in page
    dataset["pairs"] = 24
    assert "Ours are means over 24 pairs: they need not agree." in report._published(dataset)[0]
    del dataset["rows"][0]
    assert report._published(dataset) == []
    assert tables.published(dataset) == ""


def test_in_latex(dataset):
    for row in dataset["rows"]:
        row |= {"images": 25, "undefined": {}, "rank": None}
    metrics = {name: {"higher_is_better": True} for name in MEANS}
    lines = latex.table(dataset, {"profile": "cddfuse", "metrics": metrics}).splitlines()
    ours = next(i for i, line in enumerate(lines) if line.startswith("didfuse &"))
    small = [f"{{\\footnotesize {cell}}}" for cell in ("6.97~=", "45.12~+5.00", "12.59~=")]
    assert lines[ours + 1] == " & ".join(["\\quad printed", *small, "--", ""]) + " \\\\"
    assert sum("quad printed" in line for line in lines) == 1
    assert lines[ours + 1].count("&") == lines[ours].count("&")
    assert "As printed in Zhao et al., CDDFuse, CVPR 2023, Table 1" in lines[2]


def test_the_certificate(dataset):
    means = dict.fromkeys(published.COLUMNS, 1.234)
    dataset["rows"][0] |= {"mean": means | MEANS, "weights": {"file": "Encoder.pkl + Decoder.pkl", "sha256": "ab12"}}
    dataset["rows"][1] |= {"mean": means, "weights": None}
    other = {"name": "mine", "pairs": 2, "rows": [{"model": "average", "mean": means}]}
    summary = {"profile": "cddfuse", "skipped": {}, "datasets": [dataset, other]}
    text = published.certificate(summary, "python test.py")
    assert "Left out" not in text
    assert "2 of 3 cells print alike, over 25 pairs. Not: didfuse SD (+5.00).\n" in text
    lines = text.splitlines()
    ours = lines.index("| didfuse, ours | 6.97 | 50.12 | 12.59 | - | 1.23 | 1.23 | 1.23 | 1.23 |")
    assert lines[ours + 1] == "| printed | 6.97 = | 45.12 +5.00 | 12.59 = | - | - | - | - | - |"
    assert "- didfuse: SD is printed 5.00 lower" in text
    assert text.count("| average | 1.23 |") == 2
    assert "Of two files the checksum is of one after the other" in text
    assert "| didfuse | Encoder.pkl + Decoder.pkl | ab12 |" in text
    assert "    python test.py\n" in text
    dataset["pairs"] = 24
    summary["skipped"] = {"ship": "not in /home/me", "sage": "not in /home/me"}
    text = published.certificate(summary, "python test.py")
    assert "Left out, as their weights were not there: ship, sage.\n" in text
    assert "/home/me" not in text
    assert "The printed means are over 25 pairs: they need not agree." in text


def test_a_certificate_is_of_one_profile(root):
    with pytest.raises(ValueError, match="profile cddfuse, not strict"):
        config.load(root / "configs/published.yml", ["certificate=x.md", "metrics.profile=strict"], Options)


def test_the_comparison_names_every_method(root):
    options = config.load(root / "configs/published.yml", [], Options)
    assert sorted(model.name for model in options.models) == sorted(NETWORKS)
    assert all(model.optional for model in options.models if model.weights)


@pytest.mark.shared
def test_rows_are_those_of_the_specifications(shared):
    found = {}
    for file in shared.glob("golden/zoo/*/published.json"):
        found[file.parent.name] = json.loads(file.read_text())["published"]
    ours = {name: rows for name, rows in published.METHODS.items() if name != "cddfuse"}
    assert len(found) >= 5
    assert ours == found
