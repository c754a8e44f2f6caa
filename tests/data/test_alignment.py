"""Alignment: another view, scale, shift and rotation are found, and what cannot be found is said to be unsure."""

import cv2
import numpy as np
import pytest

from fusion import images
from fusion.data.alignment import aligned, find_alignment, overlap
from fusion.data.folder import find_pairs
from fusion.data.registration import estimate_shift
from fusion.data.view_fit import fit
from fusion.data.view_search import Picture, corner_error, places

H, W = 300, 400


def scene(seed=0, h=H, w=W):
    """Blobs and edges, (h, w) float32 in [0, 1]."""
    random = np.random.default_rng(seed)
    x = cv2.GaussianBlur(random.standard_normal((h, w)).astype(np.float32), (0, 0), 4)
    x += 0.3 * np.sign(cv2.GaussianBlur(random.standard_normal((h, w)).astype(np.float32), (0, 0), 12))
    return np.clip(cv2.normalize(x, None, 0, 1, cv2.NORM_MINMAX), 0, 1)


def other_sensor(x, seed=1):
    """Brightness reversed and bent, noise added: edges are where they were, levels are not."""
    noise = np.random.default_rng(seed).normal(0, 0.02, x.shape).astype(np.float32)
    return np.clip((1 - x) ** 1.7 * 0.8 + noise, 0, 1)


def similarity(scale, degrees, dx, dy, h=H, w=W):
    """(3, 3), about the middle."""
    matrix = np.vstack([cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), -degrees, scale), [0, 0, 1]])
    matrix[:2, 2] += dx, dy
    return matrix


def warped(ir, matrix, border=cv2.BORDER_CONSTANT):
    """What an infrared camera sees that is off by `matrix`, a map of visible pixels to infrared ones."""
    return cv2.warpPerspective(ir, matrix, ir.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=border)


BORDERS = [cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT]
PLANTED = [(0.7, 5, 28, -28), (1.4, -5, -28, 28), (1.0, 3, 0, 40), (0.9, 0, -15, 2)]
# Each border and each map once; all of both, which take a search each, with the slow ones.
FAST = {(0, 0), (1, 1), (2, 2), (0, 3)}
CASES = [
    pytest.param(border, *planted, marks=[] if (i, j) in FAST else pytest.mark.slow)
    for i, border in enumerate(BORDERS)
    for j, planted in enumerate(PLANTED)
]


@pytest.mark.parametrize(("border", "scale", "degrees", "dx", "dy"), CASES)
def test_a_planted_similarity_is_found(border, scale, degrees, dx, dy):
    x, planted = scene(), similarity(scale, degrees, dx, dy)
    found = find_alignment(warped(x, planted, border), other_sensor(x))
    assert found.sure
    assert found.model == "similarity"
    assert corner_error(found.matrix, planted, H, W) < 1


def test_another_field_of_view_and_size():
    """Infrared cameras with a longer lens and fewer pixels: the middle 70 % of what the visible one sees."""
    x = scene(h=480, w=640)
    ir = cv2.resize(x[72:408, 96:544], (336, 252), interpolation=cv2.INTER_AREA)
    found = find_alignment(ir, other_sensor(x))
    assert found.sure
    a, b = aligned(ir, other_sensor(x), found.matrix)
    assert a.shape == b.shape
    assert np.abs(np.array(a.shape) - (336, 448)).max() <= 4
    assert estimate_shift(a, b).pixels < 0.7


def test_raw_counts_that_use_little_of_their_range():
    x, planted = scene(), similarity(0.8, 2, 10, 10)
    counts = (7000 + 255 * 8 * warped(x, planted, cv2.BORDER_REFLECT)).astype(np.uint16)
    found = find_alignment(counts, (255 * other_sensor(x)).astype(np.uint8))
    assert found.sure
    assert corner_error(found.matrix, planted, H, W) < 1


def test_a_shift_alone_where_no_more_is_asked():
    x = scene()
    found = find_alignment(warped(x, similarity(1, 0, -9, 14)), other_sensor(x), "translation")
    assert (found.model, found.sure) == ("translation", True)
    np.testing.assert_allclose(found.matrix, [[1, 0, -9], [0, 1, 14], [0, 0, 1]], atol=0.3)


def test_a_homography_where_it_is_asked():
    planted = np.array([[1.012, 0.015, 4.0], [-0.012, 0.995, 7.0], [6e-5, -4e-5, 1.0]])
    x = scene()
    found = find_alignment(warped(x, planted, cv2.BORDER_REFLECT), other_sensor(x), "homography")
    assert found.model == "homography"
    assert found.after > found.before + 0.2
    assert corner_error(found.matrix, planted, H, W) < 0.7 < 7 < corner_error(np.eye(3), planted, H, W)


