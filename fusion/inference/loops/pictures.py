"""8-bit pictures to luminance in [0, 1] and back, rounded in every step as `fusion/images.py` does it.

OpenCV's conversions are chains of fused multiply-adds (with AVX2; but for the last few pixels of a row, and on other
processors, where a result halfway between two levels may fall to the other one).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fusion.inference.loops.compiler import f32, loop_as_written
from fusion.inference.loops.scalars import fma

ZERO, ONE, HALF, TOP = f32(0), f32(1), f32(0.5), f32(255)
RED, GREEN, BLUE = f32(0.299), f32(0.587), f32(0.114)
TO_CR, TO_CB = f32(0.713), f32(0.564)
CR_TO_RED, CR_TO_GREEN, CB_TO_GREEN, CB_TO_BLUE = f32(1.403), f32(-0.714), f32(-0.344), f32(1.773)


@njit(forceinline=True)
def level(x):
    return np.uint8(np.rint(min(max(x, ZERO), ONE) * TOP))


@loop_as_written
def luminance_of_gray(a, b, picture, out):
    """Rows [a, b) of a uint8 picture (h, w) -> out (h, w) float32 in [0, 1]."""
    for r in range(a, b):
        for i in range(picture.shape[1]):
            out[r, i] = f32(picture[r, i]) / TOP


@loop_as_written
def luminance_of_colour(a, b, picture, out):
    """The same of (h, w, 3) RGB."""
    for r in range(a, b):
        for i in range(picture.shape[1]):
            red, green, blue = f32(picture[r, i, 0]) / TOP, f32(picture[r, i, 1]) / TOP, f32(picture[r, i, 2]) / TOP
            out[r, i] = RED * red + GREEN * green + BLUE * blue


@loop_as_written
def gray(a, b, x, out):
    """Rows [a, b) of x (h, w) -> the nearest of 256 levels."""
    for r in range(a, b):
        for i in range(x.shape[1]):
            out[r, i] = level(x[r, i])


@loop_as_written
def colour(a, b, x, source, out):
    """Rows [a, b): a luminance x (h, w) with the chroma of source (h, w, 3) -> out (h, w, 3); all but x uint8 RGB."""
    for r in range(a, b):
        for i in range(x.shape[1]):
            red, green, blue = f32(source[r, i, 0]) / TOP, f32(source[r, i, 1]) / TOP, f32(source[r, i, 2]) / TOP
            y = fma(red, RED, fma(green, GREEN, blue * BLUE))
            cr, cb = fma(red - y, TO_CR, HALF) - HALF, fma(blue - y, TO_CB, HALF) - HALF
            y = min(max(x[r, i], ZERO), ONE)
            out[r, i, 0] = level(fma(cr, CR_TO_RED, y))
            out[r, i, 1] = level(fma(cr, CR_TO_GREEN, fma(cb, CB_TO_GREEN, y)))
            out[r, i, 2] = level(fma(cb, CB_TO_BLUE, y))


def luminance(picture: np.ndarray):
    """The loop for it."""
    return luminance_of_gray if picture.ndim == 2 else luminance_of_colour
