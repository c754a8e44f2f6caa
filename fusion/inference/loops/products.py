"""Products of rows of pixels with matrices, and full 3x3 convolutions as such ones."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from fusion.inference.loops.compiler import LANES, loop
from fusion.inference.loops.registers import product_in_registers
from fusion.inference.loops.rows import convert

ROWS, COLUMNS = (6 if LANES == 8 else 8), 2 * LANES
"""Of the part of a product that is summed in registers: 12 of AVX2's 16, 16 of 32 elsewhere."""


def tile_of(rows: int, vectors: int):
    """tile(a, starts, stride, i, b, j, out, n): `rows` by `vectors` * LANES of a product, out[i :, j :]."""
    kinds = {
        (bfloat16, parts): product_in_registers(rows, vectors, parts=parts, bfloat16=bfloat16)
        for bfloat16 in (False, True)
        for parts in (1, 3)
    }

    def tile(a, starts, stride, i, b, j, out, n):
        raise NotImplementedError("compiled code only")

    @overload(tile)
    def _(a, starts, stride, i, b, j, out, n):
        chosen = kinds[a.dtype == types.uint16, len(starts)]
        return lambda a, starts, stride, i, b, j, out, n: chosen(a, starts, stride, i, b, j, out, i, j, n)

    return tile


tile, slim = tile_of(ROWS, 2), tile_of(ROWS, 1)
tile_row, slim_row = tile_of(1, 2), tile_of(1, 1)


@loop
def multiply(a, starts, stride, b, out, n):
    """out (w, m) float32 = the sum of a's parts, w rows of n numbers, times b, m a multiple of LANES."""
    w, m = out.shape
    wide = m - m % COLUMNS
    if w < ROWS:
        for i in range(w):
            for j in range(0, wide, COLUMNS):
                tile_row(a, starts, stride, i, b, j, out, n)
            if wide < m:
                slim_row(a, starts, stride, i, b, wide, out, n)
        return
    for t in range((w + ROWS - 1) // ROWS):
        i = min(t * ROWS, w - ROWS)  # the last rows once more, if need be
        for j in range(0, wide, COLUMNS):
            tile(a, starts, stride, i, b, j, out, n)
        if wide < m:
            slim(a, starts, stride, i, b, wide, out, n)


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
