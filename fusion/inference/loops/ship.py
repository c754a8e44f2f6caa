"""SHIP: passes over bands of rows [a, b) of maps (h, w, channels) that stand whole. A pass ends where the next one
needs a statistic of the whole picture.

Within a pass, convolutions follow one another by single rows. What gives row r - n when it takes in row r also gets
`reach`, the number of rows beyond [a, b) that its results are needed for. A layer is (kernel, bias, slope), see
`winograd.layer`. Maps may have more channels than features, with zeros in them.
"""

from __future__ import annotations

import numpy as np

from fusion.inference.loops.compiler import ONE, f32, inlined, loop
from fusion.inference.loops.products import dot
from fusion.inference.loops.rows import add, add_bias, convert, norm
from fusion.inference.loops.scalars import exp
from fusion.inference.loops.sums import add_moments, moments_for, sum_row
from fusion.inference.loops.winograd import GROUP, convolve, enter, ring_for, row_for

CLAMP, TWO = f32(0.8), f32(2)
UNIT, DENSE = f32(0.1), f32(0.2)
"""Slopes of leaky ReLUs."""

# --- Rows ---


@inlined
def needed(r, a, b, h, reach):
    return max(0, a - reach) <= r < min(h, b + reach)


@loop
def row_of(x, r):
    """Row r of a map, any one where it has none."""
    return x[min(max(r, 0), len(x) - 1)]


@inlined
def leaky(x, slope):
    return max(x, x * slope)


@loop
def scale_by(x, y):
    """x *= y"""
    x, y = x.reshape(-1), y.reshape(-1)
    for i in range(len(y)):
        x[i] *= y[i]


@loop
def add_leaky(x, y, bias):
    """x = leaky(x + y + bias)"""
    w, c = y.shape
    for i in range(w):
        for k in range(c):
            x[i, k] = leaky(x[i, k] + y[i, k] + bias[k], DENSE)


@loop
def scale_shift_leaky(x, scale, shift, out):
    w, c = x.shape
    for i in range(w):
        for k in range(c):
            out[i, k] = leaky(x[i, k] * scale[k] + shift[k], UNIT)


@loop
def scale_by_coupling(x, y):
    """x *= exp(CLAMP (2 sigmoid(y) - 1))"""
    x, y = x.reshape(-1), y.reshape(-1)
    for i in range(len(x)):
        x[i] *= exp(CLAMP * (TWO / (ONE + exp(-y[i])) - ONE))


@loop
def pixels_of(planes, r, out):
    """Row r of planes (c, h, w)."""
    c, _, w = planes.shape
    for k in range(c):
        for i in range(w):
            out[i, k] = planes[k, r, i]


# --- Convolutions one after the other ---


@loop
def chain_rooms(layers, w, c):
    n = len(layers)
    ring = ring_for(layers[0], w, c)
    rings = np.zeros((n, *ring.shape), ring.dtype)
    return rings, np.zeros((n, *row_for(w, c).shape), f32)


@loop
def chain(x, w, r, h, a, b, reach, layers, rooms):
    """n convolutions of as many channels each: takes in row r, gives row r - n."""
    rings, rows = rooms
    n = len(layers)
    for k in range(n):
        enter(x, w, rings[k], r - k, h)
        x = rows[k]
        if needed(r - k - 1, a, b, h, reach + n - 1 - k):
            convolve(rings[k], r - k - 1, layers[k], x)
    return x


@loop
def edge_rooms(layers, w, c):
    ring = ring_for(layers[0], w, c)
    return np.zeros((2, *ring.shape), ring.dtype), np.zeros((4, *row_for(w, c).shape), f32)


@loop
def edge(x, w, r, h, a, b, reach, layers, rooms):
    """second(first(x)) + difference(x): takes in row r, gives row r - 2."""
    first, second, difference = layers
    rings, rows = rooms
    enter(x, w, rings[0], r, h)
    if needed(r - 1, a, b, h, reach + 1):
        convolve(rings[0], r - 1, first, rows[0])
        convolve(rings[0], r - 1, difference, rows[1 + (r - 1) % 2])
    enter(rows[0], w, rings[1], r - 1, h)
    if needed(r - 2, a, b, h, reach):
        convolve(rings[1], r - 2, second, rows[3])
        add(rows[3], rows[1 + (r - 2) % 2])
    return rows[3]


@loop
def convolve_to(ring, r, layer, room, out):
    """Row r of a convolution to out (w, m), by way of the room of a `row_for` where w is no whole number of tiles."""
    if len(room) == len(out):
        convolve(ring, r, layer, out)
    else:
        convolve(ring, r, layer, room)
        convert(room[: len(out)], out)


