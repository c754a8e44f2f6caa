"""VIF against a plain transcription of its definition (spec/metrics.md): two-dimensional windows, no bands, every rule
in the stated order. The authors' numbers are in test_metric_golden.py; this adds sizes and flat areas."""

import math

import numpy as np
import pytest
from scipy.signal import convolve2d

from fusion.metrics import evaluate
from fusion.metrics.vif import SMALLEST, UNIT, fidelities


def vif_of(reference, image):
    return fidelities([reference], image)[UNIT][0]


def plain_vif(reference, image, eps=1e-10):
    num = den = 0.0
    for scale, n in enumerate((17, 9, 5, 3)):
        y, x = np.mgrid[:n, :n] - n // 2
        window = np.exp(-(x * x + y * y) / (2 * (n / 5) ** 2))
        window /= window.sum()

        def mean(i, window=window):
            return convolve2d(i, window, mode="valid")

        if scale:
            reference, image = mean(reference)[::2, ::2], mean(image)[::2, ::2]
        m1, m2 = mean(reference), mean(image)
        v1 = np.maximum(mean(reference**2) - m1**2, 0)
        v2 = np.maximum(mean(image**2) - m2**2, 0)
        c = mean(reference * image) - m1 * m2
        g = c / (v1 + eps)
        s2 = v2 - g * c
        low = v1 < eps
        g[low], s2[low], v1[low] = 0, v2[low], 0
        low = v2 < eps
        g[low], s2[low] = 0, 0
        low = g < 0
        s2[low], g[low] = v2[low], 0
        s2[s2 <= eps] = eps
        num += np.log10(1 + g * g * v1 / (s2 + 2)).sum()
        den += np.log10(1 + v1 / 2).sum()
    return num / den


def scene(h, w):
    """A blotchy picture with a flat, a black and a saturated area, and a degraded copy with an inverted one."""
    rng = np.random.default_rng((h, w))
    reference = rng.integers(0, 256, (h, w)).astype(float)
    reference[: h // 2, : w // 2] = 77
    reference[-h // 3 :, : w // 3] = 0
    image = np.rint(0.7 * reference + 0.3 * rng.integers(0, 256, (h, w)))
    image[: h // 3, -w // 3 :] = 255 - reference[: h // 3, -w // 3 :]
    image[-h // 2 :, -w // 2 :] = 255
    return reference, image


# 41: the last scale is one window; then less, exactly and more than one band of 96 rows
@pytest.mark.parametrize(("h", "w"), [(41, 41), (42, 60), (112, 64), (113, 50), (230, 90)])
def test_agrees_with_the_definition(h, w):
    reference, image = scene(h, w)
    both = [vif_of(reference, image), vif_of(image, reference)]
    assert both == pytest.approx([plain_vif(reference, image), plain_vif(image, reference)], rel=1e-9)


def test_metric_is_the_sum_over_the_sources():
    reference, image = scene(64, 70)
    other = scene(64, 71)[0][:, 1:]
    expected = plain_vif(reference, image) + plain_vif(other, image)
    assert evaluate(image, reference, other, names=["VIF"])["VIF"] == pytest.approx(expected, rel=1e-9)


def test_more_contrast_than_the_reference_is_more_than_one():
    reference = np.rint(scene(64, 64)[0] / 3)
    assert vif_of(reference, reference) == pytest.approx(1.0, rel=1e-9)
    assert vif_of(reference, 3 * reference) > 1.05


def test_a_flat_reference_counts_as_fully_kept_at_every_level():
    """0/0 is 1, and the rounding of a flat area's variance stays below the threshold for every grey level."""
    image = scene(SMALLEST, SMALLEST)[1]
    flat = [np.full_like(image, level) for level in range(256)]
    assert fidelities(flat, image) == {UNIT: [1.0] * 256}
    assert vif_of(image, np.full_like(image, 255)) == 0.0
    assert not math.isnan(vif_of(flat[255], flat[254]))
