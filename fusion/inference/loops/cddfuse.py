"""CDDFuse: bands of rows [a, b) of maps (n, h, w, c), each with what its neighbours had above and below it.

A `..._row` takes in row r of a map and gives row r - 1; `rooms` is what it needs to remember and to work in.
"""

from __future__ import annotations

import numpy as np

from fusion.inference.loops.compiler import LANES, f32, loop
from fusion.inference.loops.depth_wise import depth_wise, depth_wise_both, depth_wise_relu6, gate_pairs, gated
from fusion.inference.loops.products import dot
from fusion.inference.loops.registers import product_in_registers
from fusion.inference.loops.rows import add, add_bias, clear, convert, norm, row
from fusion.inference.loops.scalars import exp, narrowed, operand, relu6
from fusion.inference.loops.sums import CHUNK, add_squares
from fusion.inference.loops.winograd import convolve, enter, ring_for, row_for

BLOCK = 16
"""Channels of a diagonal block of q^T k: a whole number of heads."""

block = product_in_registers(4, BLOCK // LANES, transposed=True)


@loop
def expand(x, weight, ring, r):
    """Write the product to row r of a ring, between its two columns of border."""
    dot(x, weight, ring[r % 3, 1 : len(x) + 1])


@loop
def gather(q, k, sums, blocks, squares):
    """Add a row's q^T k to blocks (c / BLOCK, BLOCK, BLOCK) and its squares to squares (2, c), both float64."""
    w, c = q.shape
    for start in range(0, w, CHUNK):
        some_q, some_k = q[start : start + CHUNK], k[start : start + CHUNK]
        for n in range(c // BLOCK):
            for i in range(0, BLOCK, 4):
                block(some_q, n * BLOCK, c, i, some_k, n * BLOCK, sums, i, 0, len(some_q))
            for i in range(BLOCK):
                for j in range(BLOCK):
                    blocks[n, i, j] += sums[i, j]
        add_squares(some_q, sums.reshape(-1)[:c], squares[0])
        add_squares(some_k, sums.reshape(-1)[:c], squares[1])


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
    """The same of full 3x3 convolutions of the normed x, two layers."""
    weight, bias, eps, to_q, to_k = weights
    _, h, w, c = x.shape
    ring, normed, q, k = ring_for(to_q, w, c), np.empty((w, c), f32), row_for(w, c), row_for(w, c)
    sums = np.empty((BLOCK, BLOCK), f32)
    blocks, squares = np.zeros((c // BLOCK, BLOCK, BLOCK), np.float64), np.zeros((2, c), np.float64)
    for r in range(a - 1, b + 1):
        if 0 <= r < h:
            norm(row(x[0], above[0], below[0], a, b, r), weight, bias, eps, normed)
        enter(normed, w, ring, r, h)
        if r > a:
            convolve(ring, r - 1, to_q, q)
            convolve(ring, r - 1, to_k, k)
            gather(q[:w], k[:w], sums, blocks, squares)
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
    return ring_for(weights[3], w, c), np.empty((w, c), f32), row_for(w, c)


@loop
def attend_full_row(x, r, h, weights, rooms):
    """A full 3x3 convolution of the normed x. Weights: of the norm; a layer."""
    weight, bias, eps, layer = weights
    ring, normed, v = rooms
    if 0 <= r < h:
        norm(x, weight, bias, eps, normed)
    enter(normed, len(x), ring, r, h)
    convolve(ring, r - 1, layer, v)
    return v


@loop
def attend_full(x, above, below, a, b, weights):
    """x += what `attend_full_row` gives, in place."""
    _, h, w, c = x.shape
    rooms = attend_full_rooms(w, c, weights)
    for r in range(a - 1, b + 1):
        v = attend_full_row(row(x[0], above[0], below[0], a, b, r), r, h, weights, rooms)
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
                v = attend_full_row(given, r, h, attend if i == 0 else attend_too, attends[i])
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
