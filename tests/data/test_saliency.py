"""Saliency through the histogram, against the definition pixel pair by pixel pair."""

import numpy as np
import pytest

from fusion.data.saliency import levels, saliency, saliency_mask, saliency_table


def by_definition(grey):
    x = grey.astype(np.int64).ravel()
    v = np.array([sum(abs(int(p) - int(q)) for q in x) for p in x], np.float64).reshape(grey.shape)
    return (v - v.min()) / (v.max() - v.min())


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(seed):
    grey = np.random.default_rng(seed).integers(0, 256, (9, 13), dtype=np.uint8)
    grey[:4, :5] = 37  # a histogram with a peak
    # float32 against float64: half a unit in the last place of values up to 1
    np.testing.assert_allclose(saliency(grey), by_definition(grey), rtol=0, atol=6e-8)


def test_range_and_type():
    map = saliency(np.random.default_rng(0).integers(90, 120, (40, 30), dtype=np.uint8))
    assert map.dtype == np.float32
    assert (map.min(), map.max()) == (0, 1)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_picture_has_none(level):
    assert not saliency(np.full((5, 7), level, np.uint8)).any()


def test_two_levels_equally_frequent_have_none():
    assert not saliency(np.array([[10, 200]], np.uint8)).any()


def test_colour_and_16_bits_go_by_their_8_bit_luminance():
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (8, 9), dtype=np.uint8)
    assert (levels(np.dstack([grey] * 3)) == grey).all()
    assert (levels(grey.astype(np.uint16) * 257) == grey).all()
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    assert (levels(red) == 60).all()  # .299 * 200 = 59.8


def test_mask_is_the_visible_share():
    vis = np.array([[0, 0, 0, 255]], np.uint8)
    ir = np.array([[0, 0, 255, 0]], np.uint8)
    np.testing.assert_array_equal(saliency_mask(vis, ir), [[0.5, 0.5, 0, 1]])


def test_mask_of_constant_pictures_is_one_half():
    flat = np.full((3, 3), 80, np.uint8)
    assert (saliency_mask(flat, flat) == 0.5).all()


def test_mask_refuses_two_sizes():
    with pytest.raises(ValueError, match="vis is 4x5 but ir is 5x4"):
        saliency_mask(np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8))


def test_table_is_zero_for_levels_that_the_picture_lacks():
    table = saliency_table(np.array([[50, 60, 60]], np.uint8))
    assert table[50] == 1
    assert table.sum() == 1
