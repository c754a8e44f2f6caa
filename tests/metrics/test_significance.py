"""Intervals, tests and ranks against scipy, hand-made cases and properties."""

import math

import numpy as np
import pytest
from scipy import stats

from fusion.metrics.significance import bootstrap, describe, holm, mean_ranks, signed_rank, table

SKEWED = np.random.default_rng(0).exponential(3.0, 25).tolist()


def rows(values, name="A"):
    return [{name: value} for value in values]


def test_mean_median_and_standard_error():
    row = describe(rows(SKEWED), ["A"])
    assert row["mean"]["A"] == pytest.approx(np.mean(SKEWED), rel=1e-14)
    assert row["median"]["A"] == pytest.approx(np.median(SKEWED), rel=1e-14)
    assert row["standard_error"]["A"] == pytest.approx(stats.sem(SKEWED), rel=1e-14)
    assert row["undefined"] == {}


def test_interval_is_scipys_percentile_bootstrap():
    ours = bootstrap({"A": SKEWED})["A"]
    theirs = stats.bootstrap((SKEWED,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    # Two draws of 10,000 resamples: their 2.5 % quantiles scatter by about 2 % of the interval.
    assert ours == pytest.approx(list(theirs), abs=0.04 * (theirs.high - theirs.low))


def test_interval_covers_the_truth_95_times_in_100():
    random = np.random.default_rng(1)
    samples = {str(i): random.normal(5.0, 2.0, 60).tolist() for i in range(300)}
    covered = sum(low <= 5.0 <= high for low, high in bootstrap(samples).values())
    assert 270 <= covered <= 296  # 285 expected; a percentile interval is a little short, and 300 trials scatter by 4


def test_interval_repeats_and_does_not_depend_on_its_neighbours():
    alone = bootstrap({"A": SKEWED})
    together = bootstrap({"B": SKEWED[:7], "A": SKEWED, "C": [2 * v for v in SKEWED]})
    assert together["A"] == alone["A"] == bootstrap({"A": SKEWED})["A"]
    assert together["C"] == pytest.approx([2 * v for v in alone["A"]], rel=1e-12)


def test_too_few_pictures_have_no_spread():
    row = describe(rows([4.0]), ["A"])
    assert (row["mean"]["A"], row["median"]["A"]) == (4.0, 4.0)
    assert (row["standard_error"]["A"], row["interval"]["A"]) == (None, None)
    empty = describe([], ["A"])
    assert {empty[k]["A"] for k in ("mean", "median", "standard_error", "interval")} == {None}
    same = describe(rows([4.0, 4.0]), ["A"])
    assert same["interval"]["A"] == [4.0, 4.0]


def test_undefined_values_are_left_out_and_counted():
    row = describe(rows([1.0, math.nan, 3.0, math.inf]), ["A"])
    assert row["mean"]["A"] == 2.0
    assert row["undefined"] == {"A": 2}
    assert describe(rows([math.nan]), ["A"])["mean"]["A"] is None


def test_signed_rank_by_hand():
    # Differences 1..5, all positive: the most extreme of 2^5 sign patterns, on both sides.
    assert signed_rank([2, 4, 6, 8, 10], [1, 2, 3, 4, 5]) == pytest.approx(2 / 32)
    # 1 2 3 4 -5: sums 10 and 5; patterns with the smaller sum <= 5: 1+1+1+2+2+3 = 10 on each side of 32.
    assert signed_rank([1, 2, 3, 4, 0], [0, 0, 0, 0, 5]) == pytest.approx(20 / 32)
    assert signed_rank([1, 2, 3], [1, 2, 3]) == 1.0
    assert signed_rank([], []) is None


def test_signed_rank_is_symmetric_and_ignores_scale():
    x, y = np.random.default_rng(2).normal(size=(2, 30))
    assert signed_rank(x, y) == pytest.approx(signed_rank(y, x)) == pytest.approx(signed_rank(5 * x + 1, 5 * y + 1))


def test_holm_by_hand():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "none": None}
    # sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04 -> never falling
    assert holm(p) == {"a": pytest.approx(0.03), "b": 0.06, "c": 0.06, "d": 0.02, "none": None}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_mean_ranks_go_by_each_metrics_direction():
    means = {
        "x": {"up": 3.0, "down": 1.0, "neither": 9.0},
        "y": {"up": 2.0, "down": 2.0, "neither": 1.0},
        "z": {"up": 2.0, "down": 3.0, "neither": 5.0},
    }
    directions = {"up": True, "down": False, "neither": None}
    assert mean_ranks(means, directions) == {"x": 1.0, "y": (2.5 + 2) / 2, "z": (2.5 + 3) / 2}
    means["y"]["up"] = None  # no ranks without one of the means
    assert mean_ranks(means, directions) == {"x": 1.0, "y": 2.0, "z": 3.0}
    assert mean_ranks(means, {"neither": None}) == dict.fromkeys("xyz")


def test_a_table_tests_every_model_against_the_reference_on_common_pictures():
    random = np.random.default_rng(3)
    base = {f"{i:02d}": {"A": random.normal(), "B": random.normal()} for i in range(20)}
    better = {name: {"A": v["A"] + 1 + 0.1 * random.normal(), "B": v["B"]} for name, v in base.items()}
    fewer = dict(list(better.items())[:12])
    fewer["00"] = {"A": math.nan, "B": 0.0}
    found = table({"base": base, "better": better, "fewer": fewer}, {"A": True, "B": False}, "base")
    assert found["base"]["p"] == {"A": None, "B": None}
    raw = stats.wilcoxon([better[n]["A"] - base[n]["A"] for n in base]).pvalue
    assert found["better"]["p"]["A"] == pytest.approx(4 * raw)  # the smallest of four tests
    assert found["better"]["p"]["B"] == 1.0  # equal everywhere
    names = [n for n in fewer if n != "00"]
    raw = stats.wilcoxon([fewer[n]["A"] - base[n]["A"] for n in names]).pvalue
    assert found["fewer"]["p"]["A"] == pytest.approx(3 * raw)  # the second smallest
    assert found["fewer"]["undefined"] == {"A": 1}
    assert found["better"]["rank"] < found["base"]["rank"]


def test_a_reference_that_did_not_run_leaves_no_tests():
    found = table({"x": {"1": {"A": 1.0}}, "y": {"1": {"A": 2.0}}}, {"A": True}, "z")
    assert [row["p"] for row in found.values()] == [{"A": None}, {"A": None}]
    assert [row["rank"] for row in found.values()] == [2.0, 1.0]
