"""swift's inference forms: by compiled loops and in strips, any widths, any bands; from 8-bit pictures at once."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest
import torch
from chromium import load_script

import fusion
from fusion import images, infer
from fusion.inference import bands
from fusion.inference.swift import SwiftInStrips
from fusion.memory import keep_freed_memory
from fusion.networks import Swift
from tests.inference.peak import Meter, growth
from tests.rounding import assert_within, exact, tolerance


def perturbed(**options) -> Swift:
    torch.manual_seed(0)
    network = Swift(**options).eval()
    for p in network.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return network


@pytest.fixture(scope="module")
def network():
    return perturbed(coarse_width=48, spread=True)


def loops_of(network):
    """The form by compiled loops."""
    pytest.importorskip("numba")
    from fusion.inference.swift_bands import SwiftInBands

    if not SwiftInBands.can():
        pytest.skip("no compiled loops on this processor")
    return SwiftInBands(network)


def fused(form, *pair):
    with torch.inference_mode():
        return form(*pair)


# Two cells and a part of one; fewer rows or columns than a cell; more than one chunk of a sum of cells.
@pytest.mark.parametrize("size", [(64, 80), (37, 45), (2, 2), (9, 3), (3, 130), (16, 4120)])
def test_loops_equal_the_network(network, size):
    ir, vis = torch.rand(2, 2, 1, *size)
    assert_within(fused(loops_of(network), ir, vis), network, ir, vis)


@pytest.mark.parametrize(
    "options",
    [{}, {"depth": 0}, {"depth": 3}, {"width": 24, "around": 5, "coarse_width": 20}, {"around": 12, "spread": True}],
)
def test_other_widths(options):
    network = perturbed(**options)
    ir, vis = torch.rand(2, 1, 1, 50, 60)
    assert_within(fused(loops_of(network), ir, vis), network, ir, vis)


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("least", [8, 16])
def test_bands_leave_no_seams(network, monkeypatch, n, least):
    """Bands of a single cell, fewer rows than what they need of their neighbours and than a dilation."""
    monkeypatch.setattr(bands, "LEAST_ROWS", least)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n)
    ir, vis = torch.rand(2, 1, 1, 85, 24)
    assert_within(fused(loops_of(network), ir, vis), network, ir, vis)


def test_nan_shows(network):
    ir, vis = torch.rand(2, 1, 1, 16, 16)
    ir[0, 0, 4, 4] = np.nan
    assert fused(loops_of(network), ir, vis).isnan().any()


# --- Strips ---


@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_strips_equal_the_whole_picture(monkeypatch, depth, rows):
    network = perturbed(depth=depth, spread=True)
    ir, vis = torch.rand(2, 2, 1, 101, 37)
    form = SwiftInStrips(network)
    monkeypatch.setattr(form, "rows", lambda h, w: rows)
    result = fused(form, ir, vis)
    assert_within(result, network, ir, vis)
    with torch.inference_mode():
        assert (result - network.raw(ir, vis)).abs().max() <= 2 * tolerance(network, ir, vis)


def test_strips_are_exact_in_float64(network):
    """What strips do is no approximation: 1e-12 where rounding is 1e-16."""
    ir, vis = torch.rand(2, 1, 1, 203, 50, dtype=torch.float64)
    wide = perturbed(coarse_width=48, spread=True).double()
    whole = exact(network, ir, vis)
    form = SwiftInStrips(wide, SwiftInStrips(wide).memory(203, 50, 2))
    assert form.rows(203, 50) == 2
    torch.testing.assert_close(fused(form, ir, vis), whole, rtol=0, atol=1e-12)


def test_a_budget_chooses_the_strips(network, monkeypatch):
    monkeypatch.setattr(bands, "available", lambda: False)
    form = SwiftInStrips(network)
    most = form.memory(400, 100, 50)
    assert SwiftInStrips(network, most).rows(400, 100) is None
    assert SwiftInStrips(network, most - 1).rows(400, 100) < 50
    least = form.memory(400, 100, 1)
    assert SwiftInStrips(network, least).rows(400, 100) == 1
    limited = network.fuse_for_inference(max_memory=least - 1)
    with pytest.raises(ValueError, match=r"a pair of 400x100 needs at least .* MiB, but max_memory allows .* MiB"):
        limited.raw(*torch.rand(2, 1, 1, 400, 100))


def test_loops_keep_to_a_budget(network):
    """Where they need more, strips are taken; where those do, too, it is an error."""
    loops = loops_of(network)
    least = min(loops.memory(64, 64), SwiftInStrips(network).memory(64, 64, 1))
    ir, vis = torch.rand(2, 1, 1, 64, 64)
    for budget in (loops.memory(64, 64), least):
        assert_within(network.fuse_for_inference(max_memory=budget).raw(ir, vis), network, ir, vis)
    with pytest.raises(ValueError, match="needs at least"):
        network.fuse_for_inference(max_memory=least - 1).raw(ir, vis)


@pytest.mark.parametrize("rows", [None, 4])
def test_strips_need_what_they_say(network, rows):
    """Tensors that stand at once, besides the two planes."""
    h, w = 320, 400
    said = SwiftInStrips(network).memory(h, w, rows or -(-h // 8))
    form = SwiftInStrips(network, rows and said)
    assert form.rows(h, w) == rows
    with Meter() as meter:
        fused(form, *torch.rand(2, 1, 1, h, w))
    assert 0.6 * said < meter.most <= said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_loops_need_what_they_say(network):
    """The process's own peak, besides the two planes."""
    h, w = 800, 1000
    form = loops_of(network)
    assert 0.6 * form.memory(h, w) < growth(form, h, w) * 2**20 < 1.1 * form.memory(h, w)


