"""GTF: gradient transfer, the infrared picture with the visible one's gradients.

Ma, Chen, Li, Huang, "Infrared and visible image fusion via gradient transfer and total variation minimization",
Information Fusion 2016, as the benchmark VIFB (CVPR Workshops 2020) ran it: min over x of |x - ir| + 4 |grad(x - vis)|,
which is total-variation denoising of s = ir - vis under the absolute error. Solved as theirs by five steps of
iteratively reweighted norms (Rodriguez, Wohlberg, IEEE Trans. Image Processing 2009), each by conjugate gradients that
stop early: so few steps are part of the method, not an approximation. When a solve stops depends on rounding: up to
0.5 % of the pixels may differ from theirs by one level. Planes are on the scale 0..1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import plane_by_plane
from fusion.registry import NETWORKS

SMOOTHNESS = 4.0
STEPS = 5
MOST_ITERATIONS = 500
BINS = 1000


def differences(plane: ndarray) -> tuple[ndarray, ndarray]:
    """To the next sample along x and along y; 0 in the last column and row."""
    return np.diff(plane, axis=1, append=plane[:, -1:]), np.diff(plane, axis=0, append=plane[-1:])


def transposed(along_x: ndarray, along_y: ndarray) -> ndarray:
    """The transpose of `differences`, whose last column and row are 0 here, too."""
    return -np.diff(along_x, axis=1, prepend=0) - np.diff(along_y, axis=0, prepend=0)


def quantile(values: ndarray, share: float) -> tuple[float, float]:
    """The first of 1000 centres from the least to the largest value up to which lies more than `share` of them, and
    the centre after it. A value belongs to its nearest centre, half way to the lower one."""
    centres = np.linspace(values.min(), values.max(), BINS)
    step = (centres[-1] - centres[0]) / (BINS - 1)
    if step == 0:
        return centres[0], centres[0]
    index = np.ceil((values.ravel() - centres[0]) / step - 0.5).astype(int).clip(0, BINS - 1)
    reached = np.cumsum(np.bincount(index, minlength=BINS)) / values.size
    p = int(np.argmax(reached > share))
    return centres[p], centres[min(p + 1, BINS - 1)]


def conjugate_gradients(apply: Callable[[ndarray], ndarray], target: ndarray, start: ndarray) -> tuple[ndarray, int]:
    """Solve apply(w) = target from `start` until the residual is a fifth of the first one and below the target's own
    norm; returns w and the number of iterations."""
    w, residual = start, target - apply(start)
    norm = np.linalg.norm(target)
    limit = min(np.linalg.norm(residual) / norm / 5, 1 - 2.0**-52) * norm
    square = np.vdot(residual, residual)
    direction, n = residual, 0
    while square**0.5 > limit and n < MOST_ITERATIONS:
        image = apply(direction)
        length = square / np.vdot(direction, image)
        w, residual, n = w + length * direction, residual - length * image, n + 1
        if np.linalg.norm(residual) <= limit:  # as updated; only the true residual may stop
            residual = target - apply(w)
        before, square = square, np.vdot(residual, residual)
        direction = residual + square / before * direction
    return w, n


def denoise(s: ndarray) -> ndarray:
    """About the y that minimises |y - s| + SMOOTHNESS |grad y|."""
    y = s
    for step in range(STEPS):
        error = np.abs(y - s)
        data = np.sqrt(np.maximum(error, quantile(error, 0.05)[1]) / 2) if step else np.full_like(s, 2 * 0.1**0.5)
        square = sum(d**2 for d in differences(y))
        here, after = quantile(square, 0.01)
        edge = 2 / np.sqrt(np.maximum(square, here if here > 0 else after))

        def system(w: ndarray, data: ndarray = data, edge: ndarray = edge) -> ndarray:
            return w + SMOOTHNESS * data * transposed(*(edge * d for d in differences(data * w)))

        w, iterations = conjugate_gradients(system, s / data, y / data)
        y = data * w
        if not iterations:
            break
    return y


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    s = (ir - vis) / 255
    return ir if s.min() == s.max() else 255 * (denoise(s) + vis / 255)


@NETWORKS.register("gtf")
class GTF(Network):
    """Gradient transfer fusion."""

    learned = False
    about = About(
        paper="Ma, Chen, Li, Huang: Infrared and visible image fusion via gradient transfer and total variation "
        "minimization, Information Fusion",
        year=2016,
    )
    convention = Convention(rounded_input=True)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
