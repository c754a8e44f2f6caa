"""Full 3x3 convolutions of rows of pixels with two thirds or half of the products: Winograd's F(2, 3) and F(4, 3).

m neighbouring results of three taps come from m + 2 products instead of 3 m (Winograd 1980; Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", CVPR 2016), with small matrices for pixels, taps and results:

    y = results [(taps g) * (pixels d)]

That is done along each row; the three rows of a kernel and the channels are added up before `results`. Rounding of
float32 is 0.7 times that of the plain sum with m = 2, where fewer numbers are added up one after the other, and 1.3
times with m = 4. In two dimensions there would be fewer products yet, but six times the rounding.

A ring of three rows is (3, row / m, channels / GROUP, m + 2, GROUP): each sum of pixels is made once for three rows of
results. In bfloat16 it is these sums that are rounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fusion.inference.loops.compiler import LANES, ZERO, f32, inlined, loop
from fusion.inference.loops.products import factor
from fusion.inference.loops.registers import FLOAT, INDEX, SUMS, BFloat, Factors, at, index, totals


class Scheme(NamedTuple):
    """tiles: of results that are summed in registers at once, 8 to 12 of AVX2's 16, 24 of 32 elsewhere."""

    pixels: np.ndarray
    taps: np.ndarray
    results: np.ndarray
    tiles: int


TWO = Scheme(  # polynomials at 0, 1, -1 and infinity
    pixels=np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    taps=np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    results=np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    tiles=2 if LANES == 8 else 6,
)
FOUR = Scheme(  # at 0, +-3/4, +-3/2 and infinity, which round less than the usual whole numbers
    pixels=np.array(
        [
            [81 / 64, 0, -45 / 16, 0, 1, 0],
            [0, 27 / 16, 9 / 4, -3 / 4, -1, 0],
            [0, -27 / 16, 9 / 4, 3 / 4, -1, 0],
            [0, -27 / 32, -9 / 16, 3 / 2, 1, 0],
            [0, 27 / 32, -9 / 16, -3 / 2, 1, 0],
            [0, 81 / 64, 0, -45 / 16, 0, 1],
        ]
    ),
    taps=np.array(
        [
            [64 / 81, 0, 0],
            [128 / 243, 32 / 81, 8 / 27],
            [128 / 243, -32 / 81, 8 / 27],
            [32 / 243, 16 / 81, 8 / 27],
            [32 / 243, -16 / 81, 8 / 27],
            [0, 0, 1],
        ]
    ),
    results=np.array(
        [
            [1, 1, 1, 1, 1, 0],
            [0, 3 / 4, -3 / 4, 3 / 2, -3 / 2, 0],
            [0, 9 / 16, 9 / 16, 9 / 4, 9 / 4, 0],
            [0, 27 / 64, -27 / 64, 27 / 8, -27 / 8, 1],
        ]
    ),
    tiles=2 if LANES == 8 else 4,
)

GROUP = 8
"""Channels whose sums stand together: offsets that a compiler knows need no registers."""

UNROLL = 4
"""Channels or pairs of them between two jumps."""


# --- Weights ---


