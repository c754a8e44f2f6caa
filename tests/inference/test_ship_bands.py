"""SHIP by compiled loops: any size, any bands, any number of threads, other widths; its memory."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
from fusion.inference import bands
from fusion.inference.loops import ship as loops
from fusion.inference.loops import sums
from fusion.inference.loops.compiler import BFLOAT16
from fusion.inference.ship import ShipForm, ship_form
from fusion.inference.ship_bands import ShipInBands, merged
from fusion.networks import SHIP
from tests.inference.peak import Meter
from tests.inference.test_ship_form import perturbed
from tests.rounding import assert_within, exact, tolerance

if not ShipInBands.can(SHIP()):
    pytest.skip("no compiled loops on this processor", allow_module_level=True)


@pytest.fixture(scope="module")
def network():
    return perturbed()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def form_of(network, dtype=torch.float32):
    form = ship_form(network, dtype)
    assert isinstance(form, ShipInBands)
    return form


def fused(form, *pair):
    with torch.inference_mode():
        return form(*pair)


# 27: tiles of four results and one of three. 513: two chunks of a sum.
@pytest.mark.parametrize("size", [(2, 9), (9, 2), (7, 27), (3, 513)])
def test_equals_the_network(network, size):
    ir, vis = torch.rand(2, 1, 1, *size)
    assert_within(fused(form_of(network), ir, vis), network, ir, vis)


@pytest.mark.parametrize("options", [{"interactions": 1}, {"interactions": 5}, {"channels": 32}])
def test_other_widths(options):
    network = perturbed(**options)
    ir, vis = torch.rand(2, 1, 1, 12, 20)
    assert_within(fused(form_of(network), ir, vis), network, ir, vis)


def test_widths_that_no_vector_has_are_left_to_pytorch():
    network = SHIP(channels=6)
    assert isinstance(ship_form(network, torch.float32), ShipForm)


# Bands of seven rows, and of one alone; no band but one is what all the other tests have.
@pytest.mark.parametrize(("h", "n"), [(23, 3), (8, 8)])
def test_bands_leave_no_seams(network, monkeypatch, threads, h, n):
    """Shorter than what they need of their neighbours."""
    monkeypatch.setattr(bands, "LEAST_ROWS", 1)
    threads(n)
    assert len(bands.bands_of(h, n, reach=2)) == n
    ir, vis = torch.rand(2, 1, 1, h, 12)
    assert_within(fused(form_of(network), ir, vis), network, ir, vis)


def test_memory_is_used_again_and_never_twice_at_once(network, monkeypatch):
    made, room = [], bands.room
    monkeypatch.setattr(bands, "room", lambda *args: made.append(args) or room(*args))
    form = form_of(network)
    pairs = torch.rand(4, 2, 1, 1, 20, 16)
    alone = [fused(form, *pair) for pair in pairs]
    allowed = max(tolerance(network, *pair) for pair in pairs)
    assert len(made) == 1
    fused(form, *pairs[0, ..., :10])
    assert len(made) == 2
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda pair: fused(form, *pair), pairs))
    for one, other in zip(alone, together, strict=True):
        assert (one - other).abs().max() <= 2 * allowed


def test_much_memory_is_not_kept(network, monkeypatch):
    form = form_of(network)
    pair = torch.rand(2, 1, 1, 16, 16)
    monkeypatch.setattr(bands, "KEPT", 1000)
    fused(form, *pair)
    assert not form.spare.kept
    monkeypatch.undo()
    fused(form, *pair)
    assert form.spare.kept


def test_memory_is_what_it_says(network):
    """Tensors that stand at once; the rings of the loops, some percent of them, are not seen here."""
    h, w = 120, 200
    form = form_of(network)
    pair = torch.rand(2, 1, 1, h, w)
    with Meter() as meter:
        fused(form, *pair)
    assert 0.8 * form.memory(h, w) < meter.most <= form.memory(h, w)


needs_bfloat16 = pytest.mark.skipif(not BFLOAT16, reason="this processor does not multiply bfloat16")


@needs_bfloat16
@pytest.mark.slow  # compiled once more: see the next one, and `test_winograd.py` for the convolutions themselves
def test_bfloat16_is_close(network):
    ir, vis = torch.rand(2, 1, 1, 40, 23)
    expected = exact(network, ir, vis)
    wide, narrow = (fused(form_of(network, dtype), ir, vis) - expected for dtype in (torch.float32, torch.bfloat16))
    assert 10 * wide.abs().mean() < narrow.abs().mean() < 0.5 / 255


@needs_bfloat16
def test_what_bears_bfloat16_is_made_for_it(network):
    """Pairs of bfloat16 are one uint32; four points, of the scheme that rounds least."""
    layers = form_of(network, torch.bfloat16).layers
    _, (one, *_), (infrared, *_) = layers.spatial[0]
    dense = layers.channel[0].coupling
    chain, _ = layers.chained(layers.channel[0], torch.rand(1, 32, 1, 1))
    bear = [*one, *chain, dense["g"].units[0].first, dense["h"].last]
    others = [*infrared, dense["f"].units[0].first, layers.refine, layers.last]
    assert {(kernel.dtype, kernel.shape[2]) for kernel, *_ in bear} == {(np.dtype(np.uint32), 4)}
    assert {(kernel.dtype, kernel.shape[2]) for kernel, *_ in others} == {(np.dtype(np.float32), 6)}


def test_moments_of_parts_are_those_of_the_whole():
    x = 100 + np.random.default_rng(0).standard_normal((1300, 16), np.float32)
    parts = []
    for rows in (x[:600], x[600:601], x[601:]):
        moments, rooms = sums.moments_for(16)
        sums.add_moments(rows, moments, rooms)
        parts.append(moments)
    n, mean, squares = merged(parts)
    wide = x.astype(np.float64)
    np.testing.assert_array_equal(n, 1300)
    # Sums of at most 512 deviations in float32 (a chunk), each off by a unit of the values, near 100.
    np.testing.assert_allclose(mean, wide.mean(0), rtol=0, atol=100 * 2**-24)
    np.testing.assert_allclose(squares, ((wide - wide.mean(0)) ** 2).sum(0), rtol=512 * 2**-24)


def test_a_failure_in_a_band_is_heard_and_memory_comes_back(network, monkeypatch):
    def fails(*args):
        raise MemoryError("no room")

    form = form_of(network)
    pair = torch.rand(2, 1, 1, 9, 9)
    with monkeypatch.context() as patch:
        patch.setattr(loops, "middle", fails)
        with pytest.raises(MemoryError, match="no room"):
            fused(form, *pair)
    assert fused(form, *pair).isfinite().all()


def test_a_failure_waits_for_the_other_bands():
    """Whoever gets the memory next must not be written over."""
    finished = threading.Event()

    def loop(a, b):
        if a == 0:
            raise MemoryError("no room")
        time.sleep(0.3)
        finished.set()

    with pytest.raises(MemoryError, match="no room"):
        bands.over_bands(loop, 100, threads=2, reach=2)
    assert finished.is_set()


def test_nan_shows(network):
    ir, vis = torch.rand(2, 1, 1, 9, 9)
    ir[0, 0, 4, 4] = np.nan
    assert fused(form_of(network), ir, vis).isnan().any()
