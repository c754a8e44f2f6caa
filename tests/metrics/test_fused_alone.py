"""EN, SD, SF, AG on pictures small enough to do by hand."""

import math

import numpy as np
import pytest

from fusion.metrics import Scene, evaluate
from fusion.metrics.statistics import entropy, histogram

PICTURE = np.array(
    [
        [0, 0, 10, 10],
        [0, 0, 10, 10],
        [0, 0, 10, 10],
        [20, 20, 20, 40],
    ],
    np.uint8,
)
VALUES = evaluate(PICTURE, PICTURE, PICTURE, names=["EN", "SD", "SF", "AG"])


def test_entropy_by_hand():
    # levels 0, 10, 20, 40 in 6, 6, 3, 1 of 16 pixels
    bits = 2 * 6 / 16 * math.log2(16 / 6) + 3 / 16 * math.log2(16 / 3) + 1 / 16 * math.log2(16)
    assert VALUES["EN"] == pytest.approx(bits, rel=1e-14)


def test_standard_deviation_by_hand():
    # sum 6*10 + 3*20 + 40 = 160, mean 10; squares 6*100 + 6*0 + 3*100 + 900 = 1800 over 16 pixels
    assert VALUES["SD"] == pytest.approx(math.sqrt(1800 / 16), rel=1e-14)


def test_spatial_frequency_by_hand():
    # along rows: 10 in each of three rows, 20 in the last: (3*100 + 400) / 12
    # along columns, last step: 20, 20, 10, 30: (400 + 400 + 100 + 900) / 12
    assert VALUES["SF"] == pytest.approx(math.sqrt(700 / 12 + 1800 / 12), rel=1e-14)


def test_average_gradient_by_hand():
    # numpy's gradient: half of the central difference inside, the one-sided difference at the border
    gx = [[0, 5, 5, 0], [0, 5, 5, 0], [0, 5, 5, 0], [0, 0, 10, 20]]
    gy = [[0, 0, 0, 0], [0, 0, 0, 0], [10, 10, 5, 15], [20, 20, 10, 30]]
    cells = [
        math.sqrt((x * x + y * y) / 2) for gxs, gys in zip(gx, gy, strict=True) for x, y in zip(gxs, gys, strict=True)
    ]
    assert VALUES["AG"] == pytest.approx(sum(cells) / 16, rel=1e-14)


def test_entropy_of_one_level_is_zero_and_of_all_levels_eight():
    one, every = np.full((16, 16), 9), np.arange(256).reshape(16, 16)
    assert str(evaluate(one, one, one, names=["EN"])["EN"]) == "0.0"  # not -0.0: it is printed
    assert evaluate(every, one, one, names=["EN"])["EN"] == pytest.approx(8.0, rel=1e-14)
    assert entropy(np.array([5, 5])) == pytest.approx(math.log(2), rel=1e-14)


def test_histogram_rounds_half_to_even_and_wraps():
    levels = np.array([[0.5, 1.5, 2.5], [255.4, 256.0, -1.0]])
    counts = histogram(Scene(levels, levels, levels), "fused")
    assert {int(g): int(counts[g]) for g in counts.nonzero()[0]} == {0: 2, 2: 2, 255: 2}
