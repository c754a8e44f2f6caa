"""swift: three kinds of passes over bands of rows, counted in cells, that is in eight rows of the picture.

`begin` arranges both pictures and embeds cells, `around` is one dilated convolution of the coarse scale, and `fine` is
all that follows: its convolutions go row by row through rings that fit the cache, and what they say is mixed and
written while it is there. `luminance` and `colour` are what comes before and after with 8-bit pictures.

Half a picture is (h, w, 8): the four pixels of a square of the infrared picture, then of the visible one. The picture
is filled up to whole cells by its last row and column.
"""

from __future__ import annotations

import numpy as np

from fusion.inference.loops.compiler import ONE, ZERO, f32, inlined, loop
from fusion.inference.loops.products import dot
from fusion.inference.loops.scalars import exp
from fusion.inference.loops.sums import add_moments, moments_for
from fusion.inference.loops.winograd import convolve, enter, ring_for, row_for

CELL, QUARTER = 4, f32(0.25)
"""Half-size pixels along a side of a cell."""

HALF, NEAR, FAR = f32(0.5), f32(0.75), f32(0.25)
"""Of enlarging by two: the weights of the nearer and of the farther pixel."""


# --- Both pictures, and the coarse scale ---


@loop
def begin(a, b, ir, vis, half, cells, matrix, bias, out):
    """Cells [a, b): ir, vis (h, w) -> half; cells (h, w, 2), the means; out (h, w, c), the embedded cells.

    matrix: (4 * 4 * 8, c).
    """
    w, c = out.shape[1:]
    n = CELL * half.shape[2]
    patches = np.empty((w, CELL * n), f32)
    for r in range(a, b):
        for y in range(CELL):
            squares(ir, 2 * (CELL * r + y), half[CELL * r + y], 0)
            squares(vis, 2 * (CELL * r + y), half[CELL * r + y], 4)
            row = half[CELL * r + y].reshape(-1)
            for i in range(w):
                for k in range(n):
                    patches[i, y * n + k] = row[i * n + k]
        means(patches, cells[r])
        dot(patches, matrix, out[r])
        for i in range(w):
            for k in range(c):
                out[r, i, k] = max(out[r, i, k] + bias[k], ZERO)


