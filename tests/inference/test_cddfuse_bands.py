"""CDDFuse by compiled loops: the same function as the network, at any size, in any bands, on any number of threads."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
from fusion.inference import bands, strips
from fusion.inference.cddfuse import CDDFuseStream
from fusion.inference.cddfuse_bands import InBands
from fusion.inference.cddfuse_blocks import InStrips
from fusion.inference.loops import cddfuse as loops
from fusion.inference.loops.compiler import BFLOAT16
from fusion.networks import CDDFuse
from tests.inference.peak import growth
from tests.inference.test_cddfuse_stream import perturbed
from tests.rounding import assert_within, exact, tolerance

if not InBands.can(64, 8):
    pytest.skip("no compiled loops on this processor", allow_module_level=True)

TYPES = [torch.float32]
if BFLOAT16:
    TYPES.append(torch.bfloat16)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    # By more, 64 channels enlarge rounding tenfold, in strips and bands alike.
    return perturbed(CDDFuse(blocks=1), by=0.03)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def way(form, h, w):
    return form.plan(h, w, "cpu")[0]


# 2: the least. 7 and 9: fewer and more pixels to a row than a product takes at once. 513: two chunks of a sum.
@pytest.mark.parametrize("size", [(2, 2), (2, 7), (9, 3), (33, 9), (3, 513)])
@pytest.mark.parametrize("skip", ["vis", "none"])
def test_equals_the_network(network, monkeypatch, size, skip):
    monkeypatch.setattr(network, "skip", skip)
    ir, vis = torch.rand(2, 1, 1, *size)
    form = CDDFuseStream(network)
    assert isinstance(way(form, *size), InBands)
    result = form(ir, vis)
    assert result.dtype == torch.float32
    assert_within(result, network, ir, vis)


# Bands of seven rows, and of one alone; no band but one is what all the other tests have.
@pytest.mark.parametrize(("h", "n"), [(23, 3), (8, 8)])
def test_bands_leave_no_seams(network, monkeypatch, threads, h, n):
    """Shorter than what they need of their neighbours."""
    monkeypatch.setattr(bands, "LEAST_ROWS", 1)
    threads(n)
    assert len(bands.bands_of(h, n, reach=2)) == n
    ir, vis = torch.rand(2, 1, 1, h, 12)
    assert_within(CDDFuseStream(network)(ir, vis), network, ir, vis)


@pytest.mark.parametrize("dtype", TYPES)
def test_equals_the_strips(network, monkeypatch, dtype):
    monkeypatch.setitem(strips.PIXELS, "cpu", 16 * 23)
    ir, vis = torch.rand(2, 2, 1, 40, 23)
    form = CDDFuseStream(network, dtype=dtype)
    compiled = form(ir, vis)
    monkeypatch.setattr(bands, "available", lambda: False)
    assert isinstance(way(form, 40, 23), InStrips)
    difference = (compiled - form(ir, vis)).abs()
    rounding = 2 * tolerance(network, ir, vis)
    assert difference.max() <= (rounding if dtype == torch.float32 else 2e-2)
    assert (difference.max() > rounding) == (dtype == torch.bfloat16)


@pytest.mark.skipif(not BFLOAT16, reason="this processor does not multiply bfloat16")
@pytest.mark.parametrize(
    "storage",
    [
        torch.float32,
        # Compiled once more, for a quarter of a minute; `test_loops.py` has what reads and writes such maps.
        pytest.param(torch.bfloat16, marks=pytest.mark.slow),
    ],
)
def test_bfloat16_is_close(network, storage):
    ir, vis = torch.rand(2, 1, 1, 40, 23)
    expected = exact(network, ir, vis)
    wide = (CDDFuseStream(network, dtype=torch.bfloat16)(ir, vis) - expected).abs().mean()
    assert 0 < wide < 0.5 / 255
    if storage == torch.bfloat16:
        narrow = (CDDFuseStream(network, dtype=torch.bfloat16, storage=storage)(ir, vis) - expected).abs().mean()
        assert wide < narrow < 0.5 / 255


def test_fewer_threads_where_memory_is_short(network, monkeypatch, threads):
    monkeypatch.setattr(bands, "LEAST_ROWS", 8)
    threads(4)
    h, w = 40, 30
    form = CDDFuseStream(network)
    assert way(form, h, w).threads == 4
    one = form.memory(h, w, InBands(1))
    assert one < form.memory(h, w, InBands(4))
    ir, vis = torch.rand(2, 1, 1, h, w)
    tight = CDDFuseStream(network, max_memory=one)
    assert way(tight, h, w) == InBands(1)
    # One band and four: each pixel is made of the same numbers, but that sums over the picture come in other parts.
    assert (tight(ir, vis) - form(ir, vis)).abs().max() <= 2 * tolerance(network, ir, vis)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_what_it_says(network, monkeypatch, threads):
    """The process's own peak over a wide picture, whose rows take more than its maps."""
    h, w = 32, 1600
    monkeypatch.setattr(bands, "LEAST_ROWS", 16)
    threads(2)
    form = CDDFuseStream(network)
    said = form.memory(h, w, InBands(2)) / 2**20
    assert 0.5 * said < growth(form, h, w) < 1.1 * said


def test_other_widths_are_left_to_the_strips():
    form = CDDFuseStream(CDDFuse(dim=12, heads=3, blocks=1))
    assert isinstance(way(form, 30, 30), InStrips)


def test_a_failure_in_a_band_is_heard(network, monkeypatch):
    def fails(*args):
        raise MemoryError("no room")

    monkeypatch.setattr(loops, "feed_forward", fails)
    with pytest.raises(MemoryError, match="no room"):
        CDDFuseStream(network)(*torch.rand(2, 1, 1, 9, 9))


def test_nan_shows(network):
    ir, vis = torch.rand(2, 1, 1, 9, 9)
    ir[0, 0, 4, 4] = np.nan
    assert CDDFuseStream(network)(ir, vis).isnan().any()
