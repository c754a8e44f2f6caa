"""Visual information fidelity in the pixel domain (Sheikh, Bovik, IEEE Trans. Image Process. 15(2), 2006) of the
fused picture with both sources.

The CDDFuse tables call the sum of two such values VIF (the authors' program: VIFF). The VIFF of Han, Cai, Cao, Xu,
Information Fusion 14(2), 2013 is another measure: per block the better source, and learned weights of the sub-bands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fusion.metrics.arrays import Array, bands, gaussian, is_tensor, library, windowed
from fusion.metrics.base import leave_out, metric
from fusion.metrics.scene import Scene, shared

SHEIKH = "Sheikh, Bovik, IEEE Trans. Image Process. 15(2), 2006"
WINDOWS = (17, 9, 5, 3)  # pixels, one per scale, finest first; sigma is a fifth
SMALLEST = 41  # pixels; below it the windows of the coarser scales do not fit
NOISE = 2.0  # variance of the noise in the model of the eye, in the pictures' own units squared
EPS = 1e-10  # in the same units; smaller variances are none
UNIT = 1.0  # the pictures' levels as they are, 0..255
SCALED = 255.0**2  # as if they had been divided by 255: noise and EPS weigh so much more


def local_mean(image: Array, size: int) -> Array:
    """Gaussian mean of (H, W) over every window that lies inside it: (H - size + 1, W - size + 1)."""
    taps = gaussian(size, size / 5.0)
    return windowed(image, taps, taps)


def fidelities(references: Sequence[Array], image: Array, units: Sequence[float] = (UNIT,)) -> dict[float, list[float]]:
    """{unit: VIF of `image` with each reference}, all (H, W) in 0..255; about 0..1, above where contrast is enhanced.

    The information about the reference in the image over that in the reference itself, each summed over four scales:
    sum log(1 + g^2 v1 / (s^2 + 2)) / sum log(1 + v1 / 2). 1 where the reference holds none (it is constant). A unit
    multiplies the noise 2 and the thresholds.
    """
    pictures = [image, *references]
    totals = {unit: np.zeros((len(references), 2)) for unit in units}
    for scale, size in enumerate(WINDOWS):
        if scale > 0:
            pictures = [_halved(picture, size) for picture in pictures]
        for band in bands(*pictures, window=size):
            for place, variances in enumerate(_moments(*band, size=size)):
                for unit in units:
                    totals[unit][place] += _information(*variances, unit)
    return {
        unit: [carried / held if held > 0 else 1.0 for carried, held in rows.tolist()] for unit, rows in totals.items()
    }


def _halved(image: Array, size: int) -> Array:
    small = local_mean(image, size)[::2, ::2]
    return small if is_tensor(small) else small.copy()  # OpenCV would copy it again and again


def _moments(image: Array, *references: Array, size: int) -> Iterator[tuple[Array, Array, Array]]:
    """(variance of the reference, of the image, covariance) for each reference, in the windows of one band."""
    m2 = local_mean(image, size)
    v2 = local_mean(image * image, size) - m2 * m2
    for reference in references:
        m1 = local_mean(reference, size)
        v1 = local_mean(reference * reference, size) - m1 * m1
        yield v1, v2, local_mean(reference * image, size) - m1 * m2


def _information(v1: Array, v2: Array, covariance: Array, unit: float) -> tuple[float, float]:
    """(carried, held) in nats, summed over the windows of one band.

    The model in every window: image = gain * reference + noise of variance s2, no gain where it would be negative or
    the image is flat. A flat reference holds nothing (v1 = 0), which makes its gain irrelevant.
    """
    xp, eps, noise = library(v1), EPS * unit, NOISE * unit
    v1 = xp.where(v1 < eps, 0.0, v1)
    covariance = xp.where((v2 < eps) | (covariance < 0), 0.0, covariance)
    gain = covariance / (v1 + eps)
    s2 = xp.clip(v2 - gain * covariance, eps, None)
    carried = xp.log1p(gain * gain * v1 / (s2 + noise)).sum()
    return float(carried), float(xp.log1p(v1 / noise).sum())


@shared
def of_scene(scene: Scene) -> dict[float, list[float]]:
    """{unit: [VIF(IR -> F), VIF(VIS -> F)]} of the levels as they are, and divided by 255: one pass for both."""
    return fidelities(scene.sources, scene.fused, (UNIT, SCALED))


@metric(
    "VIF",
    profile="cddfuse",
    higher_is_better=True,
    source=SHEIKH,
    smallest=SMALLEST,
    range=(0.0, math.inf),
    note="sum of two pixel-domain VIFs; not the VIFF of Han et al. 2013, which weights sub-bands and picks a source",
    column=6,
)
def vif(scene: Scene) -> float:
    """VIF(IR -> F) + VIF(VIS -> F): 0 to about 2, more where the fusion enhances contrast.

    The pixel-domain VIF of Sheikh and Bovik 2006 with "valid" windows. Not the fusion measure VIFF of Han et al. 2013.
    """
    return sum(of_scene(scene)[UNIT])


@metric(
    "VIF",
    profile="matlab",
    higher_is_better=True,
    source=SHEIKH,
    smallest=SMALLEST,
    range=(0.0, math.inf),
    note="sum of two, of pictures in [0, 1] but with the noise of 0..255, which weighs most of the contrast away then; "
    "the set's by elimination",
    column=6,
)
def vif_scaled(scene: Scene) -> float:
    """VIF(IR -> F) + VIF(VIS -> F) of the pictures divided by 255: 0 to about 2.

    Sheikh and Bovik 2006, whose noise variance 2 is meant for levels 0..255.
    """
    return sum(of_scene(scene)[SCALED])


@metric(
    "VIF",
    profile="strict",
    higher_is_better=True,
    source=SHEIKH,
    smallest=SMALLEST,
    range=(0.0, math.inf),
    note="mean of two pixel-domain VIFs",
    column=6,
)
def vif_canonical(scene: Scene) -> float:
    """(VIF(IR -> F) + VIF(VIS -> F)) / 2: 0 to about 1, more where the fusion enhances contrast.

    The pixel-domain VIF of Sheikh and Bovik 2006, four scales, of each source; the mean keeps its scale.
    """
    return vif(scene) / 2.0


leave_out(
    "strict",
    ("VIFF",),
    "the noise variance and the learned sub-band weights of Han et al. 2013 could not be had; what the CDDFuse program "
    "calls VIFF is cddfuse/VIF",
)
