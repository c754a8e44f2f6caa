"""Loops over rows of pixels, compiled by numba: how a CPU passes over features without waiting for its memory.

A row of features is (w, c), contiguous, float32 or bfloat16; NumPy lacks the latter, so it is uint16 here. Only what
enters a matrix product is bfloat16 where that is asked for: products, sums and everything between them are float32.

Everything stands in one file because numba keeps compiled code by the file it is from.
"""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

# NaN stays NaN: only the order of sums and the kind of division are free.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def loop(function: Callable) -> Callable:
    """Compile it when it is first called, for good where there is a folder to keep it in."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:
        return njit(**OPTIONS)(function)


inlined = njit(forceinline=True, **OPTIONS)

f32 = np.float32
HALF, ONE, SIX, ZERO = f32(0.5), f32(1), f32(6), f32(0)

# --- Matrix products ---
# A BLAS library copies both factors into an order of its own, which takes a fifth of the time where they are this
# narrow. These read pixels as they are, and weights that were put in order once.

FEATURES = llvmlite.binding.get_host_cpu_features()
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
USABLE = bool(FEATURES.get("fma")) or platform.machine() in ("aarch64", "arm64")
"""Whether this processor multiplies and adds at once; in software that takes a hundred times as long."""

BFLOAT16 = bool(FEATURES.get("avx512bf16"))
"""Whether this processor multiplies bfloat16."""

ROWS, COLUMNS = (6 if LANES == 8 else 8), 2 * LANES
"""Of the part of a product that is summed in registers: 12 of AVX2's 16, 16 of 32 elsewhere."""

BLOCK = 16
"""Channels of a diagonal block of q^T k: a whole number of heads."""


class BFloat(ir.Type):
    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


def product_in_registers(rows: int, vectors: int, *, parts: int = 1, transposed: bool = False, bfloat16: bool = False):
    """tile(a, starts, stride, i, b, j, out, y, x, n): `rows` by `vectors` * LANES of a product, out[y :, x :] = the sum
    of rows i and following of a's part p times b[p n : p n + n, j :].

    A part of a is n numbers to a row from starts[p] of the flat array on, rows `stride` apart; transposed, rows are
    neighbours and the n numbers `stride` apart. bfloat16: a is uint16, b uint32 of two rows each (see `factor`).
    """
    index, word, f = ir.IntType(64), ir.IntType(32), ir.FloatType()
    number = word if bfloat16 else f
    vector, sums = ir.VectorType(number, LANES), ir.VectorType(f, LANES)
    pairs = ir.VectorType(BFloat(), 2 * LANES)
    unknown, everywhere = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(word, LANES), [0] * LANES)

    def multiply_add(builder, a, b, total):
        if bfloat16:
            name, kinds = "llvm.x86.avx512bf16.dpbf16ps.512", (sums, pairs, pairs)
            factors = (total, builder.bitcast(a, pairs), builder.bitcast(b, pairs))
        else:
            name, kinds, factors = f"llvm.fma.v{LANES}f32", (sums, sums, sums), (a, b, total)
        return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(sums, kinds), name), factors)

    def generate(context, builder, signature, args):
        a, b, out = (context.make_array(signature.args[n])(context, builder, args[n]) for n in (0, 4, 6))
        starts, stride, i, (j, y, x, n) = cgutils.unpack_tuple(builder, args[1]), args[2], args[3], (args[5], *args[7:])
        if bfloat16:  # two numbers are one word
            *starts, stride, n = (builder.lshr(v, ir.Constant(index, 1)) for v in (*starts, stride, n))

        def at(array, kind, *offsets):
            there = builder.bitcast(array.data, kind.as_pointer())
            for offset in offsets:
                there = builder.gep(there, [offset if isinstance(offset, ir.Value) else ir.Constant(index, offset)])
            return there

        def vector_at(array, kind, *offsets):
            return builder.bitcast(at(array, kind.element, *offsets), kind.as_pointer())

        totals = [[cgutils.alloca_once(builder, sums) for _ in range(vectors)] for _ in range(rows)]
        for total in itertools.chain.from_iterable(totals):
            builder.store(ir.Constant(sums, [0.0] * LANES), total)
        width = builder.extract_value(b.shape, 1)
        for part, start in enumerate(starts):
            lines = [builder.add(i, ir.Constant(index, r)) for r in range(rows)]
            first = [builder.add(start, line if transposed else builder.mul(line, stride)) for line in lines]
            b_start = builder.add(j, builder.mul(width, builder.mul(n, ir.Constant(index, part))))
            with cgutils.for_range(builder, n, intp=index) as step:
                b_row = builder.mul(step.index, width)
                right = [builder.load(vector_at(b, vector, b_start, b_row, v * LANES), align=4) for v in range(vectors)]
                k = builder.mul(step.index, stride) if transposed else step.index
                for r in range(rows):
                    left = builder.insert_element(unknown, builder.load(at(a, number, first[r], k), align=4), word(0))
                    left = builder.shuffle_vector(left, unknown, everywhere)
                    for total, factor in zip(totals[r], right, strict=True):
                        builder.store(multiply_add(builder, left, factor, builder.load(total)), total)
        out_width = builder.extract_value(out.shape, 1)
        for r in range(rows):
            row = builder.mul(builder.add(y, ir.Constant(index, r)), out_width)
            for v in range(vectors):
                builder.store(builder.load(totals[r][v]), vector_at(out, sums, row, x, v * LANES), align=4)
        return context.get_dummy_value()

    @intrinsic
    def tile(typing, a, starts, stride, i, b, j, out, y, x, n):
        n_ = types.intp
        return types.void(a, types.UniTuple(n_, parts), n_, n_, b, n_, out, n_, n_, n_), generate

    return tile