def layer(
    weight: np.ndarray, bias: np.ndarray | None, slope: float, scheme: Scheme = TWO, bfloat16: bool = False
) -> tuple:
    """(o, c, 3, 3) and (o) as `convolve` takes them: kernel, bias, slope.

    o is filled up with zeros to whole vectors. slope: of results below 0, as in a leaky ReLU; 1 leaves them alone.
    """
    o, c = weight.shape[:2]
    m = whole(o)
    wide = np.zeros((m, c, 3, 3))
    wide[:o] = weight
    points = np.einsum("pt,oiyt->yipo", scheme.taps, wide)
    n = points.shape[2]
    kernel = factor(points.reshape(3 * c, n * m).astype(f32), bfloat16).reshape(-1, n, m // LANES, LANES)
    bias = np.pad(np.zeros(o) if bias is None else bias, (0, m - o)).astype(f32)
    return np.ascontiguousarray(kernel.transpose(2, 0, 1, 3)), bias, np.full(m, slope, f32)


def whole(c: int) -> int:
    """Channels of a row with room for c: whole vectors."""
    return -(-c // LANES) * LANES


# --- Rows in ---


def ring_for(layer, w, c):
    """An empty ring for c channels, a multiple of GROUP, of what that layer convolves."""


@overload(ring_for)
def _(layer, w, c):
    dtype = np.uint16 if layer[0].dtype == types.uint32 else f32

    def empty(layer, w, c):
        n = layer[0].shape[2]
        return np.zeros((3, -(-w // (n - 2)), c // GROUP, n, GROUP), dtype)

    return empty


def summing(scheme: Scheme):
    """sum_pixels(x, start, stride, out, place): a scheme's sums of GROUP channels of pixels `stride` apart in flat x,
    to flat out."""

    def generate(context, builder, signature, args):
        x, out = (context.make_array(signature.args[n])(context, builder, args[n]) for n in (0, 3))
        start, stride, place = args[1], args[2], args[4]
        kind = ir.VectorType(FLOAT, GROUP)
        places = [at(builder, x, kind, start, builder.mul(stride, index(n))) for n in range(len(scheme.pixels))]
        pixels = [builder.load(place, align=4) for place in places]
        for n, row in enumerate(scheme.pixels):
            total = weighted_sum(builder, row, pixels, kind)
            if signature.args[3].dtype == types.uint16:
                total = builder.fptrunc(total, ir.VectorType(BFloat(), GROUP))
            builder.store(total, at(builder, out, total.type, place, n * GROUP), align=2)
        return context.get_dummy_value()

    @intrinsic
    def sum_pixels(typing, x, start, stride, out, place):
        return types.void(x, types.intp, types.intp, out, types.intp), generate

    return sum_pixels


sum_two, sum_four = summing(TWO), summing(FOUR)


@inlined
def sum_pixels(n, x, start, stride, out, place):
    """By the scheme with n points."""
    if n == 4:
        sum_two(x, start, stride, out, place)
    else:
        sum_four(x, start, stride, out, place)


def weighted_sum(builder, weights: np.ndarray, values: list, kind: ir.VectorType) -> ir.Value:
    """The sum of vectors times numbers, of which 0 costs nothing and 1 and -1 no product."""
    total = None
    for weight, value in zip(weights, values, strict=True):
        if weight and abs(weight) != 1:
            value = builder.fmul(value, ir.Constant(kind, [abs(float(weight))] * kind.count), flags=("contract",))
        if weight and total is None:
            total = value if weight > 0 else builder.fneg(value)
        elif weight:
            total = (builder.fadd if weight > 0 else builder.fsub)(total, value, flags=("contract",))
    return total


@loop
def enter(x, w, ring, r, h, first=0):
    """Put w pixels of x, row r of h, into the ring; nothing but zeros where there is no such row.

    first: the group at which x's channels begin in the ring. x may have more channels than there is room for.
    """
    _, tiles, groups, n, _ = ring.shape
    m, c = n - 2, x.shape[1]
    size, groups = groups * n * GROUP, min(groups - first, c // GROUP)
    out = ring[r % 3]
    if r < 0 or r >= h:
        out[:, first : first + groups] = 0
        return
    flat, row = out.reshape(-1), x.reshape(-1)
    inner = max(1, (w - 1) // m)  # the tiles [1, inner) have pixels on both sides
    for t in range(1, inner):
        for g in range(groups):
            sum_pixels(n, row, (m * t - 1) * c + g * GROUP, c, flat, t * size + (first + g) * n * GROUP)
    enter_edge(x, w, out, 0, first, groups)
    for t in range(inner, tiles):
        enter_edge(x, w, out, t, first, groups)


@loop
def enter_edge(x, w, out, t, first, groups):
    """Tile t, with zeros left and right of the picture."""
    n = out.shape[2]
    start, size = (n - 2) * t - 1, out.shape[1] * n * GROUP
    pixels = np.zeros((n, GROUP), f32)
    for g in range(groups):
        for i in range(n):
            for k in range(GROUP):
                pixels[i, k] = x[start + i, g * GROUP + k] if 0 <= start + i < w else ZERO
        sum_pixels(n, pixels.reshape(-1), 0, GROUP, out.reshape(-1), t * size + (first + g) * n * GROUP)


# --- Rows out ---


def tiles_of(scheme: Scheme, tiles: int):
    """results(ring, starts, i, kernel, bias, slope, j, out, n): those of tiles i and following of a row, their channels
    from LANES j on. starts: of the three rows in the flat ring; n: its channels."""

    def generate(context, builder, signature, args):
        ring, b, bias, slope, out = (
            context.make_array(signature.args[n])(context, builder, args[n]) for n in (0, 3, 4, 5, 7)
        )
        starts, i, j, n = cgutils.unpack_tuple(builder, args[1]), args[2], args[6], args[8]
        results, points = scheme.results.shape
        factors, group = Factors(signature.args[0].dtype == types.uint16), GROUP
        if factors.bfloat16:  # two numbers are one word
            *starts, n = (builder.lshr(v, index(1)) for v in (*starts, n))
            group //= 2
        sums, column = totals(builder, tiles, points), builder.mul(j, index(LANES))
        b_row = builder.mul(j, builder.mul(n, index(3)))
        for part, start in enumerate(starts):
            with cgutils.for_range(builder, builder.udiv(n, index(group)), intp=INDEX) as outer:
                first = builder.mul(outer.index, index(group))
                lines = [builder.mul(builder.add(i, index(t)), n) for t in range(tiles)]
                lines = [builder.add(start, builder.mul(builder.add(line, first), index(points))) for line in lines]
                b_first = builder.add(b_row, builder.add(builder.mul(n, index(part)), first))
                with cgutils.for_range(builder, index(group // UNROLL), intp=INDEX) as inner:
                    for step in range(UNROLL):
                        k = builder.add(builder.mul(inner.index, index(UNROLL)), index(step))
                        b_start = builder.mul(builder.add(b_first, k), index(points * LANES))
                        places = [at(builder, b, factors.vector, b_start, p * LANES) for p in range(points)]
                        right = [builder.load(place, align=4) for place in places]
                        for line, row in zip(lines, sums, strict=True):
                            for p in range(points):
                                left = factors.one(builder, at(builder, ring, factors.number, line, k, p * group))
                                factors.multiply_add(builder, left, right[p], row[p])
        width = builder.extract_value(out.shape, 1)
        bias, slope = (builder.load(at(builder, v, SUMS, column), align=4) for v in (bias, slope))
        for t, row in enumerate(sums):
            products = [builder.load(total) for total in row]
            for y, weights in enumerate(scheme.results):
                result = builder.fadd(weighted_sum(builder, weights, products, SUMS), bias)
                below = builder.fmul(result, slope)
                result = builder.select(builder.fcmp_ordered(">", result, below), result, below)
                place = builder.add(builder.mul(builder.add(i, index(t)), index(results)), index(y))
                builder.store(result, at(builder, out, SUMS, builder.mul(place, width), column), align=4)
        return context.get_dummy_value()

    @intrinsic
    def results(typing, ring, starts, i, kernel, bias, slope, j, out, n):
        n_ = types.intp
        return types.void(ring, types.UniTuple(n_, 3), n_, kernel, bias, slope, n_, out, n_), generate

    return results


many_of_two, one_of_two = tiles_of(TWO, TWO.tiles), tiles_of(TWO, 1)
many_of_four, one_of_four = tiles_of(FOUR, FOUR.tiles), tiles_of(FOUR, 1)
MANY_OF_TWO, MANY_OF_FOUR = TWO.tiles, FOUR.tiles


@loop
def convolve(ring, r, layer, out):
    """Row r of the convolution of a ring's rows r - 1, r and r + 1: out as `row_for` makes it."""
    kernel, bias, slope = layer
    _, tiles, groups, points, _ = ring.shape
    n, many = groups * GROUP, MANY_OF_TWO if points == 4 else MANY_OF_FOUR
    line = tiles * n * points
    starts = ((r - 1) % 3 * line, r % 3 * line, (r + 1) % 3 * line)
    if tiles < many:
        for i in range(tiles):
            for j in range(len(kernel)):
                if points == 4:
                    one_of_two(ring, starts, i, kernel, bias, slope, j, out, n)
                else:
                    one_of_four(ring, starts, i, kernel, bias, slope, j, out, n)
        return
    for t in range(-(-tiles // many)):
        i = min(t * many, tiles - many)  # the last tiles once more, if need be
        for j in range(len(kernel)):
            if points == 4:
                many_of_two(ring, starts, i, kernel, bias, slope, j, out, n)
            else:
                many_of_four(ring, starts, i, kernel, bias, slope, j, out, n)


MOST = 4
"""Results of a tile."""


@loop
def row_for(w, m):
    """An empty row of m channels for `convolve`: w pixels, filled up to a whole tile."""
    return np.zeros((-(-w // MOST) * MOST, m), f32)
