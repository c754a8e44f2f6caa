"""Overlapping tiles: exact where the method looks no further than the overlap, honest about it where it does."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

import fusion
from fusion import images, infer
from fusion.inference.tiles import LEAST_TILE, OVERLAP, Tiled, spans

SIZE = (300, 420)
TILES = 12 * 300 * 420 + 100 * LEAST_TILE**2  # of a method that needs 100 bytes a pixel: just the least tiles


def of_100_bytes(h, w):
    return 100 * h * w


def blur(ir, vis):
    """Looks four pixels around itself, as far as it sees them."""
    ones = torch.ones_like(ir)
    total, n = (torch.nn.functional.avg_pool2d(x, 9, 1, 4, divisor_override=1) for x in (ir + vis, ones))
    return total / n


def test_spans_cover_and_overlap():
    for length, side in ((300, 256), (1000, 256), (513, 300), (257, 256), (200, 256)):
        found = spans(length, side)
        assert found[0].start == 0
        assert found[-1].stop == length
        assert all(span.stop - span.start == min(side, length) for span in found)
        assert all(a.stop - b.start >= OVERLAP for a, b in itertools.pairwise(found))


def test_a_local_method_has_no_seams():
    ir, vis = torch.rand(2, 2, 1, *SIZE)
    tiled = Tiled(blur, memory=of_100_bytes, max_memory=TILES)
    with pytest.warns(UserWarning, match=r"300x420 in 4 tiles .* gray levels on average"):
        fused = tiled(ir, vis)
    # A tile's border pixels, which see less, weigh 4 of 65 parts at most.
    assert (fused - blur(ir, vis)).abs().max() < 0.02
    assert 0 < tiled.disagreement < 0.01


def test_every_pair_of_a_batch_counts():
    """The second pair is constant: its tiles agree."""
    ir, vis = torch.rand(2, 2, 1, *SIZE)
    ir[1] = vis[1] = 0.5
    tiled = Tiled(blur, memory=of_100_bytes, max_memory=TILES)
    found = []
    for part in (slice(None), slice(1), slice(1, None)):
        with pytest.warns(UserWarning, match="tiles"):
            tiled(ir[part], vis[part])
        found.append(tiled.disagreement)
    both, first, second = found
    assert second < 1e-6 < first
    assert both == pytest.approx((first + second) / 2)


def test_a_method_without_a_view_is_exact():
    ir, vis = torch.rand(2, 1, 1, *SIZE)
    tiled = Tiled(lambda a, b: a + b, memory=of_100_bytes, max_memory=TILES)
    with pytest.warns(UserWarning, match=r"differ by 0\.00 gray levels"):
        torch.testing.assert_close(tiled(ir, vis), ir + vis)


def test_whole_where_it_fits():
    ir, vis = torch.rand(2, 1, 1, *SIZE)
    tiled = Tiled(blur, memory=of_100_bytes, max_memory=100 * 300 * 420)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(tiled(ir, vis), blur(ir, vis), rtol=0, atol=0)
    assert tiled.disagreement is None


def test_too_little_memory_says_the_least():
    ir, vis = torch.rand(2, 1, 1, *SIZE)
    with pytest.raises(ValueError, match=r"300x420 needs at least 7\.7 MiB \(in tiles of 256x256\), but .* 7\.7 MiB"):
        Tiled(blur, memory=of_100_bytes, max_memory=TILES - 1)(ir, vis)


def test_ship_in_tiles_is_near_the_whole(shared):
    """The authors' weights; measured on this part 0.5 gray levels on average."""
    ir, vis = (images.luminance(images.read(shared / f"data/TNO/{kind}/08.png")[:280, :330]) for kind in ("ir", "vi"))
    network = fusion.load("ship", shared / "golden/ship/SHIP_model.pth")
    whole = infer.run(network, ir, vis)
    form = network.fuse_for_inference().compute
    network.max_memory = 12 * ir.size + form.memory(LEAST_TILE, LEAST_TILE)
    with pytest.warns(UserWarning, match="280x330 in 4 tiles"):
        tiled = infer.run(network, ir, vis)
    assert 0 < 255 * np.abs(tiled - whole).mean() < 1.5
