"""Qabf: gradients against scipy, the definition's corner cases by hand. The authors' numbers are in the golden test."""

import math

import numpy as np
import pytest
from scipy.signal import correlate2d

from fusion.metrics import evaluate
from fusion.metrics.edges import BEST, edges_inside, raw_preservation


def q(g, a):
    """The paper's two sigmoids: g the ratio of the strengths, a the agreement of the angles."""
    return 0.9994 / (1 + math.exp(-15 * (g - 0.5))) * 0.9879 / (1 + math.exp(-22 * (a - 0.8)))


def plain_qabf(fused, ir, vis):
    """Pixel by pixel from spec/metrics.md, with zeros outside."""

    def edges(image):
        left_right = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
        sx = correlate2d(image, left_right, mode="same").ravel()
        sy = correlate2d(image, -left_right.T, mode="same").ravel()
        return [(math.hypot(x, y), math.atan(y / x) if x else math.pi / 2) for x, y in zip(sx, sy, strict=True)]

    num = den = 0.0
    for source in (ir, vis):
        for (gf, af), (gs, angle) in zip(edges(fused), edges(source), strict=True):
            g = gf if gf == gs else min(gf, gs) / max(gf, gs)
            num += gs * q(g, 1 - abs(angle - af) / (math.pi / 2))
            den += gs
    return num / den


# from a row of pixels over less, exactly, and more than one band of 96 rows
@pytest.mark.parametrize(("h", "w"), [(1, 9), (2, 2), (95, 20), (96, 20), (97, 20), (200, 21)])
def test_agrees_with_the_definition(h, w):
    rng = np.random.default_rng((h, w))
    ir, vis = rng.integers(0, 12, (2, h, w)).astype(float)  # few levels: many equal and vertical edges
    fused = np.maximum(ir, vis)
    assert evaluate(fused, ir, vis, names=["Qabf"])["Qabf"] == pytest.approx(plain_qabf(fused, ir, vis), rel=1e-12)


def test_angles_of_edges():
    flat = np.zeros((3, 3))
    right, bottom = flat.copy(), flat.copy()
    right[:, 2], bottom[2] = 10, 10
    for image, strength, angle in (
        (flat, 0, math.pi / 2),
        (right, 40, 0),
        (bottom, 40, math.pi / 2),
        (bottom - right, math.hypot(40, 40), math.pi / 4),
        (bottom + right, math.hypot(40, 40), -math.pi / 4),
    ):
        found = edges_inside(image)
        assert [i.shape for i in found] == [(1, 1), (1, 1)]
        assert [i.item() for i in found] == pytest.approx([strength, angle], rel=1e-14, abs=1e-14)


def test_preservation_of_single_edges():
    def one(gf, af, gs, angle):
        return raw_preservation(*(np.array([[v]], float) for v in (gf, af, gs, angle))).item()

    assert one(30, 0.1, 40, 0.1) == pytest.approx(q(0.75, 1), rel=1e-14)
    assert one(40, 0.1, 30, 0.1) == pytest.approx(q(0.75, 1), rel=1e-14)
    assert one(40, 1.5, 40, -1.5) == pytest.approx(q(40, 1 - 3 / (math.pi / 2)), rel=1e-12)  # not folded
    assert one(0, 0, 0, 0) == pytest.approx(q(0, 1), rel=1e-14)  # equal, of magnitude 0
    assert one(0, 0, 40, 0) == pytest.approx(q(0, 1), rel=1e-14)


def test_the_best_is_three_equal_pictures():
    image = np.random.default_rng(0).integers(0, 256, (30, 40))
    assert evaluate(image, image, image, names=["Qabf"])["Qabf"] == pytest.approx(BEST, rel=1e-9)
    assert pytest.approx(q(40, 1), rel=1e-14) == BEST


def test_the_frame_of_a_flat_picture_is_an_edge():
    flat = np.full((20, 20), 9)
    assert evaluate(flat, flat, flat, names=["Qabf"])["Qabf"] == pytest.approx(BEST, rel=1e-9)
    assert math.isnan(evaluate(flat, 0 * flat, 0 * flat, names=["Qabf"])["Qabf"])
