"""The statistics of test.py: intervals, tests against the reference, ranks, in every file; scoring in processes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats
from test_compare import METRICS, picture, program, work  # noqa: F401 -- `work` is a fixture

from fusion import metrics


@pytest.fixture
def many(work):  # noqa: F811
    """Twelve pairs, so that a test can find something."""
    for i in range(12):
        work.add("M", f"{i:02d}", picture(70, 66, seed=10 + i), picture(70, 66, seed=30 + i))
    work.config["datasets"] = [{"name": "M", "root": "M"}]
    work.config["models"].append({"name": "cpfusion"})
    return work


def column(work, model, name):  # noqa: F811
    return np.array([float(r[name]) for r in work.rows() if r["model"] == model])


def test_rows_hold_what_the_pictures_give(many):
    many.run()
    (dataset,) = many.summary()["datasets"]
    assert dataset["reference"] == "average"
    rows = {row["model"]: row for row in dataset["rows"]}
    raw = {}
    for name in METRICS:
        reference = column(many, "average", name)
        for model, row in rows.items():
            values = column(many, model, name)
            assert row["mean"][name] == pytest.approx(values.mean(), rel=1e-12)
            assert row["median"][name] == pytest.approx(np.median(values), rel=1e-12)
            assert row["standard_error"][name] == pytest.approx(stats.sem(values), rel=1e-12)
            low, high = row["interval"][name]
            assert low <= row["mean"][name] <= high
            if model == "average":
                assert row["p"][name] is None
            else:
                raw[model, name] = stats.wilcoxon(values - reference).pvalue
    adjusted = {key: rows[key[0]]["p"][key[1]] for key in raw}
    smallest = min(raw, key=raw.get)
    assert adjusted[smallest] == pytest.approx(min(1, raw[smallest] * len(raw)))
    assert all(adjusted[key] >= raw[key] * (1 - 1e-12) for key in raw)
    ranks = [
        stats.rankdata(
            [rows[m]["mean"][n] * (-1 if metrics.profile("cddfuse")[n].higher_is_better else 1) for m in rows]
        )
        for n in METRICS
    ]
    assert [row["rank"] for row in rows.values()] == pytest.approx(np.mean(ranks, axis=0).tolist())


def test_markdown_and_latex_say_it_too(many):
    many.run("metrics.reference=cpfusion")
    out = many.folder / "out"
    text = (out / "summary.md").read_text(encoding="utf-8")
    assert "signed-rank test against cpfusion" in text
    rows = many.summary()["datasets"][0]["rows"]
    line = next(line for line in text.splitlines() if line.startswith("| SD |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")[1:]]
    for cell, row in zip(cells, rows, strict=True):
        low, high = row["interval"]["SD"]
        mean, error = row["mean"]["SD"], row["standard_error"]["SD"]
        assert cell.startswith(f"{mean:.2f} ± {error:.2f} [{low:.2f}, {high:.2f}], {row['median']['SD']:.2f}")
        assert ("p " in cell) == (row["model"] != "cpfusion")
    assert re.search(r"^\| mean rank \| \d", text, re.MULTILINE)
    assert "\\textbf{" in (out / "summary.tex").read_text(encoding="utf-8")


def test_the_same_again_to_the_last_digit(many):
    many.run()
    before = many.summary()["datasets"][0]["rows"]
    many.run()
    assert many.summary()["datasets"][0]["rows"] == before


def test_processes_score_the_same(work):  # noqa: F811
    work.run("out=one")
    printed = work.run("out=two", "workers=2")
    assert work.rows("one") == work.rows("two")
    assert "A: 2 pairs" in printed
    again = work.run("out=two", "workers=2", "metrics.names=[EN, SSIM]")  # other metrics: made anew
    assert "SSIM" in again
    assert list(work.rows("two")[0])[4:] == ["EN", "SSIM"]


def test_a_picture_that_a_process_cannot_score_is_a_failure(work, monkeypatch):  # noqa: F811
    def unreadable(triple, keys):
        return program.scoring.Scored(triple.name, error=f"{triple.name}: no picture")

    class Here:
        """A pool without processes, so that the patch reaches it."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def submit(self, _, triple, keys):
            future = program.Future()
            future.set_result(unreadable(triple, keys))
            return future

    monkeypatch.setattr(program.scoring, "pool", lambda workers: Here())
    work.run("workers=2", status=1)
    failures = work.summary()["failures"]
    assert {(f["image"], f["model"], f["error"]) for f in failures} == {
        (image, model, f"{image}: no picture") for image in ("one", "two") for model in ("average", "maximum")
    }


def test_profile_all_and_a_reference_for_some_data_sets_only(work):  # noqa: F811
    work.config["metrics"] = {"profile": "all", "reference": "maximum"}
    work.config["models"][1]["datasets"] = ["A"]
    work.add("B", "one", picture(seed=7), picture(seed=8))
    work.config["datasets"].append({"name": "B", "root": "B"})
    work.run()
    a, b = work.summary()["datasets"]
    assert [row["p"]["strict/EN"] is None for row in a["rows"]] == [False, True]
    assert [row["p"]["strict/EN"] for row in b["rows"]] == [None]
    assert a["rows"][0]["undefined"]["strict/MS-SSIM"] == 2  # too small: a footnote, not a number


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("metrics.reference=cpfusoin", "metrics.reference: no model called 'cpfusoin'; there are: average, maximum"),
        ("workers=0", "workers: "),
        ("metrics.refrence=average", "metrics: unknown key 'refrence'. Did you mean 'reference'?"),
    ],
)
def test_mistakes(work, override, message):  # noqa: F811
    assert message in work.refuse(override)
