"""MI against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from fusion.metrics import Scene, evaluate, information
from fusion.metrics.information import DENSE


def mutual_information(x, y):
    return information.mutual_information(Scene(x, y, y), "ir")


def related(levels, seed=0):
    """Two pictures that share part of their content."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, levels, (60, 70))
    return x, (x + rng.integers(0, max(2, levels // 8), x.shape)) % levels


@pytest.mark.parametrize("levels", [3, 17, 256])
def test_agrees_with_scikit_learn_in_nats(levels):
    x, y = related(levels)
    expected = mutual_info_score(x.ravel(), y.ravel())
    assert expected > 0.1
    assert mutual_information(x.astype(float), y.astype(float)) == pytest.approx(expected, rel=1e-12)


def test_levels_that_are_not_8_bit_count_as_they_are():
    x, y = related(3000)  # most of 4200 pixels have a level of their own
    assert len(np.unique(x)) * len(np.unique(y)) > DENSE  # counted by sorting
    expected = mutual_info_score(x.ravel(), y.ravel())
    for a, b in ((x.astype(float), y / 7 - 200), (y / 7 - 200, x.astype(float))):
        assert mutual_information(a, b) == pytest.approx(expected, rel=1e-12)


def test_is_the_sum_over_the_sources():
    x, y = related(256)
    z = related(256, seed=1)[0]
    expected = mutual_info_score(x.ravel(), y.ravel()) + mutual_info_score(x.ravel(), z.ravel())
    assert evaluate(x, y, z, names=["MI"])["MI"] == pytest.approx(expected, rel=1e-12)


def test_of_a_picture_with_itself_is_its_entropy_in_nats():
    x = related(256)[0]
    values = evaluate(x, x, x, names=["EN", "MI"])
    assert values["MI"] == pytest.approx(2 * values["EN"] * math.log(2), rel=1e-12)


def test_of_unrelated_pictures_is_zero_and_never_less():
    for n in range(2, 60):  # rounding alone would make it negative for 24 of these sizes
        y, x = np.mgrid[:n, : n + 1].astype(float)
        assert 0 <= mutual_information(x, y) < 1e-13


def test_cross_entropy_by_hand():
    """F has the levels 0, 1, 2, 3 in 8, 4, 2, 2 of 16 pixels; IR all four equally often, VIS 0 and 1 in 8 each."""
    fused = np.repeat([0, 1, 2, 3], [8, 4, 2, 2]).reshape(4, 4)
    ir, vis = np.repeat([0, 1, 2, 3], 4).reshape(4, 4), np.repeat([0, 1], 8).reshape(4, 4)
    of_ir = (math.log2(4 / 8) + math.log2(4 / 4) + math.log2(4 / 2) + math.log2(4 / 2)) / 4
    of_vis = (math.log2(8 / 8) + math.log2(8 / 4)) / 2
    for profile in ("strict", "vifb"):  # F lacks nothing
        assert evaluate(fused, ir, vis, profile, ["CE"])["CE"] == pytest.approx((of_ir + of_vis) / 2, rel=1e-14)
    # The other way round the visible picture has two levels that "F" lacks.
    of_fused = (8 * math.log2(8 / 8) + 4 * math.log2(4 / 8)) / 16
    assert evaluate(vis, fused, fused, "vifb", ["CE"])["CE"] == pytest.approx(of_fused, rel=1e-14)
    assert evaluate(vis, fused, fused, "strict", ["CE"])["CE"] == math.inf
