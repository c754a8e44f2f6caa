"""Sums over the pixels of a row, and of a picture."""

from __future__ import annotations

import numpy as np

from fusion.inference.loops.compiler import ZERO, f32, loop

CHUNK = 512
"""Pixels that are summed in float32; such sums are added up in float64."""


@loop
def add_moments(x, moments, rooms):
    """Add the pixels of x (w, c) to moments (3, c): number, mean, squared deviations from the mean (Chan et al.)."""
    w, c = x.shape
    sums, mean, squares = rooms
    for start in range(0, w, CHUNK):
        n = min(CHUNK, w - start)
        sums[:] = ZERO
        squares[:] = ZERO
        for i in range(start + 1, start + n):
            for k in range(c):
                sums[k] += x[i, k] - x[start, k]  # small numbers, where the mean is not
        for k in range(c):
            mean[k] = x[start, k] + sums[k] / f32(n)
        for i in range(start, start + n):
            for k in range(c):
                squares[k] += (x[i, k] - mean[k]) * (x[i, k] - mean[k])
        merge(moments, float(n), mean, squares)


@loop
def merge(moments, n, mean, squares):
    """Add n pixels with that mean."""
    for k in range(len(mean)):
        before, total = moments[0, k], moments[0, k] + n
        away = mean[k] - moments[1, k]
        moments[0, k] = total
        moments[1, k] += away * n / total
        moments[2, k] += squares[k] + away * away * before * n / total


def merged(parts: list[np.ndarray]) -> np.ndarray:
    """Moments of the whole picture from those of its bands."""
    total = np.zeros_like(parts[0])
    for n, mean, squares in parts:
        merge(total, n[0], mean, squares)
    return total


@loop
def moments_for(c):
    return np.zeros((3, c), np.float64), (np.empty(c, f32), np.empty(c, f32), np.empty(c, f32))


@loop
def sum_row(x, total, sums):
    w, c = x.shape
    total[:] = 0
    for start in range(0, w, CHUNK):
        sums[:] = ZERO
        for i in range(start, min(start + CHUNK, w)):
            for k in range(c):
                sums[k] += x[i, k]
        for k in range(c):
            total[k] += sums[k]


@loop
def add_squares(x, sums, squares):
    w, c = x.shape
    sums[:] = ZERO
    for i in range(w):
        for k in range(c):
            sums[k] += x[i, k] * x[i, k]
    for k in range(c):
        squares[k] += sums[k]