# --- From 8-bit pictures ---


@pytest.mark.parametrize("size", [(64, 80), (37, 45), (2, 3)])
@pytest.mark.parametrize("kinds", ["gray gray", "gray colour", "colour gray", "colour colour"])
@pytest.mark.parametrize("coloured", [False, True])
def test_a_picture_at_once_is_the_picture_step_by_step(network, size, kinds, coloured):
    numbers = np.random.default_rng(0)
    ir, vis = (numbers.integers(0, 256, (*size, 3)[: 2 + (kind == "colour")], np.uint8) for kind in kinds.split())
    colours = numbers.integers(0, 256, (*size, 3), np.uint8) if coloured else None
    form = loops_of(network)
    planes = infer.input_planes(network, ir, vis, "infrared-visible")
    raw = fused(form, *(torch.from_numpy(x)[None, None] for x in planes))[0, 0].numpy()
    found = form.picture(ir, vis, colours)
    expected = infer.finish(network, raw, colours)
    assert found.dtype == np.uint8
    if colours is None:
        np.testing.assert_array_equal(found, expected)
        return
    # OpenCV rounds its three sums once or three times, depending on the processor and on the place in the row: a level
    # differs only where the number before rounding is that close to a half.
    exactly = images.recolour(raw.clip(0, 1), images.to_float(colours), "ycrcb").astype(np.float64) * 255
    off = np.abs(found - exactly)
    assert (off <= 0.5 + 255 * 8 * 2.0**-24).all()
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_luminance_is_that_of_images():
    pytest.importorskip("numba")
    from fusion.inference.loops import pictures

    steps = np.arange(0, 256, 5, dtype=np.uint8)  # 52 levels of each colour, 0 and 255 among them
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(52, -1, 3).copy()
    for picture in (colours, np.arange(256, dtype=np.uint8).reshape(8, 32)):
        out = np.empty(picture.shape[:2], np.float32)
        pictures.luminance(picture)(0, len(picture), picture, out)
        np.testing.assert_array_equal(out, images.luminance(picture))


def test_arrays_that_are_no_plain_uint8(network):
    """Turned, cut and read-only arrays are pictures, too; 16 bits and floats go the other way."""
    form = network.form()
    numbers = np.random.default_rng(0)
    ir, vis = numbers.integers(0, 256, (40, 48), np.uint8), numbers.integers(0, 256, (40, 48, 3), np.uint8)
    turned = [np.ascontiguousarray(x[::-1, ::2]) for x in (ir, vis)]
    for picture in turned:
        picture.flags.writeable = False
    np.testing.assert_array_equal(fusion.fuse(form, ir[::-1, ::2], vis[::-1, ::2]), fusion.fuse(form, *turned))
    assert (
        np.abs(fusion.fuse(form, ir, vis).astype(int) - fusion.fuse(form, ir.astype(np.float32) / 255, vis)).max() <= 1
    )


def test_the_program_takes_them(root, tmp_path):
    """Equal to the loops' picture in every bit, which PyTorch's need not be."""
    network = fusion.load("swift")
    ir, vis = (root / "test_img/sample" / kind / "01_street_day.png" for kind in ("ir", "vi"))
    assert load_script("fuse").main([str(ir), str(vis), "-o", str(tmp_path / "fused.png")]) == 0
    form, pair = loops_of(network), [images.read(path) for path in (ir, vis)]
    expected = form.picture(*pair, colours=pair[1])
    np.testing.assert_array_equal(images.read(tmp_path / "fused.png"), expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted on Linux")
def test_a_frame_takes_no_fresh_memory_from_the_system(network):
    if not keep_freed_memory():
        pytest.skip("this C library's allocator cannot be told")
    form = network.fuse_for_inference()
    ir, vis = torch.randint(0, 256, (2, 240, 320), dtype=torch.uint8).numpy()
    for _ in range(20):
        infer.fuse(form, ir, vis)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        fused = infer.fuse(form, ir, vis)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    # One feature map alone is 16 channels of 120x160 floats, 300 pages: taken anew, 40 frames would need 12,000.
    # Now and then the heap grows where its free parts do not fit.
    assert pages < 2000
    np.testing.assert_array_equal(fused, fusion.fuse(network, ir, vis))
