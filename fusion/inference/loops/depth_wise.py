"""3x3 depth-wise convolutions, with what follows them in the same pass. Rows go to a ring of three, (3, w + 2, c)."""

from __future__ import annotations

from fusion.inference.loops.compiler import inlined, loop
from fusion.inference.loops.scalars import gelu, put, relu6


@inlined
def taps(ring, top, middle, bottom, i, k, kernel):
    """A 3x3 depth-wise convolution at columns i and i + 1, which share what they read; channel k. Rows of ring are
    (w + 2, c), kernel (3, 3, c)."""
    t0, t1, t2, t3 = ring[top, i, k], ring[top, i + 1, k], ring[top, i + 2, k], ring[top, i + 3, k]
    m0, m1, m2, m3 = ring[middle, i, k], ring[middle, i + 1, k], ring[middle, i + 2, k], ring[middle, i + 3, k]
    b0, b1, b2, b3 = ring[bottom, i, k], ring[bottom, i + 1, k], ring[bottom, i + 2, k], ring[bottom, i + 3, k]
    kt0, kt1, kt2 = kernel[0, 0, k], kernel[0, 1, k], kernel[0, 2, k]
    km0, km1, km2 = kernel[1, 0, k], kernel[1, 1, k], kernel[1, 2, k]
    kb0, kb1, kb2 = kernel[2, 0, k], kernel[2, 1, k], kernel[2, 2, k]
    left = t0 * kt0 + t1 * kt1 + t2 * kt2 + m0 * km0 + m1 * km1 + m2 * km2 + b0 * kb0 + b1 * kb1 + b2 * kb2
    right = t1 * kt0 + t2 * kt1 + t3 * kt2 + m1 * km0 + m2 * km1 + m3 * km2 + b1 * kb0 + b2 * kb1 + b3 * kb2
    return left, right


@loop
def depth_wise(ring, top, middle, bottom, kernel, out):
    w, c = out.shape
    for pair in range((w + 1) // 2):
        i = min(2 * pair, w - 2)
        for k in range(c):
            left, right = taps(ring, top, middle, bottom, i, k, kernel)
            put(out, i, k, left)
            put(out, i + 1, k, right)


@loop
def depth_wise_relu6(ring, top, middle, bottom, kernel, out):
    w, c = out.shape
    for pair in range((w + 1) // 2):
        i = min(2 * pair, w - 2)
        for k in range(c):
            left, right = taps(ring, top, middle, bottom, i, k, kernel)
            put(out, i, k, relu6(left))
            put(out, i + 1, k, relu6(right))


@loop
def gated(gates, values, top, middle, bottom, gate, value, out):
    """gelu of one depth-wise convolution times another."""
    w, c = out.shape
    for pair in range((w + 1) // 2):
        i = min(2 * pair, w - 2)
        for k in range(c):
            left, right = taps(gates, top, middle, bottom, i, k, gate)
            v_left, v_right = taps(values, top, middle, bottom, i, k, value)
            put(out, i, k, gelu(left) * v_left)
            put(out, i + 1, k, gelu(right) * v_right)


@loop
def depth_wise_both(one, two, top, middle, bottom, kernel_one, kernel_two, out):
    """The sum of two depth-wise convolutions."""
    w, c = out.shape
    for pair in range((w + 1) // 2):
        i = min(2 * pair, w - 2)
        for k in range(c):
            left, right = taps(one, top, middle, bottom, i, k, kernel_one)
            left_too, right_too = taps(two, top, middle, bottom, i, k, kernel_two)
            out[i, k], out[i + 1, k] = left + left_too, right + right_too


@loop
def gate_pairs(gates, values, out):
    """gelu(gates) * values of (2, w, c), first and second channels of pairs, to (2 w, c), a pixel's two together."""
    _, w, c = gates.shape
    for i in range(w):
        for o in range(2):
            for k in range(c):
                put(out, 2 * i + o, k, gelu(gates[o, i, k]) * values[o, i, k])
