"""Visual information fidelity in the pixel domain (Sheikh, Bovik, IEEE Trans. Image Process. 15(2), 2006) of the
fused picture with both sources.

The tables call the sum of two such values VIF (the authors' program: VIFF). The VIFF of Han, Cai, Cao, Xu, Information
Fusion 14(2), 2013 is another measure: per block the better source, and learned weights of the sub-bands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from fusion.metrics.base import metric
from fusion.metrics.windows import bands, inside

WINDOWS = (17, 9, 5, 3)  # pixels, one per scale, finest first
SMALLEST = 41  # pixels; below it the windows of the coarser scales do not fit
NOISE = 2.0  # variance of the noise in the model of the eye, grey levels^2
EPS = 1e-10


def gaussian(size: int) -> np.ndarray:
    """`size` taps of a Gaussian with sigma = size / 5, of sum 1."""
    t = np.arange(size) - size // 2
    taps = np.exp(-0.5 * (t / (size / 5.0)) ** 2)
    return taps / taps.sum()


def local_mean(image: np.ndarray, size: int) -> np.ndarray:
    """Gaussian mean of (H, W) over every window that lies inside it: (H - size + 1, W - size + 1)."""
    taps = gaussian(size)
    return inside(cv2.sepFilter2D(image, cv2.CV_64F, taps, taps), size)


def fidelities(references: Sequence[np.ndarray], image: np.ndarray) -> list[float]:
    """VIF of `image` with each reference, all (H, W) in 0..255; about 0..1, above 1 where contrast is enhanced.

    The information about the reference in the image over that in the reference itself, each summed over four scales:
    sum log(1 + g^2 v1 / (s^2 + 2)) / sum log(1 + v1 / 2). 1 where the reference holds none (it is constant).
    """
    pictures = [image, *references]
    totals = np.zeros((len(references), 2))
    for scale, size in enumerate(WINDOWS):
        if scale > 0:
            pictures = [local_mean(picture, size)[::2, ::2].copy() for picture in pictures]
        for band in bands(*pictures, window=size):
            totals += list(_information(*band, size=size))
    return [carried / held if held > 0 else 1.0 for carried, held in totals.tolist()]


def _information(image: np.ndarray, *references: np.ndarray, size: int) -> Iterator[tuple[float, float]]:
    """(carried, held) for each reference, in nats, summed over the windows of one band.

    The model in every window: image = gain * reference + noise of variance s2, no gain where it would be negative or
    the image is flat. A flat reference holds nothing (v1 = 0), which makes its gain irrelevant.
    """
    m2 = local_mean(image, size)
    v2 = local_mean(image * image, size) - m2 * m2
    flat = v2 < EPS
    for reference in references:
        m1 = local_mean(reference, size)
        v1 = local_mean(reference * reference, size) - m1 * m1
        v1[v1 < EPS] = 0.0
        covariance = np.maximum(local_mean(reference * image, size) - m1 * m2, 0.0)
        covariance[flat] = 0.0
        gain = covariance / (v1 + EPS)
        s2 = np.maximum(v2 - gain * covariance, EPS)
        yield float(np.log1p(gain * gain * v1 / (s2 + NOISE)).sum()), float(np.log1p(v1 / NOISE).sum())


@metric(
    "VIF",
    profile="cddfuse",
    higher_is_better=True,
    source="Sheikh, Bovik, IEEE Trans. Image Process. 15(2), 2006",
    smallest=SMALLEST,
    range=(0.0, math.inf),
    note="sum of two pixel-domain VIFs; not the VIFF of Han et al. 2013, which weights sub-bands and picks a source",
    column=6,
)
def vif(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """VIF(IR -> F) + VIF(VIS -> F): 0 to about 2, more where the fusion enhances contrast. Sides of 41 pixels or more.

    The pixel-domain VIF of Sheikh and Bovik 2006 with "valid" windows. Not the fusion measure VIFF of Han et al. 2013.
    """
    return sum(fidelities((ir, vis), fused))
