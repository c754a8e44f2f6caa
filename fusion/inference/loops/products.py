"""Products of rows of pixels with matrices."""

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
    """tile(a, i, b, j, out): `rows` by `vectors` * LANES of a product, out[i :, j :]."""
    exact, narrow = (product_in_registers(rows, vectors, bfloat16=bfloat16) for bfloat16 in (False, True))

    def tile(a, i, b, j, out):
        raise NotImplementedError("compiled code only")

    @overload(tile)
    def _(a, i, b, j, out):
        chosen = narrow if a.dtype == types.uint16 else exact
        return lambda a, i, b, j, out: chosen(a, 0, a.shape[1], i, b, j, out, i, j, a.shape[1])

    return tile


tile, slim = tile_of(ROWS, 2), tile_of(ROWS, 1)
tile_row, slim_row = tile_of(1, 2), tile_of(1, 1)


@loop
def dot(a, b, out):
    """out (w, m) float32 = a (w, n) b (n, m), m a multiple of LANES; see `factor` for bfloat16's b."""
    w, m = out.shape
    wide = m - m % COLUMNS
    if w < ROWS:
        for i in range(w):
            for j in range(0, wide, COLUMNS):
                tile_row(a, i, b, j, out)
            if wide < m:
                slim_row(a, i, b, wide, out)
        return
    for t in range((w + ROWS - 1) // ROWS):
        i = min(t * ROWS, w - ROWS)  # the last rows once more, if need be
        for j in range(0, wide, COLUMNS):
            tile(a, i, b, j, out)
        if wide < m:
            slim(a, i, b, wide, out)


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
