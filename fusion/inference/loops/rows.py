"""What is done with rows of pixels, whatever network they are from."""

from __future__ import annotations

import numpy as np

from fusion.inference.loops.compiler import ONE, ZERO, f32, loop
from fusion.inference.loops.scalars import get, put

# Written plainly, they run at the speed of hand-made vector code as long as the innermost loop goes over channels and
# every index in it is a loop variable plus a constant; one more loop around blocks of channels makes them twenty times
# slower.


@loop
def convert(x, out):
    """out = x, of other types."""
    w, c = x.shape
    for i in range(w):
        for k in range(c):
            put(out, i, k, get(x, i, k))


@loop
def add(x, y):
    """x += y"""
    w, c = x.shape
    for i in range(w):
        for k in range(c):
            put(x, i, k, get(x, i, k) + y[i, k])


@loop
def add_bias(x, bias):
    w, c = x.shape
    for i in range(w):
        for k in range(c):
            x[i, k] += bias[k]


@loop
def norm(x, weight, bias, eps, out):
    """Layer norm over the channels of each pixel."""
    w, c = x.shape
    for i in range(w):
        total = ZERO
        for k in range(c):
            total += get(x, i, k)
        mean = total / f32(c)
        squares = ZERO
        for k in range(c):
            squares += (get(x, i, k) - mean) * (get(x, i, k) - mean)
        scale = ONE / np.sqrt(squares / f32(c) + eps)
        for k in range(c):
            put(out, i, k, (get(x, i, k) - mean) * scale * weight[k] + bias[k])


@loop
def row(x, above, below, a, b, r):
    """Row r as it was before any band wrote to x (h, w, c); any other row where the picture has none."""
    if r < 0 or r >= len(x):
        return x[0]
    if r < a:
        return above[len(above) - a + r]
    if r >= b:
        return below[r - b]
    return x[r]


@loop
def clear(ring, r):
    """Rows outside of the picture."""
    out = ring[r % 3]
    w, c = out.shape
    for i in range(w):
        for k in range(c):
            put(out, i, k, ZERO)