def test_an_aligned_pair_is_left_alone():
    x = scene()
    found = find_alignment(x, other_sensor(x))
    assert (found.model, found.sure) == ("none", True)
    np.testing.assert_array_equal(found.matrix, np.eye(3))


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_two_scenes_are_unsure(seed):
    found = find_alignment(scene(seed), other_sensor(scene(100 + seed)))
    assert (found.model, found.sure) == ("none", False)
    assert found.text.startswith("no sure alignment: ")


@pytest.mark.parametrize("level", [0.0, 0.5])
@pytest.mark.parametrize("shape", [(H, W), (60, 40), (8, 9)])
def test_nothing_to_see_is_unsure(level, shape):
    assert not find_alignment(np.full(shape, level, np.float32), scene()).sure
    assert not find_alignment(scene(), np.full(shape, level, np.float32)).sure


def test_aligned_cuts_to_what_both_show_and_keeps_depth_and_channels():
    ir = np.full((100, 120), 40000, np.uint16)
    vis = np.zeros((100, 120, 3), np.uint8)
    matrix = np.array([[1, 0, 10], [0, 1, -5], [0, 0, 1.0]])
    a, b = aligned(ir, vis, matrix)
    assert a.shape == (95, 110)
    assert b.shape == (95, 110, 3)
    assert (a.dtype, b.dtype) == (np.uint16, np.uint8)
    assert (a == 40000).all()


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "index"), [("RoadScene", 20), ("MSRS/test", 60)])
def test_real_pairs_are_brought_together(shared, folder, index):
    """Against the pair's own alignment: MSRS's pairs differ by 1 % in scale (scripts/benchmarks/align.py)."""
    pair = find_pairs(shared / "data" / folder).pairs[index]
    ir, vis = images.read(pair.ir), images.read(pair.vis)
    h, w = ir.shape[:2]
    planted = similarity(0.85, 3, 25, -20, h, w)
    found, own = find_alignment(warped(ir, planted), vis), find_alignment(ir, vis)
    assert found.sure
    assert own.sure
    assert corner_error(found.matrix, planted @ own.matrix, h, w) < 2


def seen_by_another_lens(x, bend):
    there = np.indices((H, W))[::-1].astype(np.float64)  # where its pixels are, x and y
    middle = np.array([(W - 1) / 2, (H - 1) / 2])[:, None, None]
    squared = ((there - middle) ** 2).sum(0) / (np.hypot(H, W) / 2) ** 2
    rest = squared - (squared**2).sum() / squared.sum()  # nothing of it is a change of size over the whole view
    bent = (there + bend * rest * (there - middle)).astype(np.float32)
    return cv2.remap(x, *bent, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize("bend", [-0.05, 0.0])
def test_in_a_view_of_half_the_scene_a_lens_is_found_and_none_made_up(bend):
    planted, vis = similarity(1.35, 2, 5, -6), other_sensor(seen_by_another_lens(scene(), bend))
    pictures = Picture.of(warped(scene(), planted)), Picture.of(vis)
    start, _, _ = fit(*pictures, planted, 512, 2.0)
    matrix, found, _ = fit(*pictures, start, 512, 2.0, 5)
    assert found == pytest.approx(bend, abs=0.01)
    assert corner_error(matrix, planted, H, W) < 1
    if bend:
        assert corner_error(start, planted, H, W) > 1.5  # a similarity alone is right where it was fitted, not beyond


@pytest.mark.parametrize("bend", [-0.05, 0.04])
def test_the_difference_of_two_lenses_is_found(bend):
    """An infrared lens that shows the corners further in or out than a similarity does (Brown's first term)."""
    x, planted, vis = scene(), similarity(0.95, 2, 6, -8), seen_by_another_lens(scene(), bend)
    found = find_alignment(warped(x, planted), other_sensor(vis))
    assert found.sure
    assert found.bend == pytest.approx(bend, abs=0.006)
    assert corner_error(found.matrix, planted, H, W) < 1
    a, b = aligned(warped(x, planted), vis, found.matrix, found.bend)
    top, left, bottom, right = overlap((H, W), (H, W), found.matrix, found.bend)
    assert a.shape == b.shape == (bottom - top, right - left)
    assert a.size > 0.9 * H * W
    for coordinate, side in zip(places(found.matrix, H, W, found.bend), (W, H), strict=True):
        inside = coordinate[top:bottom, left:right]  # nothing comes from outside of the infrared picture
        assert -0.01 < inside.min() <= inside.max() < side - 0.99
    assert np.abs(a - b)[20:-20, 20:-20].mean() < 0.03 < np.abs(a - b[::-1])[20:-20, 20:-20].mean()
