"""What the rule-based methods share: planes in and out, filters, and rules that choose or weigh details.

Planes are (H, W) float64 on the scale 0..255 of 8-bit pictures, on which these methods were published. Everything is
computed in float64: some rules compare differences that float32 cannot tell from zero. SciPy's names of borders:
`nearest` repeats the edge sample, `reflect` mirrors with the edge sample twice, `mirror` with it once, `wrap` is
periodic, `constant` is 0 outside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy import ndarray
from scipy.ndimage import correlate1d, maximum_filter
from torch import Tensor


def plane_by_plane(fuse: Callable[[ndarray, ndarray], ndarray], ir: Tensor, vis: Tensor) -> Tensor:
    """(B, 1, H, W) each in [0, 1] -> `fuse` of each pair of planes, in whole 8-bit levels, in [0, 1].

    Rounded here, because these methods end in 8 bits and often halfway between two levels, which float32 in [0, 1]
    does not hold exactly.
    """
    planes = (in_levels(x.detach()[:, 0].double().cpu().numpy()) for x in (ir, vis))
    fused = np.stack([whole_levels(fuse(a, b)) for a, b in zip(*planes, strict=True)])
    return torch.from_numpy(fused[:, None] / 255).to(ir)


def in_levels(image: ndarray) -> ndarray:
    """[0, 1] -> 0..255. float32's k / 255 is up to 1e-5 of a level from k; near a whole level it is that level."""
    levels = image * 255
    whole = np.rint(levels)
    return np.where(np.abs(levels - whole) < 1e-4, whole, levels)


def whole_levels(plane: ndarray) -> ndarray:
    """To the nearest of 0..255, halves up; NaN is 0."""
    return np.clip(np.floor(np.nan_to_num(plane, nan=0.0) + 0.5), 0, 255)


# --- filters --------------------------------------------------------------------------------------------------------


def separable(plane: ndarray, taps: ndarray, border: str) -> ndarray:
    """The same symmetric taps down the columns and along the rows."""
    return correlate1d(correlate1d(plane, taps, axis=0, mode=border), taps, axis=1, mode=border)


def gauss(plane: ndarray, size: int, sigma: float, border: str) -> ndarray:
    """Gaussian of size x size samples, `size` odd, of sum 1."""
    offsets = np.arange(size) - (size - 1) / 2
    taps = np.exp(-(offsets**2) / (2 * sigma**2))
    return separable(plane, taps / taps.sum(), border)


def mean(plane: ndarray, size: int, border: str) -> ndarray:
    """Of size x size samples, `size` odd."""
    return separable(plane, np.full(size, 1 / size), border)


def box(plane: ndarray, radius: int) -> ndarray:
    """Sum of the (2 radius + 1)^2 samples around, of those inside the picture.

    By running sums, down the columns and then along the rows: HMSD_GF compares differences of such sums in flat areas,
    where the order of additions decides.
    """
    for axis in (0, 1):
        n = plane.shape[axis]
        sums = np.insert(np.cumsum(plane, axis=axis), 0, 0, axis=axis)
        index = np.arange(n)
        last, first = np.minimum(index + radius + 1, n), np.maximum(index - radius, 0)
        plane = sums.take(last, axis) - sums.take(first, axis)
    return plane


def guided_filter(guide: ndarray, plane: ndarray, radius: int, epsilon: float) -> ndarray:
    """He, Sun, Tang, "Guided image filtering" (ECCV 2010); epsilon on the square of the guide's scale."""
    count = box(np.ones_like(plane), radius)

    def local(x: ndarray) -> ndarray:
        return box(x, radius) / count

    guide_mean, plane_mean = local(guide), local(plane)
    slope = (local(guide * plane) - guide_mean * plane_mean) / (local(guide * guide) - guide_mean**2 + epsilon)
    return local(slope) * guide + local(plane_mean - slope * guide_mean)


# --- rules ----------------------------------------------------------------------------------------------------------


def karhunen_loeve(ir: ndarray, vis: ndarray) -> ndarray:
    """The sum of two details, weighed by the first eigenvector of their covariance; the weights sum to 1.

    Of details that cancel each other the eigenvector's entries sum to 0; these are weighed alike.
    """
    vector = np.linalg.eigh(np.cov(ir.ravel(), vis.ravel()))[1][:, 1]
    weights = vector / vector.sum() if abs(vector.sum()) > 1e-9 else (0.5, 0.5)
    return weights[0] * ir + weights[1] * vis


def ratio(numerator: ndarray, denominator: ndarray) -> ndarray:
    """The quotient, 0 where the denominator is."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def stronger(ir: ndarray, vis: ndarray) -> ndarray:
    """Each coefficient, real or complex, of the source whose 3x3 maximum of magnitudes is larger, with a consistency
    check: the infrared one where that holds for more than four of the nine around (Li, Manjunath, Mitra, GMIP 1995)."""
    largest = (maximum_filter(np.pad(np.abs(x), 1, "reflect"), 3, mode="constant") for x in (ir, vis))
    votes = np.greater(*largest).astype(np.float64)
    count = separable(votes, np.ones(3), "constant")[1:-1, 1:-1]
    return np.where(count > 4, ir, vis)


# --- pyramids -------------------------------------------------------------------------------------------------------

BURT_TAPS = np.array([1, 4, 6, 4, 1]) / 16


def reduced(plane: ndarray) -> tuple[ndarray, ndarray]:
    """The plane with even sides (mirrored by one sample where they are odd), and its next level of half the size."""
    plane = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="reflect")
    return plane, separable(plane, BURT_TAPS, "mirror")[::2, ::2]


def expanded(plane: ndarray) -> ndarray:
    """Twice the size: zeros between the samples, filtered."""
    larger = np.zeros((2 * plane.shape[0], 2 * plane.shape[1]))
    larger[::2, ::2] = plane
    return separable(larger, 2 * BURT_TAPS, "mirror")