@loop
def squares(x, r, out, first):
    """Rows r and r + 1 of x (h, w), or its last one -> four numbers of each pixel of out, from `first` on."""
    h, w = x.shape
    top, bottom = x[min(r, h - 1)], x[min(r + 1, h - 1)]
    for i in range(w // 2):
        out[i, first], out[i, first + 1] = top[2 * i], top[2 * i + 1]
        out[i, first + 2], out[i, first + 3] = bottom[2 * i], bottom[2 * i + 1]
    for i in range(w // 2, len(out)):
        left, right = min(2 * i, w - 1), w - 1
        out[i, first], out[i, first + 1] = top[left], top[right]
        out[i, first + 2], out[i, first + 3] = bottom[left], bottom[right]


@loop
def means(patches, out):
    """Of each cell's pixels of either picture."""
    w, n = patches.shape
    for i in range(w):
        ir = vis = ZERO
        for k in range(0, n, 8):
            ir += (patches[i, k] + patches[i, k + 1]) + (patches[i, k + 2] + patches[i, k + 3])
            vis += (patches[i, k + 4] + patches[i, k + 5]) + (patches[i, k + 6] + patches[i, k + 7])
        out[i, 0], out[i, 1] = ir / f32(n // 2), vis / f32(n // 2)


@loop
def around(a, b, x, dilation, layer, out):
    """Rows [a, b) of x (h, w, c) + a 3x3 convolution of it; returns their moments.

    A dilated convolution is a plain one of every `dilation`-th row and column: such columns stand together here, a
    zero between one lot and the next.
    """
    h, w, c = x.shape
    lot = -(-w // dilation) + 1
    given, y = np.zeros((dilation * lot, c), f32), row_for(dilation * lot, c)
    moments, rooms = moments_for(c)
    for first in range(dilation):
        rows, ring = (h - first + dilation - 1) // dilation, ring_for(layer, len(given), c)
        start, stop = (a - first + dilation - 1) // dilation, (b - first + dilation - 1) // dilation
        for r in range(start - 1, stop + 1 if start < stop else start - 1):
            columns_apart(x[min(max(first + r * dilation, 0), h - 1)], dilation, lot, given)
            enter(given, len(given), ring, r, rows)
            if r - 1 >= start:
                convolve(ring, r - 1, layer, y)
                line = first + (r - 1) * dilation
                add_columns(x[line], y, dilation, lot, out[line])
                add_moments(out[line], moments, rooms)
    return moments


@loop
def columns_apart(x, dilation, lot, out):
    w, c = x.shape
    for i in range(w):
        place = i % dilation * lot + i // dilation
        for k in range(c):
            out[place, k] = x[i, k]


@loop
def add_columns(x, y, dilation, lot, out):
    """out = x + the columns of y, where `columns_apart` has them."""
    w, c = x.shape
    for i in range(w):
        place = i % dilation * lot + i // dilation
        for k in range(c):
            out[i, k] = x[i, k] + y[place, k]


@loop
def project(a, b, x, matrix, cells, first, out):
    """out (h, w, m) = x times matrix (c, m), but for two channels from `first` on, which are the cells' means."""
    for r in range(a, b):
        dot(x[r], matrix, out[r])
        for i in range(out.shape[1]):
            out[r, i, first], out[r, i, first + 1] = cells[r, i, 0], cells[r, i, 1]


# --- The fine scale ---


@loop
def fine(a, b, half, low, shift, channels, first, body, last, tone, out):
    """The result, rows 8 a to 8 b of out (h, w).

    low: (h, w, m) of cells, `channels` for the convolutions and two more, the means; shift: (m), to be added to low.
    body: kernels, biases and slopes of the inner convolutions. tone: gain and offset.
    """
    h, w, n = half.shape
    m, depth = len(first[1]), len(body[0])
    above, entering = np.empty((low.shape[1] + 2, low.shape[2]), f32), ring_for(first, w, n + channels)
    rings = np.zeros((depth + 1, *ring_for(last, w, m).shape), f32)
    features = np.zeros((depth + 1, 2, *row_for(w, m).shape), f32)
    said = np.zeros((2, *row_for(w, len(last[1])).shape), f32)
    keep = depth + 4
    smooth, mixed = np.empty((keep, w, low.shape[2]), f32), np.empty((3, 3, w + 2), f32)
    pair = np.empty((2, 3, w + 2), f32)
    start, stop, lag = CELL * a, CELL * b, depth + 2
    for r in range(max(start - lag - 1, 0), stop + lag + 1):
        if r < h:
            enlarge_cells(low, r, shift, above, smooth[r % keep])
        enter(half[min(r, h - 1)], w, entering, r, h)
        enter(smooth[r % keep], w, entering, r, h, n // 8)
        x = features[0, (r - 1) % 2]
        convolve(entering, r - 1, first, x)
        enter(x, w, rings[0], r - 1, h)
        for k in range(depth):
            y, before = features[k + 1, (r - 2 - k) % 2], features[k, (r - 2 - k) % 2]
            convolve(rings[k], r - 2 - k, (body[0][k], body[1][k], body[2][k]), y)
            add(y, before)
            enter(y, w, rings[k + 1], r - 2 - k, h)
        q = r - lag
        if max(start - 1, 0) <= q < h:
            convolve(rings[depth], q, last, said[q % 2])
            mix(said[q % 2], half[q], smooth[q % keep], channels, mixed[q % 3])
        if start <= q - 1 < h:
            enlarge(mixed, q - 1, h, pair)
            write(pair, said[(q - 1) % 2], half[q - 1], tone, 2 * (q - 1), out)


@loop
def add(y, x):
    y, x = y.reshape(-1), x.reshape(-1)
    for i in range(len(y)):
        y[i] += x[i]


@loop
def enlarge_cells(low, r, shift, above, out):
    """Row r of low + shift, enlarged by four: between the centres of cells linearly, beyond the last one constant.

    above: room for a row of cells and one more at either end.
    """
    h, w, m = low.shape
    place = (f32(r) + HALF) / f32(CELL) - HALF
    line = int(np.floor(place))
    share = place - f32(line)
    one, two = low[max(line, 0)], low[min(line + 1, h - 1)]
    for i in range(w):
        for k in range(m):
            above[i + 1, k] = one[i, k] + share * (two[i, k] - one[i, k]) + shift[k]
    for k in range(m):
        above[0, k], above[w + 1, k] = above[1, k], above[w, k]
    for i in range(w):
        for k in range(m):
            left, middle, right = above[i, k], above[i + 1, k], above[i + 2, k]
            out[4 * i, k] = middle + f32(3 / 8) * (left - middle)
            out[4 * i + 1, k] = middle + f32(1 / 8) * (left - middle)
            out[4 * i + 2, k] = middle + f32(1 / 8) * (right - middle)
            out[4 * i + 3, k] = middle + f32(3 / 8) * (right - middle)


@loop
def mix(said, half, smooth, channels, out):
    """What the network says of a row -> out (3, w + 2): the fused row of half size, and both pictures' at that size,
    the first and last pixel twice."""
    w = len(half)
    for i in range(w):
        ir = QUARTER * ((half[i, 0] + half[i, 1]) + (half[i, 2] + half[i, 3]))
        vis = QUARTER * ((half[i, 4] + half[i, 5]) + (half[i, 6] + half[i, 7]))
        ir_smooth, vis_smooth = smooth[i, channels], smooth[i, channels + 1]
        share = ONE / (ONE + exp(-said[i, 0]))
        details = (HALF + said[i, 1]) * (ir - ir_smooth) + (HALF + said[i, 2]) * (vis - vis_smooth)
        out[0, i + 1] = vis_smooth + share * (ir_smooth - vis_smooth) + details
        out[1, i + 1], out[2, i + 1] = ir, vis
    for n in range(3):
        out[n, 0], out[n, w + 1] = out[n, 1], out[n, w]


@loop
def enlarge(mixed, r, h, out):
    """Row r of h, in a ring, with its neighbours -> two rows: out (2, 3, w + 2)."""
    one, two, three = mixed[max(r - 1, 0) % 3], mixed[r % 3], mixed[min(r + 1, h - 1) % 3]
    for n in range(3):
        for i in range(out.shape[2]):
            out[0, n, i] = NEAR * two[n, i] + FAR * one[n, i]
            out[1, n, i] = NEAR * two[n, i] + FAR * three[n, i]


@loop
def write(pair, said, half, tone, row, out):
    """Two rows of out (h, w)."""
    h, w = out.shape
    for y in range(min(2, h - row)):
        fused, ir, vis = pair[y]
        for i in range(w // 2):
            out[row + y, 2 * i] = pixel(fused, ir, vis, said, half, tone, i, i, 2 * y)
            out[row + y, 2 * i + 1] = pixel(fused, ir, vis, said, half, tone, i, i + 2, 2 * y + 1)
        if w % 2:
            out[row + y, w - 1] = pixel(fused, ir, vis, said, half, tone, w // 2, w // 2, 2 * y)


@inlined
def pixel(fused, ir, vis, said, half, tone, i, other, k):
    """Pixel k of square i, of which neighbour `other` is the nearest."""
    x = NEAR * fused[i + 1] + FAR * fused[other]
    ir_detail = half[i, k] - (NEAR * ir[i + 1] + FAR * ir[other])
    vis_detail = half[i, 4 + k] - (NEAR * vis[i + 1] + FAR * vis[other])
    x += (HALF + said[i, 3 + k]) * ir_detail + (HALF + said[i, 7 + k]) * vis_detail + said[i, 11 + k]
    return x * tone[0] + tone[1]
