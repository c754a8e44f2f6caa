"""Numbers of either type, and functions of one number."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from fusion.inference.loops.compiler import HALF, ONE, SIX, ZERO, f32, inlined
from fusion.inference.loops.registers import BFloat

# --- Numbers of either type ---


@intrinsic
def bfloat16(typing, value):
    """The nearest bfloat16 of a float32, as uint16."""

    def generate(context, builder, signature, args):
        return builder.bitcast(builder.fptrunc(args[0], BFloat()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def fma(typing, a, b, c):
    """a b + c, rounded once."""

    def generate(context, builder, signature, args):
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), generate


def get(x, i, k):
    """x[i, k] as float32."""


def put(x, i, k, value):
    """x[i, k] = a float32 value."""


def operand(w, c, matrix):
    """An empty (w, c) array that `dot` multiplies with that matrix."""


def narrowed(x, given):
    """Float32 x as a factor: itself, or rounded into `given`."""


@overload(get)
def _(x, i, k):
    if x.dtype == types.uint16:
        return lambda x, i, k: np.uint32(np.uint32(x[i, k]) << np.uint32(16)).view(f32)
    return lambda x, i, k: x[i, k]


@overload(put)
def _(x, i, k, value):
    if x.dtype == types.uint16:

        def put_rounded(x, i, k, value):
            x[i, k] = bfloat16(value)

        return put_rounded

    def put_exactly(x, i, k, value):
        x[i, k] = value

    return put_exactly


@overload(operand)
def _(w, c, matrix):
    if matrix.dtype == types.uint32:
        return lambda w, c, matrix: np.empty((w, c), np.uint16)
    return lambda w, c, matrix: np.empty((w, c), f32)


@overload(narrowed)
def _(x, given):
    if given.dtype == types.float32:
        return lambda x, given: x

    def narrow(x, given):
        # As one long row: with as few as 64 numbers to a row this takes three times as long.
        flat, out = x.reshape(-1), given.reshape(-1)
        for i in range(len(flat)):
            out[i] = bfloat16(flat[i])
        return given

    return narrow


# --- Functions of one number ---

# z P(z^2) / Q(z^2), our fit to erf by reweighted least squares: 2e-8 off at most up to EDGE, where erf is 1 - 3e-8.
EDGE, ROOT_HALF = f32(3.925), f32(0.5**0.5)
P0, P1, P2 = f32(1.12837902e00), f32(1.92972503e-01), f32(5.30843434e-02)
P3, P4, P5 = f32(3.87632674e-03), f32(2.87492420e-04), f32(2.03087102e-06)
Q1, Q2, Q3 = f32(5.04349066e-01), f32(1.15167437e-01), f32(1.51883516e-02)
Q4, Q5 = f32(1.18975068e-03), f32(3.80314840e-05)


@inlined
def gelu(x):
    z = min(max(x * ROOT_HALF, -EDGE), EDGE)
    q = z * z
    p = ((((P5 * q + P4) * q + P3) * q + P2) * q + P1) * q + P0
    d = ((((Q5 * q + Q4) * q + Q3) * q + Q2) * q + Q1) * q + ONE
    return HALF * x * (ONE + z * p / d)


# exp(x) = 2^k exp(f), |f| <= ln(2) / 2; ln 2 in two parts, so that k times the first is exact (Cody and Waite).
LOG2_E, LN2_HIGH, LN2_LOW = f32(1.44269504), f32(0.693359375), f32(-2.12194440e-4)
LEAST, MOST = f32(-87), f32(88)
E2, E3, E4, E5, E6 = (f32(1 / n) for n in (2, 6, 24, 120, 720))


@inlined
def exp(x):
    x = min(max(x, LEAST), MOST)
    k = np.floor(x * LOG2_E + HALF)
    f = x - k * LN2_HIGH - k * LN2_LOW
    e = (((((E6 * f + E5) * f + E4) * f + E3) * f + E2) * f + ONE) * f + ONE
    return e * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(f32)


@inlined
def relu6(x):
    return min(max(x, ZERO), SIX)
