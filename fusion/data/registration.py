"""How far the two pictures of a pair lie apart, and how sure that is.

The peak of the cross-correlation of two fields of gradient directions (`directions.py`) is the shift. The correlation
is smoothed before its peak is sought, because parallax and lens distortion spread the true peak over several pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

from fusion.data.directions import directions
from fusion.images import luminance

# The peak must stand this many standard deviations above the next one. Measured on MSRS: pictures of two different
# scenes reach 1.35 (573 trials), those of one scene have 3.0 in the median (tests/data/test_registration.py, slow).
SURE = 1.75
WORKING_SIDE = 768  # pixels; longer pictures are reduced first: shifts of noise are not of interest
SCALES = (1.0, 2.0)  # of the gradients, sigma in pixels
SMOOTHING = 3.0  # of the correlation, sigma in pixels


class Shift(NamedTuple):
    """The visible content lies `dy` pixels below and `dx` pixels right of the infrared content.

    margin: the peak's height over the next best one, in standard deviations of the correlation; 0 for no estimate.
    """

    dy: float
    dx: float
    margin: float

    @property
    def pixels(self) -> float:
        return math.hypot(self.dy, self.dx)

    @property
    def sure(self) -> bool:
        return self.margin >= SURE


def estimate_shift(ir: np.ndarray, vis: np.ndarray, reach: int | None = None) -> Shift:
    """The shift between two pictures of one size: (H, W) or (H, W, 3) of any depth.

    reach: the greatest shift that is sought, in pixels; by default a sixth of the shorter side, 48 at most (in a
    picture that is reduced for speed, 48 of the reduced one's). Raises ValueError for two sizes.
    """
    ir, vis = luminance(ir), luminance(vis)
    if ir.shape != vis.shape:
        raise ValueError(f"ir is {ir.shape[0]}x{ir.shape[1]} but vis is {vis.shape[0]}x{vis.shape[1]}: use one size")
    h, w = ir.shape
    step = max(1, round(max(h, w) / WORKING_SIDE))
    if step > 1:
        ir, vis = (cv2.resize(x, (w // step, h // step), interpolation=cv2.INTER_AREA) for x in (ir, vis))
    reach = min(48, min(ir.shape) // 6) if reach is None else min(round(reach / step), min(ir.shape) - 1)
    if reach < 4:
        return Shift(0.0, 0.0, 0.0)  # a picture of a few pixels
    dy, dx, margin = peak(_correlation(ir, vis, reach))
    return Shift(dy * step, dx * step, margin)


def _correlation(ir: np.ndarray, vis: np.ndarray, reach: int) -> np.ndarray:
    """(2 reach + 1, 2 reach + 1) float32: agreement of the directions at shifts -reach..reach, the scales' mean."""
    shape = [fft.next_fast_len(side + reach) for side in ir.shape]  # padded with zeros: nothing wraps around
    shifts = np.arange(-reach, reach + 1)
    total = np.zeros((len(shifts), len(shifts)), np.float32)
    for sigma in SCALES:
        spectrum = np.conj(fft.fft2(directions(ir, sigma), shape)) * fft.fft2(directions(vis, sigma), shape)
        found = fft.ifft2(spectrum).real[np.ix_(shifts, shifts)]
        total += found / (found.std() + 1e-9)
    return cv2.GaussianBlur(total, (0, 0), SMOOTHING)


def peak(surface: np.ndarray) -> tuple[float, float, float]:
    """(dy, dx, margin) of the highest point, to a fraction of a pixel; a point on the rim is no peak: margin 0."""
    reach = len(surface) // 2
    y, x = (int(i) for i in np.unravel_index(surface.argmax(), surface.shape))
    grid = np.arange(2 * reach + 1)
    away = surface[np.hypot(grid[:, None] - y, grid - x) > 4 * SMOOTHING]
    if not (0 < y < 2 * reach and 0 < x < 2 * reach) or not away.size or away.std() == 0:
        return float(y - reach), float(x - reach), 0.0
    margin = float((surface[y, x] - away.max()) / away.std())
    return y - reach + _vertex(surface[y - 1 : y + 2, x]), x - reach + _vertex(surface[y, x - 1 : x + 2]), margin


def _vertex(three: np.ndarray) -> float:
    """Where the parabola through three neighbours, the middle one highest, has its top: -0.5 to 0.5."""
    before, here, after = (float(v) for v in three)
    bend = before - 2 * here + after
    return 0.0 if bend == 0 else min(0.5, max(-0.5, (before - after) / (2 * bend)))