exact, exact_taps = (product_in_registers(ROWS, 2, parts=n) for n in (1, 3))
narrow, narrow_taps = (product_in_registers(ROWS, 2, parts=n, bfloat16=True) for n in (1, 3))
exact_row, exact_taps_row = (product_in_registers(1, 2, parts=n) for n in (1, 3))
narrow_row, narrow_taps_row = (product_in_registers(1, 2, parts=n, bfloat16=True) for n in (1, 3))
block = product_in_registers(4, BLOCK // LANES, transposed=True)


def tile(a, starts, stride, i, b, j, out, n):
    """ROWS by COLUMNS of a product: out[i :, j :]."""


def tile_row(a, starts, stride, i, b, j, out, n):
    """1 by COLUMNS of it."""


@overload(tile)
def _(a, starts, stride, i, b, j, out, n):
    chosen = ((exact, exact_taps), (narrow, narrow_taps))[a.dtype == types.uint16][len(starts) == 3]
    return lambda a, starts, stride, i, b, j, out, n: chosen(a, starts, stride, i, b, j, out, i, j, n)


@overload(tile_row)
def _(a, starts, stride, i, b, j, out, n):
    chosen = ((exact_row, exact_taps_row), (narrow_row, narrow_taps_row))[a.dtype == types.uint16][len(starts) == 3]
    return lambda a, starts, stride, i, b, j, out, n: chosen(a, starts, stride, i, b, j, out, i, j, n)


@loop
def multiply(a, starts, stride, b, out, n):
    """out (w, m) float32 = the sum of a's parts, w rows of n numbers, times b, m a multiple of COLUMNS."""
    w, m = out.shape
    if w < ROWS:
        for i in range(w):
            for j in range(0, m, COLUMNS):
                tile_row(a, starts, stride, i, b, j, out, n)
        return
    for t in range((w + ROWS - 1) // ROWS):
        i = min(t * ROWS, w - ROWS)  # the last rows once more, if need be
        for j in range(0, m, COLUMNS):
            tile(a, starts, stride, i, b, j, out, n)


@loop
def dot(a, b, out):
    """out (w, m) = a (w, n) b (n, m); see `factor` for bfloat16's b."""
    multiply(a, (0,), a.shape[1], b, out, a.shape[1])


@loop
def convolve(ring, r, kernel, out):
    """Row r of a full 3x3 convolution of a ring (3, w + 2, c): out (w, m); kernel (9 c, m) as `dot`'s b.

    The three pixels of a row that meet the kernel are neighbours in memory: nothing need be copied.
    """
    c = ring.shape[2]
    line = ring.shape[1] * c
    multiply(ring, ((r - 1) % 3 * line, r % 3 * line, (r + 1) % 3 * line), c, kernel, out, 3 * c)


def factor(matrix: np.ndarray, bfloat16: bool) -> np.ndarray:
    """A float32 matrix (k, n) as `dot` takes it; as bfloat16, two rows are one of pairs: (k / 2, n) uint32."""
    if not bfloat16:
        return matrix
    k, n = matrix.shape
    return np.ascontiguousarray(rounded(matrix).reshape(k // 2, 2, n).transpose(0, 2, 1)).view(np.uint32)[..., 0]


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 -> the nearest bfloat16, as uint16."""
    out = np.empty(x.shape, np.uint16)
    convert(x.reshape(-1, x.shape[-1]), out.reshape(-1, x.shape[-1]))
    return out


# --- Numbers of either type ---


@intrinsic
def bfloat16(typing, value):
    """The nearest bfloat16 of a float32, as uint16."""

    def generate(context, builder, signature, args):
        return builder.bitcast(builder.fptrunc(args[0], BFloat()), ir.IntType(16))

    return types.uint16(types.float32), generate


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


# --- Rows ---
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


# --- CDDFuse: bands of rows [a, b) of maps (n, h, w, c), each with what its neighbours had above and below it ---
# A `..._row` takes in row r of a map and gives row r - 1; `rooms` is what it needs to remember and to work in.


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
def expand(x, weight, ring, r):
    """Write the product to row r of a ring, between its two columns of border."""
    dot(x, weight, ring[r % 3, 1 : len(x) + 1])


@loop
def clear(ring, r):
    """Rows outside of the picture."""
    out = ring[r % 3]
    w, c = out.shape
    for i in range(w):
        for k in range(c):
            put(out, i, k, ZERO)


CHUNK = 512
"""Pixels that are summed in float32; such sums are added up in float64."""


@loop
def gather(q, k, sums, blocks, squares):
    """Add a row's q^T k to blocks (c / BLOCK, BLOCK, BLOCK) and its squares to squares (2, c), both float64."""
    w, c = q.shape
    for start in range(0, w, CHUNK):
        some_q, some_k = q[start : start + CHUNK], k[start : start + CHUNK]
        for n in range(c // BLOCK):
            for i in range(0, BLOCK, 4):
                block(some_q, (n * BLOCK,), c, i, some_k, n * BLOCK, sums, i, 0, len(some_q))
            for i in range(BLOCK):
                for j in range(BLOCK):
                    blocks[n, i, j] += sums[i, j]
        add_squares(some_q, sums.reshape(-1)[:c], squares[0])
        add_squares(some_k, sums.reshape(-1)[:c], squares[1])


@loop
def add_squares(x, sums, squares):
    w, c = x.shape
    sums[:] = ZERO
    for i in range(w):
        for k in range(c):
            sums[k] += x[i, k] * x[i, k]
    for k in range(c):
        squares[k] += sums[k]


@loop
def sums_depth_wise(x, above, below, a, b, weights):
    """q^T k and squares of these rows, as `gather` says. Weights: of the norm; matrices (2, c, c), kernels
    (2, 3, 3, c)."""
    weight, bias, eps, matrix, local = weights
    _, h, w, c = x.shape
    rings, normed, given = np.zeros((2, 3, w + 2, c), f32), np.empty((w, c), f32), operand(w, c, matrix)
    q, k, sums = np.empty((w, c), f32), np.empty((w, c), f32), np.empty((BLOCK, BLOCK), f32)
    blocks, squares = np.zeros((c // BLOCK, BLOCK, BLOCK), np.float64), np.zeros((2, c), np.float64)
    for r in range(a - 1, b + 1):
        if 0 <= r < h:
            norm(row(x[0], above[0], below[0], a, b, r), weight, bias, eps, normed)
            factor_row = narrowed(normed, given)
            expand(factor_row, matrix[0], rings[0], r)
            expand(factor_row, matrix[1], rings[1], r)
        else:
            clear(rings[0], r)
            clear(rings[1], r)
        if r > a:
            depth_wise(rings[0], (r - 2) % 3, (r - 1) % 3, r % 3, local[0], q)
            depth_wise(rings[1], (r - 2) % 3, (r - 1) % 3, r % 3, local[1], k)
            gather(q, k, sums, blocks, squares)
    return blocks, squares


@loop
def sums_full(x, above, below, a, b, weights):
    """The same of full 3x3 convolutions of the normed x: kernels (2, 9 c, c)."""
    weight, bias, eps, kernel = weights
    _, h, w, c = x.shape
    ring = operand(3 * (w + 2), c, kernel).reshape((3, w + 2, c))
    ring[:] = 0
    q, k, sums = np.empty((w, c), f32), np.empty((w, c), f32), np.empty((BLOCK, BLOCK), f32)
    blocks, squares = np.zeros((c // BLOCK, BLOCK, BLOCK), np.float64), np.zeros((2, c), np.float64)
    for r in range(a - 1, b + 1):
        if 0 <= r < h:
            norm(row(x[0], above[0], below[0], a, b, r), weight, bias, eps, ring[r % 3, 1 : w + 1])
        else:
            clear(ring, r)
        if r > a:
            convolve(ring, r - 1, kernel[0], q)
            convolve(ring, r - 1, kernel[1], k)
            gather(q, k, sums, blocks, squares)
    return blocks, squares


@loop
def attend_depth_wise(x, above, below, a, b, weights):
    """x += v mixing, in place; v is a depth-wise convolution of the normed x's product with a matrix."""
    weight, bias, eps, matrix, local, mixing = weights
    _, h, w, c = x.shape
    ring, normed, given = np.zeros((3, w + 2, c), f32), np.empty((w, c), f32), operand(w, c, matrix)
    v, mixed = operand(w, c, mixing), np.empty((w, c), f32)
    for r in range(a - 1, b + 1):
        if 0 <= r < h:
            norm(row(x[0], above[0], below[0], a, b, r), weight, bias, eps, normed)
            expand(narrowed(normed, given), matrix, ring, r)
        else:
            clear(ring, r)
        if r > a:
            depth_wise(ring, (r - 2) % 3, (r - 1) % 3, r % 3, local, v)
            dot(v, mixing, mixed)
            add(x[0, r - 1], mixed)


@loop
def attend_full_rooms(w, c, weights):
    ring = operand(3 * (w + 2), c, weights[3]).reshape((3, w + 2, c))
    ring[:] = 0
    return ring, np.empty((w, c), f32)


@loop
def attend_full_row(x, r, inside, weights, rooms):
    """A full 3x3 convolution of the normed x. Weights: of the norm; kernel (9 c, c)."""
    weight, bias, eps, kernel = weights
    ring, v = rooms
    if inside:
        norm(x, weight, bias, eps, ring[r % 3, 1 : len(x) + 1])
    else:
        clear(ring, r)
    convolve(ring, r - 1, kernel, v)
    return v


@loop
def attend_full(x, above, below, a, b, weights):
    """x += what `attend_full_row` gives, in place."""
    _, h, w, c = x.shape
    rooms = attend_full_rooms(w, c, weights)
    for r in range(a - 1, b + 1):
        v = attend_full_row(row(x[0], above[0], below[0], a, b, r), r, 0 <= r < h, weights, rooms)
        if r > a:
            add(x[0, r - 1], v)


@loop
def feed_forward_rooms(w, c, weights):
    gate, project = weights[3], weights[7]
    n, hidden = len(gate), gate.shape[2]
    gates, values = np.zeros((n, 3, w + 2, hidden), f32), np.zeros((n, 3, w + 2, hidden), f32)
    passed, carried = np.empty((n, w, hidden), f32), np.empty((n, w, hidden), f32)
    normed, given = np.empty((w, c), f32), operand(w, c, gate)
    return gates, values, passed, carried, normed, given, operand(w, n * hidden, project), np.empty((w, c), f32)


@loop
def feed_forward_row(x, r, inside, weights, rooms):
    """gated(norm(x)) project. Weights: of the norm; of n channels of a group, matrices (n, c, hidden) and kernels
    (n, n, 3, 3, hidden) of gate and value; the last matrix."""
    weight, bias, eps, gate, value, local_gate, local_value, project = weights
    gates, values, passed, carried, normed, given, hiddens, added = rooms
    if inside:
        norm(x, weight, bias, eps, normed)
    factor_row = narrowed(normed, given)
    for i in range(len(gates)):
        if inside:
            expand(factor_row, gate[i], gates[i], r)
            expand(factor_row, value[i], values[i], r)
        else:
            clear(gates[i], r)
            clear(values[i], r)
    top, middle, bottom = (r - 2) % 3, (r - 1) % 3, r % 3
    if len(gates) == 1:
        gated(gates[0], values[0], top, middle, bottom, local_gate[0, 0], local_value[0, 0], hiddens)
    else:
        for i in range(2):
            kernel, out = local_gate[i], passed[i]
            depth_wise_both(gates[0], gates[1], top, middle, bottom, kernel[0], kernel[1], out)
            kernel, out = local_value[i], carried[i]
            depth_wise_both(values[0], values[1], top, middle, bottom, kernel[0], kernel[1], out)
        gate_pairs(passed, carried, hiddens.reshape((2 * len(x), -1)))
    dot(hiddens, project, added)
    return added


@loop
def feed_forward(x, above, below, a, b, weights):
    """x += what `feed_forward_row` gives, in place."""
    _, h, w, c = x.shape
    rooms = feed_forward_rooms(w, c, weights)
    for r in range(a - 1, b + 1):
        added = feed_forward_row(row(x[0], above[0], below[0], a, b, r), r, 0 <= r < h, weights, rooms)
        if r > a:
            add(x[0, r - 1], added)


@loop
def expand_relu6(x, given, weight, ring, r):
    """As `expand`, then clamped, on a border that reflects; given: room for x as a factor."""
    w = len(x)
    out = ring[r % 3]
    dot(narrowed(x, given), weight, out[1 : w + 1])
    for i in range(1, w + 1):
        for k in range(out.shape[1]):
            out[i, k] = relu6(out[i, k])
    for k in range(out.shape[1]):
        out[0, k], out[w + 1, k] = out[2, k], out[w - 1, k]


@loop
def inverted_residual(ring, r, h, local, project, hiddens, out):
    """The rest of it, for row r of h."""
    top, bottom = (r - 1 if r > 0 else 1), (r + 1 if r < h - 1 else h - 2)
    depth_wise_relu6(ring, top % 3, r % 3, bottom % 3, local, hiddens)
    dot(hiddens, project, out)


@loop
def couple(z1, rho, eta, z2, out):
    """out (w, 2, c) = (z1 exp(rho) + eta, z2)"""
    w, c = z1.shape
    for i in range(w):
        for k in range(c):
            out[i, 0, k] = z1[i, k] * exp(rho[i, k]) + eta[i, k]
        for k in range(c):
            out[i, 1, k] = z2[i, k]


@loop
def coupling_rooms(w, c, weights):
    _, bias, expands, _, projects = weights
    n, half = len(bias), c // 2
    z, rings = np.empty((n, 2, 3, w, half), f32), np.empty((n, 3, 3, w + 2, c), f32)
    given, hiddens = operand(w, half, expands), operand(w, c, projects)
    return z, rings, given, hiddens, np.empty((w, half), f32), np.empty((w, half), f32), np.empty((w, c), f32)


@loop
def coupling_row(x, r, a, b, h, weights, rooms):
    """Take in row r of what the first of n layers one after the other is given; give the last one's row r - 2 n. Right
    for rows [a, b) where it was given all rows of them, and 2 n more on both sides as far as there are any of h.

    Weights: matrices (2 n, c, c / 2) and bias (n, 2, c / 2) of both halves of z; of phi, rho and eta, matrices
    (3 n, c / 2, c), kernels (n, 3, 3, 3, c), matrices (3 n, c, c / 2).
    """
    mix, bias, expands, locals_, projects = weights
    z, rings, given, hiddens, rho, eta, done = rooms
    n, half = len(bias), z.shape[4]
    for layer in range(n):
        # What it takes in and can give: everything where the picture ends, else one row less each time.
        reach = 2 * (n - layer)
        low, high = a - reach, b + reach
        z1, z2, phi = z[layer, 0], z[layer, 1], 3 * layer
        if max(0, low) <= r < min(h, high):
            if layer == 0:
                convert(x, done)
            dot(done, mix[2 * layer], z1[r % 3])
            dot(done, mix[2 * layer + 1], z2[r % 3])
            add_bias(z1[r % 3], bias[layer, 0])
            add_bias(z2[r % 3], bias[layer, 1])
            expand_relu6(z1[r % 3], given, expands[phi], rings[layer, 0], r)
        r -= 1
        if max(0, low + 1) <= r < min(h, high - 1):
            inverted_residual(rings[layer, 0], r, h, locals_[layer, 0], projects[phi], hiddens, rho)
            add(z2[r % 3], rho)
            expand_relu6(z2[r % 3], given, expands[phi + 1], rings[layer, 1], r)
            expand_relu6(z2[r % 3], given, expands[phi + 2], rings[layer, 2], r)
        r -= 1
        if max(0, low + 2) <= r < min(h, high - 2):
            inverted_residual(rings[layer, 1], r, h, locals_[layer, 1], projects[phi + 1], hiddens, rho)
            inverted_residual(rings[layer, 2], r, h, locals_[layer, 2], projects[phi + 2], hiddens, eta)
            couple(z1[r % 3], rho, eta, z2[r % 3], done.reshape((len(rho), 2, half)))
    return done


@loop
def coupling_layers(x, above, below, a, b, weights):
    """x = what `coupling_row` gives, in place."""
    _, h, w, c = x.shape
    rooms, reach = coupling_rooms(w, c, weights), 2 * len(weights[1])
    for r in range(max(0, a - reach), b + reach):
        done = coupling_row(row(x[0], above[0], below[0], a, b, r), r, a, b, h, weights, rooms)
        if r - reach >= a:
            convert(done, x[0, r - reach])


@loop
def encode(x, above, below, a, b, attend, attend_too, feed, layers):
    """Two maps of shared features -> the sum of their base features and the sum of their detail features, in place.

    attend, attend_too: weights of either map's `attend_full_row`; feed: of `feed_forward_row`; layers: of
    `coupling_row`.
    """
    _, h, w, c = x.shape
    reach = 2 * len(layers[1])
    attends = (attend_full_rooms(w, c, attend), attend_full_rooms(w, c, attend))
    feeds = (feed_forward_rooms(w, c, feed), feed_forward_rooms(w, c, feed))
    couples = (coupling_rooms(w, c, layers), coupling_rooms(w, c, layers))
    attended, base, detail = np.empty((2, 3, w, c), f32), np.empty((w, c), f32), np.empty((w, c), f32)
    for r in range(max(a - reach, -1), b + reach):
        base_row, detail_row = r - 2, r - reach
        for i in range(2):
            given = row(x[i], above[i], below[i], a, b, r)
            done = coupling_row(given, r, a, b, h, layers, couples[i])
            if a <= detail_row:
                sum_up(detail, done, i)
            if a - 2 <= r < b + 2:
                v = attend_full_row(given, r, 0 <= r < h, attend if i == 0 else attend_too, attends[i])
                out = attended[i, (r - 1) % 3]
                convert(row(x[i], above[i], below[i], a, b, r - 1), out)
                add(out, v)
                added = feed_forward_row(out, r - 1, 0 <= r - 1 < h, feed, feeds[i])
                add(added, attended[i, base_row % 3])
                sum_up(base, added, i)
        if a <= base_row < b:
            convert(base, x[0, base_row])
        if a <= detail_row:
            convert(detail, x[1, detail_row])


@loop
def reduce(x, above, below, a, b, weights):
    """The first map = the first times one matrix plus the second times another, in place."""
    one, two = weights
    w, c = x.shape[2:]
    given, product, total = np.empty((w, c), f32), np.empty((w, c), f32), np.empty((w, c), f32)
    for r in range(a, b):
        convert(x[0, r], given)
        dot(given, one, total)
        convert(x[1, r], given)
        dot(given, two, product)
        add(total, product)
        convert(total, x[0, r])


@loop
def sum_up(total, x, i):
    """total = x, the first time, then += x"""
    if i == 0:
        convert(x, total)
    else:
        add(total, x)