# --- Passes ---


@loop
def extract(a, b, image, convolutions, edges, out):
    """image (h, w) -> features (h, w, c): twice a convolution and an edge block. The first convolution takes the image,
    and ones where there is one."""
    h, w, c = out.shape
    first, second = convolutions
    given, x, y = np.zeros((w, GROUP), f32), row_for(w, c), row_for(w, c)
    ring, ring_too = ring_for(first, w, GROUP), ring_for(second, w, c)
    rooms, rooms_too = edge_rooms(edges[0], w, c), edge_rooms(edges[1], w, c)
    for r in range(max(0, a - 6), b + 6):
        if r < h:
            for i in range(w):
                given[i, 0], given[i, 1] = image[r, i], ONE
        enter(given, w, ring, r, h)
        if needed(r - 1, a, b, h, 5):
            convolve(ring, r - 1, first, x)
        enter(edge(x, w, r - 1, h, a, b, 3, edges[0], rooms), w, ring_too, r - 3, h)
        if needed(r - 4, a, b, h, 2):
            convolve(ring_too, r - 4, second, y)
        done = edge(y, w, r - 4, h, a, b, 0, edges[1], rooms_too)
        if r - 6 >= a:
            convert(done[:w], out[r - 6])


@loop
def spatial(a, b, planes, vis, ir, norms, fused, infrared, out, new_ir):
    """Orders of interaction, from the first one's circular convolution, planes (c, h, w): out (h, w, 2 c), the new
    visible and the new infrared features, the latter in a map of their own, too. Returns out's moments."""
    h, w, c = ir.shape
    high = np.zeros((w, c), f32)
    fused_rooms = (chain_rooms(fused[0], w, c), chain_rooms(fused[0], w, c), chain_rooms(fused[0], w, c))
    infrared_rooms = (chain_rooms(infrared[0], w, c), chain_rooms(infrared[0], w, c), chain_rooms(infrared[0], w, c))
    moments, rooms = moments_for(2 * c)
    for r in range(max(0, a - 6), b + 6):
        if r < h:
            pixels_of(planes, r, high)
            norm_times(high, norms[0], ir[r])
        f, g = high, row_of(ir, r)
        for k in range(3):
            f = chain(f, w, r - 2 * k, h, a, b, 4 - 2 * k, fused[k], fused_rooms[k])
            g = chain(g, w, r - 2 * k, h, a, b, 4 - 2 * k, infrared[k], infrared_rooms[k])
            norm_times(f[:w], norms[k + 1], g)
        if r - 6 >= a:
            both(f, vis[r - 6], g, out[r - 6])
            convert(g[:w], new_ir[r - 6])
            add_moments(out[r - 6], moments, rooms)
    return moments


@loop
def norm_times(x, layer_norm, y):
    """x = norm(x) y"""
    weight, bias, eps = layer_norm
    norm(x, weight, bias, eps, x)
    scale_by(x, y[: len(x)])


@loop
def both(f, vis, g, out):
    """out (w, 2 c) = (f + vis, g)"""
    w, c = vis.shape
    for i in range(w):
        for k in range(c):
            out[i, k] = f[i, k] + vis[i, k]
        for k in range(c):
            out[i, c + k] = g[i, k]


@loop
def channel(a, b, x, layers, seconds, out, out_too):
    """Five convolutions one after the other and two of what comes out: x (h, w, 2 c) -> c channels each."""
    h, w, c = x.shape
    rooms, ring = chain_rooms(layers, w, c), ring_for(seconds[0], w, c)
    room = row_for(w, out.shape[2])
    for r in range(max(0, a - 6), b + 6):
        enter(chain(row_of(x, r), w, r, h, a, b, 1, layers, rooms), w, ring, r - 5, h)
        if r - 6 >= a:
            convolve_to(ring, r - 6, seconds[0], room, out[r - 6])
            convolve_to(ring, r - 6, seconds[1], room, out_too[r - 6])


@loop
def begin(a, b, x, c, layer, out):
    """A convolution of the first c channels of x; returns the moments of out."""
    h, w, m = out.shape
    ring, y = ring_for(layer, w, c), row_for(w, m)
    moments, rooms = moments_for(m)
    for r in range(max(0, a - 1), b + 1):
        enter(row_of(x, r), w, ring, r, h)
        if r - 1 >= a:
            convolve_to(ring, r - 1, layer, y, out[r - 1])
            add_moments(out[r - 1], moments, rooms)
    return moments


@loop
def unit_rooms(unit, w, c):
    return ring_for(unit[2], w, c), np.zeros((w, c), f32), row_for(w, c), np.zeros((w, c), f32)


