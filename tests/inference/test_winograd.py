"""Convolutions with fewer products: every scheme, against float64, with the vector lengths of other processors, too."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("numba")
from numba import njit

from fusion.inference.loops import compiler, winograd
from tests.inference.test_loops import kind, needs_bfloat16, random  # noqa: F401

if not compiler.USABLE:
    pytest.skip("this processor has no fused multiply-add", allow_module_level=True)

SCHEMES = ["TWO", "FOUR"]


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_is_a_convolution(name):
    scheme = getattr(winograd, name)
    m, n = scheme.results.shape
    assert n == m + 2
    taps, pixels = random(3).astype(float), random(n).astype(float)
    found = scheme.results @ ((scheme.taps @ taps) * (scheme.pixels @ pixels))
    np.testing.assert_allclose(found, [pixels[i : i + 3] @ taps for i in range(m)], atol=1e-14)


@functools.cache
def over_rows(module):
    """A picture's rows through a kind's `winograd`, compiled once for each type of numbers."""
    made_ring, enter, convolve = module.ring_for, module.enter, module.convolve

    @njit(**compiler.OPTIONS)
    def run(first, second, layer, w, c, out):
        h = len(first)
        ring = made_ring(layer, w, c)
        for r in range(h + 1):
            enter(first[min(r, h - 1)], w, ring, r, h)
            enter(second[min(r, h - 1)], w, ring, r, h, first.shape[2] // 8)
            if r > 0:
                convolve(ring, r - 1, layer, out[r - 1])

    return run


def convolved(made, x, layers, c, w):
    """A whole map (h, w, ...) by the loops of `made`; rings for c channels that are put in in two parts."""
    out = np.full((len(x), *made.winograd.row_for(w, len(layers[1])).shape), np.nan, np.float32)
    parts = np.ascontiguousarray(x[..., :8]), np.ascontiguousarray(x[..., 8:])
    over_rows(made.winograd)(*parts, layers, w, c, out)
    return out[:, :w]


# Widths around whole tiles of either scheme, and fewer than are summed at once; 24 results fill a vector in part.
SIZES = ((2, 2), (3, 5), (2, 8), (2, 13), (3, 30))


@pytest.mark.parametrize("name", SCHEMES)
def test_convolutions(kind, name):  # noqa: F811
    for size in SIZES:
        convolution(kind, name, False, size)


@needs_bfloat16  # and so the widest vectors
@pytest.mark.parametrize("name", SCHEMES)
def test_convolutions_in_bfloat16(name):
    for size in SIZES:
        convolution(SimpleNamespace(winograd=winograd), name, True, size)


def convolution(kind, name, bfloat16, size):  # noqa: F811
    x, weight, bias = random(*size, 24), random(24, 24, 3, 3), random(24)
    layer = kind.winograd.layer(weight, bias, 0.1, getattr(kind.winograd, name), bfloat16)
    found = convolved(kind, x, layer, 24, size[1])
    wide = (torch.from_numpy(v).double() for v in (x.transpose(2, 0, 1)[None], weight, bias))
    expected = F.leaky_relu(F.conv2d(*wide, padding=1), 0.1)[0].permute(1, 2, 0).numpy()
    # A sum of 24 * 9 products errs by the root of that many units of its largest terms, which are what the scheme makes
    # of pixels and taps before it takes them apart again.
    scheme = getattr(kind.winograd, name)
    r, t, p = (np.abs(matrix) for matrix in (scheme.results, scheme.taps, scheme.pixels))
    growth = (r @ (t.sum(1) * p.sum(1))).max()
    atol = 2**-24 * growth * (24 * 9) ** 0.5 * np.abs(weight).max() * np.abs(x).max()
    if bfloat16:
        atol = {"TWO": 0.4, "FOUR": 1.5}[name]  # factors of 8 bits; measured 0.25 and 0.9
    np.testing.assert_allclose(found[..., :24], expected, atol=atol)
    assert not found[..., 24:].any()


def test_nan_stays():
    x = random(3, 9, 24)
    x[1, 4, 0] = np.nan
    layer = winograd.layer(random(16, 24, 3, 3), None, 0.0)
    assert np.isnan(convolved(SimpleNamespace(winograd=winograd), x, layer, 24, 9)[1, 4]).all()
