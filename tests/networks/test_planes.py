"""Filters and rules of the rule-based methods against their definitions, written as plain loops."""

import numpy as np
import pytest

from fusion.networks.rule_based import planes

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(2, 3), (9, 8), (20, 31)])
@pytest.mark.parametrize("radius", [1, 4, 12])
def test_box_sums_what_lies_inside(shape, radius):
    plane = RANDOM.random(shape)
    sums = [
        [plane[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1].sum() for x in range(shape[1])]
        for y in range(shape[0])
    ]
    # Running sums of at most 620 numbers below 1: 620 roundings of 620 * 2^-53 are below 1e-10.
    assert np.allclose(planes.box(plane, radius), sums, rtol=0, atol=1e-10)


def test_guided_filter_is_a_local_regression():
    guide, plane, radius, epsilon = RANDOM.random((12, 15)), RANDOM.random((12, 15)), 3, 0.01
    slope, offset = np.empty((2, 12, 15))
    for y, x in np.ndindex(12, 15):
        window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        g, p = guide[window].ravel(), plane[window].ravel()
        slope[y, x] = np.cov(g, p, bias=True)[0, 1] / (g.var() + epsilon)
        offset[y, x] = p.mean() - slope[y, x] * g.mean()
    for y, x in np.ndindex(12, 15):
        window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        expected = slope[window].mean() * guide[y, x] + offset[window].mean()
        assert planes.guided_filter(guide, plane, radius, epsilon)[y, x] == pytest.approx(expected, abs=1e-10)


def test_karhunen_loeve_takes_the_axis_of_most_variance():
    a, b = RANDOM.normal(size=(2, 30, 30)) * np.array([3.0, 1.0])[:, None, None]
    fused = planes.karhunen_loeve(a + b, b)
    angles = np.linspace(0, np.pi, 200_001)
    (aa, ab), (_, bb) = np.cov((a + b).ravel(), b.ravel())
    best = angles[np.argmax(np.cos(angles) ** 2 * aa + np.sin(2 * angles) * ab + np.sin(angles) ** 2 * bb)]
    share = np.cos(best) / (np.cos(best) + np.sin(best))
    assert np.allclose(fused, share * (a + b) + (1 - share) * b, atol=1e-3)  # the angles are 1.6e-5 apart


def test_details_that_cancel_are_weighed_alike():
    detail = RANDOM.normal(size=(9, 9))
    assert not planes.karhunen_loeve(detail, -detail).any()
    assert not planes.karhunen_loeve(0 * detail, 0 * detail).any()


def test_the_stronger_source_wins_by_majority():
    ir, vis = np.full((9, 9), 1.0), np.full((9, 9), 2.0)
    ir[2, 2] = 5  # strongest in the 5x5 pixels whose windows' neighbours see it
    chosen = planes.stronger(ir, vis)
    assert chosen[2, 2] == 5
    assert chosen[8, 8] == 2
    assert np.array_equal(planes.stronger(vis, vis + 0), vis)
    assert np.array_equal(planes.stronger(ir, ir.copy() * 1j), ir * 1j)  # ties go to the visible source


def test_levels_are_those_of_the_file():
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(planes.in_levels((every.astype(np.float32) / np.float32(255)).astype(np.float64)), every)
    between = np.array([10.4, 77.003, 200.9997])
    assert np.allclose(planes.in_levels(between / 255), between, atol=1e-12)
    assert planes.whole_levels(np.array([-3.0, 0.49, 0.5, 1.5, 254.5, 300, np.nan])).tolist() == [
        0,
        0,
        1,
        2,
        255,
        255,
        0,
    ]


def test_expanding_keeps_a_constant():
    plane = np.full((5, 7), 3.0)
    assert np.allclose(planes.expanded(plane), 3, atol=1e-14)
    assert planes.reduced(plane)[0].shape == (6, 8)
    assert np.allclose(planes.reduced(plane)[1], 3, atol=1e-14)