@loop
def unit_row(x, y, r, a, b, reach, unit, rooms):
    """The rest of a dense unit: takes in row r of its first convolution, y, gives row r - 1. x: its map.

    unit: what norms y (scale, shift); the second convolution; matrix and bias that x is added by.
    """
    scale, shift, layer, matrix, bias = unit
    ring, normed, out, skipped = rooms
    h, w, _ = y.shape
    if needed(r, a, b, h, reach + 1):
        scale_shift_leaky(y[r], scale, shift, normed)
    enter(normed, w, ring, r, h)
    if needed(r - 1, a, b, h, reach):
        convolve(ring, r - 1, layer, out)
        dot(x[r - 1], matrix, skipped)
        add_leaky(out, skipped, bias)
    return out


@loop
def middle(a, b, x, y, unit, layer, out, next_y):
    """From a dense block's first unit to the second one's first convolution, whose moments it returns."""
    h, w, m = out.shape
    rooms, ring, z = unit_rooms(unit, w, m), ring_for(layer, w, m), row_for(w, m)
    moments, moment_rooms = moments_for(m)
    for r in range(max(0, a - 2), b + 2):
        done = unit_row(x, y, r, a, b, 1, unit, rooms)
        if a <= r - 1 < b:
            convert(done[:w], out[r - 1])
        enter(done, w, ring, r - 1, h)
        if r - 2 >= a:
            convolve_to(ring, r - 2, layer, z, next_y[r - 2])
            add_moments(next_y[r - 2], moments, moment_rooms)
    return moments


@loop
def end(a, b, x, c, first, y, unit, layer, total, scales):
    """The rest of a dense block of c channels of x, in place of total: added, or as the coupling's scale."""
    h, w, m = first.shape
    rooms, ring, z = unit_rooms(unit, w, m), ring_for(layer, w, c + 2 * m), row_for(w, total.shape[2])
    for r in range(max(0, a - 2), b + 2):
        done = unit_row(first, y, r, a, b, 1, unit, rooms)
        enter(row_of(x, r - 1), w, ring, r - 1, h)  # of its channels, those after c are overwritten
        enter(row_of(first, r - 1), w, ring, r - 1, h, c // GROUP)
        enter(done, w, ring, r - 1, h, (c + m) // GROUP)
        if r - 2 >= a:
            convolve(ring, r - 2, layer, z)
            if scales:
                scale_by_coupling(total[r - 2], z)
            else:
                add(total[r - 2], z[:w])


@loop
def combine(a, b, maps, matrices, bias, out):
    """out = the sum of maps times matrices, and bias."""
    w, m = out.shape[1:]
    product = np.empty((w, m), f32)
    for r in range(a, b):
        dot(maps[0][r], matrices[0], out[r])
        for n in range(1, len(maps)):
            dot(maps[n][r], matrices[n], product)
            add(out[r], product)
        add_bias(out[r], bias)


@loop
def shifted(x, shift, out):
    w, c = x.shape
    for i in range(w):
        for k in range(c):
            out[i, k] = x[i, k] + shift[k]


@loop
def pooled(a, b, x, shift, layer):
    """What each tap of a second convolution would sum up over the picture, of a first one of x + shift: (3, 3, c)."""
    h, w, c = x.shape
    given, ring, y = np.empty((w, c), f32), ring_for(layer, w, c), row_for(w, c)
    taps, total, sums = np.zeros((3, 3, c), np.float64), np.empty(c, np.float64), np.empty(c, f32)
    for r in range(max(0, a - 1), b + 1):
        shifted(row_of(x, r), shift, given)
        enter(given, w, ring, r, h)
        q = r - 1
        if q >= a:
            convolve(ring, q, layer, y)
            sum_row(y[:w], total, sums)
            for i in range(3):
                # A tap in the first row meets all rows but the last one, as the picture ends there.
                if not ((i == 0 and q == h - 1) or (i == 2 and q == 0)):
                    for k in range(c):
                        taps[i, 0, k] += total[k] - y[w - 1, k]
                        taps[i, 1, k] += total[k]
                        taps[i, 2, k] += total[k] - y[0, k]
    return taps


@loop
def last(a, b, x, shift, layer, out):
    """The first channel of a convolution of x + shift: out (h, w)."""
    h, w, c = x.shape
    given, ring, y = np.empty((w, c), f32), ring_for(layer, w, c), row_for(w, len(layer[1]))
    for r in range(max(0, a - 1), b + 1):
        shifted(row_of(x, r), shift, given)
        enter(given, w, ring, r, h)
        if r - 1 >= a:
            convolve(ring, r - 1, layer, y)
            for i in range(w):
                out[r - 1, i] = y[i, 0]
