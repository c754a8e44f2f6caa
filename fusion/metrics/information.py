"""How much the grey levels of the fused picture tell about those of the sources: mutual information
(Qu, Zhang, Yan, Electronics Letters 38(7), 2002).

Difference from the paper (profile `cddfuse`): nats instead of bits.
"""

from __future__ import annotations

import math

import numpy as np

from fusion.metrics.base import metric
from fusion.metrics.statistics import entropy

DENSE = 1 << 20  # cells; larger joint histograms are counted by sorting instead of in a table


def mutual_information(x: np.ndarray, y: np.ndarray) -> float:
    """I(X; Y) = H(X) + H(Y) - H(X, Y) of two (H, W) pictures in nats; every distinct value is a level of its own.

    For 8-bit pictures these are the 256-level histograms. Fractions are not rounded: round first, or the picture
    "tells" everything simply because no two of its pixels are equal.
    """
    return _information(_labels(x), _labels(y))


def _information(x: tuple[np.ndarray, int], y: tuple[np.ndarray, int]) -> float:
    (a, levels_a), (b, levels_b) = x, y
    cells = levels_a * levels_b
    joint = a * levels_b
    joint += b
    counts = np.bincount(joint, minlength=cells) if cells <= DENSE else np.unique(joint, return_counts=True)[1]
    return max(0.0, entropy(np.bincount(a)) + entropy(np.bincount(b)) - entropy(counts))


def _labels(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Every pixel's level as a flat int64 array in [0, n), and n: the value itself for 8-bit pictures."""
    flat = image.ravel()
    if flat.min() >= 0 and flat.max() <= 255:
        levels = flat.astype(np.int64)
        if np.array_equal(levels, flat):
            return levels, 256
    values, levels = np.unique(flat, return_inverse=True)
    return levels, len(values)


@metric(
    "MI",
    profile="cddfuse",
    higher_is_better=True,
    source="Qu, Zhang, Yan, Electronics Letters 38(7), 2002",
    unit="nat",
    range=(0.0, 2.0 * math.log(256.0)),
    note="in nats: 0.693 of the value in bits",
    column=4,
)
def mi(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Mutual information I(F; IR) + I(F; VIS) in nats, 0..11.09, from 256-level joint histograms.

    Qu et al. 2002, who count in bits (divide by ln 2 = 0.6931).
    """
    labels = _labels(fused)
    return sum(_information(labels, _labels(source)) for source in (ir, vis))
