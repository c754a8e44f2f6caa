"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Process. 13(4), 2004) of the fused picture
with both sources.

Differences from the paper (profile `cddfuse`): a uniform 7x7 window for the Gaussian 11x11 one, sample moments, the
sum over the sources, and a data range of 2 for pictures of range 255. From the authors' program: float64, which keeps
the digits that float32 loses next to constants this small (up to 4e-5).
"""

from __future__ import annotations

import cv2
import numpy as np

from fusion.metrics.base import metric
from fusion.metrics.windows import bands, inside

WINDOW = 7


def window_sums(image: np.ndarray, window: int) -> np.ndarray:
    """Sum over every window x window square that lies inside `image` (H, W); exact for whole grey levels."""
    return inside(cv2.boxFilter(image, cv2.CV_64F, (window, window), normalize=False), window)


def ssim_map(x: np.ndarray, y: np.ndarray, *, data_range: float, window: int = WINDOW) -> np.ndarray:
    """SSIM, -1..1, of two (H, W) pictures in every uniform odd window inside them: (H - window + 1, W - window + 1).

    Sample (co)variances, C1 = (0.01 data_range)^2, C2 = (0.03 data_range)^2.
    """
    n = window * window
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    sum_x, sum_y = window_sums(x, window), window_sums(y, window)
    products = sum_x * sum_y / n
    squares = (sum_x * sum_x + sum_y * sum_y) / n
    # From sums, not from means: with whole grey levels nothing is rounded before the subtraction.
    covariance = (window_sums(x * y, window) - products) / (n - 1)
    variances = (window_sums(x * x + y * y, window) - squares) / (n - 1)
    return (2 * products / n + c1) * (2 * covariance + c2) / ((squares / n + c1) * (variances + c2))


def structural_similarity(x: np.ndarray, y: np.ndarray, *, data_range: float, window: int = WINDOW) -> float:
    """Mean of `ssim_map` over two (H, W) pictures, -1..1."""
    h, w = x.shape
    total = sum(
        float(ssim_map(a, b, data_range=data_range, window=window).sum()) for a, b in bands(x, y, window=window)
    )
    return total / ((h - window + 1) * (w - window + 1))


@metric(
    "SSIM",
    profile="cddfuse",
    higher_is_better=True,
    source="Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Process. 13(4), 2004",
    smallest=WINDOW,
    range=(-2.0, 2.0),
    note="sum of two, uniform 7x7 window, data range 2 for 0..255: much lower than with range 255",
    column=8,
)
def ssim(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """SSIM(F, IR) + SSIM(F, VIS), -2..2, with a uniform 7x7 window and data range R = 2.

    R = 2 is what scikit-image before 0.20 assumed for floating-point pictures (-1..1), though these have 0..255: the
    stabilising constants nearly vanish, and noise in flat regions counts fully. Wang et al. 2004: Gaussian 11x11
    window of sigma 1.5 and R = 255; usual in fusion is the mean of the two.
    """
    return sum(structural_similarity(fused, source, data_range=2.0) for source in (ir, vis))
