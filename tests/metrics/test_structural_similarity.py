"""SSIM against scikit-image, in both precisions."""

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity as skimage_ssim

from fusion.metrics import evaluate
from fusion.metrics.structure import uniform_similarities


def pictures(h, w):
    rng = np.random.default_rng((h, w))
    vis = cv2.GaussianBlur(rng.integers(0, 256, (h, w)).astype(float), (0, 0), 2).round()
    ir = rng.integers(0, 256, (h, w)).astype(float)
    return np.rint((ir + 3 * vis) / 4), ir, vis


# From one window over less, exactly, and more than one band of 96 rows.
@pytest.mark.parametrize(("h", "w"), [(7, 7), (8, 30), (102, 33), (103, 33), (210, 90)])
@pytest.mark.parametrize("data_range", [2.0, 255.0])
def test_agrees_with_scikit_image(h, w, data_range):
    x, y, _ = pictures(h, w)
    # 1e-8: scikit-image subtracts rounded means of squares, which shows next to C2 = 3.6e-3
    expected = skimage_ssim(x, y, data_range=data_range)
    assert uniform_similarities(x, (y,), data_range) == pytest.approx([expected], rel=1e-8)


def test_window_is_an_argument():
    x, y, _ = pictures(40, 50)
    expected = skimage_ssim(x, y, data_range=255, win_size=11)
    assert uniform_similarities(x, (y,), 255, window=11) == pytest.approx([expected], rel=1e-10)


def test_metric_is_the_sum_over_the_sources_with_range_2():
    fused, ir, vis = pictures(80, 60)
    expected = sum(skimage_ssim(fused, source, data_range=2.0) for source in (ir, vis))
    assert evaluate(fused, ir, vis, names=["SSIM"])["SSIM"] == pytest.approx(expected, rel=1e-8)


@pytest.mark.shared
def test_largest_difference_from_the_authors_is_their_float32(shared):
    """TNO 24: their program gives 1.02467, this one 1.02492; scikit-image gives either, depending on the type."""
    fused, ir, vis = read(shared, "golden/cddfuse_official_outputs/TNO/24.png")
    single = sum(skimage_ssim(np.float32(fused), np.float32(s), data_range=2.0) for s in (ir, vis))
    double = sum(skimage_ssim(fused, s, data_range=2.0) for s in (ir, vis))
    assert single == pytest.approx(1.024670142162199, rel=1e-6)
    assert evaluate(fused, ir, vis, names=["SSIM"])["SSIM"] == pytest.approx(double, rel=1e-8)


def read(shared, fused):
    """(fused, ir, vis) of a TNO pair, whose pictures are grey: any channel is the luminance."""
    name = fused.rsplit("/", 1)[1]
    paths = (fused, f"data/TNO/ir/{name}", f"data/TNO/vi/{name}")
    bgr = [cv2.imread(str(shared / path)) for path in paths]
    assert all((i == i[..., :1]).all() for i in bgr)
    return [i[..., 0].astype(float) for i in bgr]
