"""MSE, CC, PSNR, SCD against scipy, scikit-image and hand-made pictures."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from fusion.metrics import evaluate


@pytest.fixture
def scene():
    """(fused, ir, vis) that have something in common, whole grey levels; the fused one ends at 230."""
    rng = np.random.default_rng(0)
    ir, vis = rng.integers(0, 200, (2, 30, 40)).astype(float)
    fused = np.rint(0.6 * ir + 0.4 * vis + rng.normal(0, 5, ir.shape)).clip(0, 230)
    fused[0, 0] = 230
    return fused, ir, vis


def r(x, y):
    return pearsonr(x.ravel(), y.ravel()).statistic


def test_mse_is_the_mean_of_both(scene):
    fused, ir, vis = scene
    expected = (mean_squared_error(fused, ir) + mean_squared_error(fused, vis)) / 2
    assert evaluate(*scene, names=["MSE"])["MSE"] == pytest.approx(expected, rel=1e-13)


def test_psnr_peaks_at_the_brightest_fused_pixel(scene):
    fused, ir, _ = scene
    value = evaluate(fused, ir, ir, names=["PSNR"])["PSNR"]
    assert value == pytest.approx(peak_signal_noise_ratio(ir, fused, data_range=230), rel=1e-13)


def test_psnr_averages_the_errors_not_the_decibels():
    fused = np.full((4, 4), 100.0)
    value = evaluate(fused, fused, fused - 10, names=["PSNR"])["PSNR"]  # the mean of two would be infinite
    assert value == pytest.approx(10 * math.log10(100**2 / 50), rel=1e-14)


def test_cc_and_scd_are_pearsons(scene):
    fused, ir, vis = scene
    values = evaluate(*scene, names=["CC", "SCD"])
    assert values["CC"] == pytest.approx((r(ir, fused) + r(vis, fused)) / 2, rel=1e-12)
    assert values["SCD"] == pytest.approx(r(ir, fused - vis) + r(vis, fused - ir), rel=1e-12)


def test_scd_of_the_sum_of_the_sources_is_two(scene):
    _, ir, vis = scene
    assert evaluate(ir + vis, ir, vis, names=["SCD"])["SCD"] == pytest.approx(2.0, rel=1e-14)


def test_no_correlation_with_a_constant_whose_mean_is_rounded():
    constant = np.full((31, 43), 0.3)
    assert constant.mean() != 0.3  # so that centred values are not zero
    ramp = np.arange(1333.0).reshape(31, 43) % 200
    for triple in ((constant, ramp, ramp), (ramp, constant, ramp), (ramp, ramp, constant)):
        assert math.isnan(evaluate(*triple, names=["CC"])["CC"])
    values = evaluate(ramp + constant, ramp, ramp[::-1], names=["SCD"])
    assert math.isnan(values["SCD"])  # F - IR is constant but for rounding
