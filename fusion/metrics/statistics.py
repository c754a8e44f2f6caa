"""Metrics of the fused picture alone: entropy, contrast, spatial frequency, gradient. All say how much the picture
varies, none whether the variation comes from the sources: noise scores high.

Differences from the authors' program (profile `cddfuse`): float64 where it has float32 (relative 1e-7).
"""

from __future__ import annotations

import math

import numpy as np

from fusion.metrics.base import metric


def entropy(counts: np.ndarray) -> float:
    """-sum p log p in nats, p = counts / sum(counts); empty bins contribute nothing."""
    p = counts[counts > 0] / counts.sum()
    return max(0.0, -float(p @ np.log(p)))  # max: one full bin gives -0.0


def grey_histogram(image: np.ndarray) -> np.ndarray:
    """256 counts of the grey levels of `image` (H, W), rounded half to even; levels outside 0..255 wrap modulo 256."""
    levels = np.rint(image).astype(np.int64).astype(np.uint8)
    return np.bincount(levels.ravel(), minlength=256)


@metric(
    "EN",
    profile="cddfuse",
    higher_is_better=True,
    source="Roberts, van Aardt, Ahmed, J. Appl. Remote Sens. 2, 2008",
    unit="bit",
    range=(0.0, 8.0),
    column=1,
)
def en(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Entropy of the grey levels, -sum h log2 h, in bits, 0 (one level) to 8 (all 256 equally often).

    As in Roberts et al. 2008. Fractions are rounded; values outside 0..255 wrap, as a cast to 8 bit does.
    """
    return entropy(grey_histogram(fused)) / math.log(2.0)


@metric(
    "SD",
    profile="cddfuse",
    higher_is_better=True,
    source="Ma, Ma, Li, Information Fusion 45, 2019",
    unit="grey levels",
    range=(0.0, 127.5),
    column=2,
)
def sd(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Standard deviation sqrt(mean (F - mean F)^2) in grey levels, 0..127.5: global contrast, population divisor HW.

    As in the survey of Ma et al. 2019.
    """
    return float(np.std(fused))


@metric(
    "SF",
    profile="cddfuse",
    higher_is_better=True,
    source="Eskicioglu, Fisher, IEEE Trans. Commun. 43(12), 1995",
    smallest=2,
    unit="grey levels",
    range=(0.0, 255.0 * math.sqrt(2.0)),
    note="row and column sums divided by the number of differences, not of pixels (below 0.4 %)",
    column=3,
)
def sf(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Spatial frequency sqrt(mean dx^2 + mean dy^2) of neighbour differences, in grey levels, 0..361.

    Eskicioglu and Fisher 1995 divide both sums by HW; here each is divided by its number of differences, H(W-1) and
    (H-1)W, as in the CDDFuse tables.
    """
    differences = [np.diff(fused, axis=axis).ravel() for axis in (0, 1)]
    return math.sqrt(sum(float(d @ d) / d.size for d in differences))


@metric(
    "AG",
    profile="cddfuse",
    higher_is_better=True,
    source="Cui, Feng, Xu, Li, Chen, Opt. Commun. 341, 2015",
    smallest=2,
    unit="grey levels",
    range=(0.0, 255.0),
    note="central instead of forward differences, over all pixels: clearly smaller on noisy pictures",
    column=9,
)
def ag(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Average gradient, mean sqrt((gx^2 + gy^2) / 2), in grey levels per pixel, 0..255.

    gx, gy are central differences halved, one-sided at the border (numpy's `gradient`), over all pixels. Cui et al.
    2015 take forward differences over (H-1)(W-1) pixels, which see single-pixel noise that central ones skip.
    """
    gy, gx = np.gradient(fused)
    gx *= gx  # in place: fresh full-size arrays would cost more than the arithmetic
    gy *= gy
    gx += gy
    return float(np.mean(np.sqrt(gx, out=gx))) / math.sqrt(2.0)
