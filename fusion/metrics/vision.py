"""Metrics with a model of the eye's contrast sensitivity: Q_CB (Chen, Blum, Image and Vision Computing 27(10), 2009)
and Q_CV (Chen, Varshney, Information Fusion 8(2), 2007).

Both papers leave the viewing distance open (Liu, Wu, Int. J. Image Data Fusion 2(1), 2011), and with it the numbers, so
that there is no `strict` version. Here are the choices of the toolbox that VIFB uses (Liu et al., IEEE Trans. PAMI
34(1), 2012) as far as they are known: pictures stretched to 0..255 and 15 or 4 degrees wide and high, the constants
below. No output of it was at hand; the values lie where VIFB's table has them.
"""

from __future__ import annotations

import math

import numpy as np

from fusion.metrics.arrays import Array, gaussian, is_tensor, library, padded, ratio, windowed
from fusion.metrics.base import leave_out, metric
from fusion.metrics.scene import SOURCES, Scene, shared
from fusion.metrics.statistics import SMOOTH, STEP

NARROW, WIDE = gaussian(31, 2.0), gaussian(31, 4.0)  # the two neighbourhoods of local contrast
DEGREES_CB, DEGREES_CV = 15.0, 4.0  # how large a picture looks
MASK_Z = 1e-4  # masked contrast c^3 / (c^2 + Z)
BLOCK = 16  # pixels


@shared
def stretched(scene: Scene, place: str) -> Array:
    """A picture stretched to whole levels 0..255; a constant one as it is."""
    image = scene.pictures[place]
    low, high = float(image.min()), float(image.max())
    return library(image).round((image - low) * (255.0 / (high - low))) if high > low else image


def cycles_per_degree(image: Array, degrees: float) -> Array:
    """Radial frequency of every coefficient of the real Fourier transform of a picture of so many degrees a side."""
    h, w = image.shape
    down, across = np.fft.fftfreq(h, 1.0 / h), np.fft.rfftfreq(w, 1.0 / w)
    radius = np.hypot(down[:, None], across) / degrees
    if is_tensor(image):
        import torch

        return torch.as_tensor(radius).to(image)
    return radius


def sensed(image: Array, sensitivity: Array) -> Array:
    """(H, W) weighted by a contrast sensitivity over the frequencies."""
    fft = library(image).fft
    return fft.irfft2(fft.rfft2(image) * sensitivity, s=tuple(image.shape))


@shared
def masked_contrast(scene: Scene, place: str) -> Array:
    """What is seen of a picture's local contrast, (H, W), 0 or more.

    After a difference of Gaussians over the frequencies, contrast is the blur of sigma 2 over that of sigma 4, minus 1.
    """
    image = stretched(scene, place)
    r = cycles_per_degree(image, DEGREES_CB)
    xp = library(r)
    seen = sensed(image, xp.exp(-((r / 15.3870) ** 2)) - 0.7622 * xp.exp(-((r / 1.3456) ** 2)))
    seen = padded(seen, len(NARROW) // 2, "constant")
    contrast = abs(ratio(windowed(seen, NARROW, NARROW), windowed(seen, WIDE, WIDE), 1.0) - 1.0)
    squared = contrast * contrast
    return squared * contrast / (squared + MASK_Z)


@metric(
    "QCB",
    profile="vifb",
    higher_is_better=True,
    source="Chen, Blum, Image and Vision Computing 27(10), 2009",
    range=(0.0, 1.0),
    note="viewing distance: the picture is 15 degrees wide and high",
    column=23,
)
def qcb(scene: Scene) -> float:
    """Contrast kept, mean of l Q_ir + (1 - l) Q_vis, 0..1; Q_S: the smaller masked contrast of S and F over the larger.

    Chen and Blum 2009; l is the infrared's share of the two squared masked contrasts, 1/2 where both are 0.
    """
    f = masked_contrast(scene, "fused")
    xp = library(f)
    ir, vis = (masked_contrast(scene, source) for source in SOURCES)
    kept_ir, kept_vis = (ratio(xp.minimum(s, f), xp.maximum(s, f), 1.0) for s in (ir, vis))
    share = ratio(ir * ir, ir * ir + vis * vis, 0.5)
    return float((share * kept_ir + (1.0 - share) * kept_vis).mean())


@metric(
    "QCV",
    profile="vifb",
    higher_is_better=False,
    source="Chen, Varshney, Information Fusion 8(2), 2007",
    smallest=BLOCK,
    unit="grey levels^2",
    range=(0.0, math.inf),
    note="viewing distance: the picture is 4 degrees wide and high; alpha = 5; rest of less than a block left out",
    column=24,
)
def qcv(scene: Scene) -> float:
    """Visible difference sum(l_ir D_ir + l_vis D_vis) / sum(l_ir + l_vis) over 16x16 blocks, in grey levels^2.

    Chen and Varshney 2007: 0 or more; D_S is the mean square of S - F after the eye's contrast sensitivity (Mannos,
    Sakrison), l_S the sum of S's edge strengths to the power alpha = 5. nan where neither source has an edge.
    """
    f = stretched(scene, "fused")
    r = 0.144 * cycles_per_degree(f, DEGREES_CV)
    sensitivity = 2.6 * (0.0192 + r) * library(r).exp(-(r**1.1))
    seen = weights = 0.0
    for source in SOURCES:
        s = stretched(scene, source)
        image = padded(s, 1, "edge")
        sx, sy = windowed(image, SMOOTH, STEP), windowed(image, STEP, SMOOTH)
        squared = sx * sx + sy * sy
        salience = _blocks(squared * squared * squared**0.5).sum((1, 3))
        difference = _blocks(sensed(s - f, sensitivity) ** 2).mean((1, 3))
        seen += float((salience * difference).sum())
        weights += float(salience.sum())
    return seen / weights if weights > 0 else math.nan


def _blocks(image: Array) -> Array:
    """The whole 16x16 blocks of (H, W) as (rows of blocks, 16, columns of blocks, 16)."""
    h, w = (n // BLOCK for n in image.shape)
    return image[: h * BLOCK, : w * BLOCK].reshape(h, BLOCK, w, BLOCK)


leave_out(
    "strict",
    ("QCB", "QCV"),
    "the papers leave the viewing distance open, and Q_CV's power alpha, so that no value is canonical; see vifb",
)
