"""Pixel-wise agreement of the fused picture with both sources: errors and correlations.

A picture cannot equal two different sources, so MSE, PSNR and CC favour the plain average. Differences from the
authors' program (profile `cddfuse`): float64 where it has float32 (MSE relative 3e-7). From the literature: PSNR.
"""

from __future__ import annotations

import math

import numpy as np

from fusion.metrics.base import metric

SURVEY = "Ma, Ma, Li, Information Fusion 45, 2019"


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of two (H, W) pictures, -1..1; nan where one of them is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # asked of the values: a mean may be off by one rounding
        return math.nan
    x, y = (x - x.mean()).ravel(), (y - y.mean()).ravel()
    return float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))


def mean_squared_error(x: np.ndarray, y: np.ndarray) -> float:
    """mean (x - y)^2 of two (H, W) pictures, in squared grey levels."""
    difference = (x - y).ravel()
    return float(difference @ difference) / difference.size


@metric(
    "MSE",
    profile="cddfuse",
    higher_is_better=False,
    source=SURVEY,
    unit="grey levels^2",
    range=(0.0, 255.0**2),
    column=10,
)
def mse(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Mean squared error (mean (IR - F)^2 + mean (VIS - F)^2) / 2, in squared grey levels, 0..65025.

    As in the survey of Ma et al. 2019, there for pictures in [0, 1].
    """
    return (mean_squared_error(ir, fused) + mean_squared_error(vis, fused)) / 2.0


@metric(
    "CC",
    profile="cddfuse",
    higher_is_better=True,
    source=SURVEY,
    range=(-1.0, 1.0),
    column=11,
)
def cc(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Correlation coefficient (r(IR, F) + r(VIS, F)) / 2, -1..1, r Pearson's; nan where a picture is constant.

    As in the survey of Ma et al. 2019.
    """
    return (pearson(ir, fused) + pearson(vis, fused)) / 2.0


@metric(
    "PSNR",
    profile="cddfuse",
    higher_is_better=True,
    source=SURVEY,
    unit="dB",
    note="the peak is the brightest pixel of the fused picture, not 255; one averaged MSE, not the mean of two PSNRs",
    column=12,
)
def psnr(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Peak signal-to-noise ratio 10 log10(max(F)^2 / MSE) in dB, unbounded; MSE as the metric of that name.

    The survey of Ma et al. 2019 takes the peak of the picture; most papers take 255, and many average two PSNRs. inf
    where all three pictures are equal, nan where all are black.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10.0 * np.log10(np.float64(fused.max() ** 2) / mse(fused, ir, vis)))


@metric(
    "SCD",
    profile="cddfuse",
    higher_is_better=True,
    source="Aslantas, Bendes, AEU Int. J. Electron. Commun. 69(12), 2015",
    range=(-2.0, 2.0),
    column=5,
)
def scd(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Sum of the correlations of differences, r(IR, F - VIS) + r(VIS, F - IR), -2..2: what is left of the fused
    picture without one source should look like the other.

    Aslantas and Bendes 2015, unchanged. nan where a source is constant or differs from F by a constant.
    """
    return pearson(ir, fused - vis) + pearson(vis, fused - ir)
