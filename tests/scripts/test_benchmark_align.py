"""The alignment benchmark: no border gives the warp away, and the truth is that of the part in view."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion.data.view_search import corner_error
from tests.data.test_alignment import other_sensor, scene, similarity

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    from benchmarks import align

    return align


@pytest.mark.parametrize("number", range(6))
def test_the_scene_fills_the_warped_picture(module, number):
    white = np.full((300, 400), 255, np.uint8)
    warped, planted = module._warped(white, module._planted(white.shape, [0, number]))
    assert (warped == 255).all()
    scale = min(1, np.sqrt(np.linalg.det(planted)))
    # A twelfth of each side is lost to 5 degrees, 40 pixels to the shift.
    assert min(warped.shape) > (scale - 1 / 6) * 300 - 40


@pytest.mark.parametrize("number", range(6))
def test_the_map_is_that_of_the_cut_picture(module, number):
    x = cv2.GaussianBlur(scene(), (0, 0), 3)
    warped, planted = module._warped(x, module._planted(x.shape, [0, number]))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back, shows = (cv2.warpPerspective(y, planted, x.shape[::-1], flags=flags) for y in (warped, np.ones_like(warped)))
    shows = shows > 0.999
    assert shows.mean() > 0.3
    half_a_pixel = np.abs(x - (x + np.roll(x, 1, axis=1)) / 2)[shows].mean()
    assert np.abs(back - x)[shows].mean() < half_a_pixel / 5


def test_the_truth_is_that_of_the_part_in_view(module):
    """The left half of the infrared lies 4 pixels off, the right half does not, and only that is in view."""
    x = scene()
    ir = np.hstack([np.roll(x, 4, axis=1)[:, :200], x[:, 200:]])
    planted = np.array([[1, 0, -210], [0, 1, 0], [0, 0, 1.0]])
    part, whole, alone = (matrix for matrix, _ in module._truths(ir, other_sensor(x), planted, (300, 190)))
    np.testing.assert_array_equal(alone, planted)
    assert corner_error(part, planted, 300, 400) < 1 < corner_error(whole, planted, 300, 400)


def test_a_pair_without_evidence_has_the_planted_truth(module):
    planted = similarity(1.1, 2, 5, 5)
    for truth, bend in module._truths(scene(1), other_sensor(scene(2)), planted, (300, 400)):
        np.testing.assert_allclose(truth, planted, atol=1e-9)
        assert bend == 0


def test_where_both_show_is_not_told_by_corners_that_only_one_shows(module):
    """A view of the middle half, turned: the corners of the visible picture lie twice as far out as what is in view."""
    truth, found = (similarity(2, degrees, 0, 0) for degrees in (0, 0.5))
    moved = module._where_both_show((found, 0.0), (truth, 0.0), (300, 400), (300, 400))
    y, x = np.mgrid[:300, :400]
    mean = np.hypot(x - 199.5, y - 149.5).mean() * np.radians(0.5)
    assert moved == pytest.approx(mean, rel=0.02)
    assert corner_error(found, truth, 300, 400) > 3.5 * mean
