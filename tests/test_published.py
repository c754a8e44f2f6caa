"""Printed rows beside ours: the comparison of all methods, and what its tables say of each cell."""

import json

import pytest

from fusion import config, report
from fusion.metrics import published
from fusion.options import TestOptions as Options  # a name that pytest would collect
from fusion.page import tables
from fusion.registry import NETWORKS

MEANS = {"EN": 6.9732, "SD": 50.1216, "SF": 12.5883, "MI": None}


@pytest.fixture
def dataset() -> dict:
    rows = [
        {"model": "didfuse", "published": published.beside("didfuse", "tno", MEANS)},
        {"model": "average"},
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
    assert table.splitlines()[2:] == ["| didfuse | 6.97 = | 45.12 +5.00 | 12.59 = |"]
    page = tables.published(dataset)
    assert "<td>6.97 =</td><td>45.12 +5.00</td><td>12.59 =</td>" in page
    assert "average" not in page
    dataset["pairs"] = 24
    assert "Ours are means over 24 pairs: they need not agree." in report._published(dataset)[0]
    del dataset["rows"][0]
    assert report._published(dataset) == []
    assert tables.published(dataset) == ""


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
