"""CDDFuse in strips: the same function as the network, at any size, in any strips, within its memory.

Most tests use a network of 16 channels, for which there are no compiled loops; those are in `test_cddfuse_bands.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fusion
from fusion import build, infer, weights
from fusion.inference import bands, cddfuse, strips
from fusion.inference.cddfuse_blocks import InStrips
from fusion.networks import CDDFuse
from tests.inference.peak import Meter
from tests.rounding import assert_within, exact, tolerance

SMALL = {"dim": 16, "heads": 4, "blocks": 2}


def perturbed(network, by=0.1):
    """No scale, bias or temperature is trivial, so that a mix-up shows."""
    for p in network.parameters():
        p.data.add_(by * torch.randn_like(p))
    return network.eval()


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return perturbed(CDDFuse(**SMALL))


@pytest.fixture(scope="module")
def checkpoint(shared):
    return shared / "golden/cddfuse/official_format_seed0_perturbed.pth"


def in_strips(monkeypatch, rows):
    monkeypatch.setattr(cddfuse, "rows_of", lambda w, device: rows)


def test_bf16_stores_features_in_bf16_where_memory_is_the_bound(small):
    """On a GPU; on a CPU float32 is more exact at the same speed."""
    form = cddfuse.CDDFuseStream(small, dtype=torch.bfloat16)
    assert form.plan(480, 640, "cuda")[1] == torch.bfloat16
    assert form.plan(480, 640, "cpu")[1] == torch.float32
    assert cddfuse.CDDFuseStream(small).plan(480, 640, "cuda")[1] == torch.float32


# 2: the least. 17 = 2 * 8 + 1 and 10: last strips of one and two rows. 40: several strips.
@pytest.mark.parametrize("size", [(2, 2), (2, 7), (7, 3), (8, 9), (10, 5), (17, 16), (40, 23)])
@pytest.mark.parametrize("skip", ["vis", "none"])
def test_equals_the_network_in_strips_and_whole(small, monkeypatch, size, skip):
    ir, vis = torch.rand(2, 1, 1, *size)
    monkeypatch.setattr(small, "skip", skip)
    expected = exact(small, ir, vis)
    form = small.fuse_for_inference()
    whole = form.raw(ir, vis)
    in_strips(monkeypatch, 8)
    for result in (whole, form.raw(ir, vis)):
        assert result.dtype == torch.float32
        assert_within(result, small, ir, vis, expected)


def test_every_strip_height(small, monkeypatch):
    ir, vis = torch.rand(2, 1, 1, 37, 12)
    expected = exact(small, ir, vis)
    allowed = tolerance(small, ir, vis, expected)
    form = small.fuse_for_inference()
    for rows in range(8, 39):
        in_strips(monkeypatch, rows)
        assert (form.raw(ir, vis) - expected).abs().max() <= allowed, rows


def test_a_batch(small):
    ir, vis = torch.rand(2, 3, 1, 21, 18)
    form = small.fuse_for_inference()
    each = torch.cat([form.raw(i[None], v[None]) for i, v in zip(ir, vis, strict=True)])
    assert (form.raw(ir, vis) - each).abs().max() <= 2 * tolerance(small, ir, vis)


SCANS = [
    ("MIF_none", "none", np.s_[80:144, 80:176]),
    pytest.param("MIF_sum", "sum", np.s_[:, :], marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("job", "skip", "part"), SCANS)
def test_golden_scans(job, skip, part, checkpoint, shared):
    """A scan's background is constant, and the authors' long float32 sums over it leave their arrays 2.85e-5 from the
    float64 result (of the whole picture). The strips' sums are wider and within 1e-6 of it: float64 is the witness
    here, and the authors' arrays are met at their distance from it."""
    arrays = np.load(shared / "golden/cddfuse/infer.npz")
    ir, vis, golden = (arrays[f"MRI_CT_11_{job}/{name}"] for name in ("in_ir", "in_vis", "raw"))
    network = CDDFuse(skip=skip).eval()
    weights.load(network, checkpoint)
    ir, vis = np.ascontiguousarray(ir[part]), np.ascontiguousarray(vis[part])
    expected = exact(network, *(torch.from_numpy(x)[None, None] for x in (ir, vis)))[0, 0].numpy()
    raw = infer.run(network, ir, vis)
    assert np.abs(raw - expected).max() < 1e-5
    if raw.shape == golden.shape:
        assert np.abs(raw - golden).max() < 4e-5


def test_bf16_stays_within_half_a_gray_level(checkpoint, shared, monkeypatch):
    arrays = np.load(shared / "golden/cddfuse/infer.npz")
    ir, vis = (arrays[f"TNO_07_IVF/{name}"][100:228, 100:260] for name in ("in_ir", "in_vis"))
    for compiled in (True, False):
        if not compiled:
            monkeypatch.setattr(bands, "available", lambda: False)
        network = build.network("cddfuse", checkpoint)
        exact_picture = infer.stretch(infer.run(network, ir, vis))
        network.speed = "bf16"
        picture = infer.stretch(infer.run(network, ir, vis))
        assert 0 < 255 * np.abs(picture - exact_picture).mean() < 0.5, f"compiled: {compiled}"


# --- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_to_what_it_says_it_needs(small, monkeypatch, dtype):
    """Tensors that stand at once, against `memory`; the arithmetic's own scratch is not seen here."""
    in_strips(monkeypatch, 8)
    form = cddfuse.CDDFuseStream(small, dtype=dtype, storage=dtype)
    ir, vis = torch.rand(2, 1, 1, 128, 32)
    with Meter() as meter:
        form(ir, vis)
    said = form.memory(128, 32, InStrips(8, dtype.itemsize), dtype)
    assert 0.5 * said < meter.most <= said


def test_max_memory(small, monkeypatch):
    h, w = 40, 50
    monkeypatch.setitem(strips.PIXELS, "cpu", 16 * w)
    ir, vis = torch.rand(2, 1, 1, h, w)
    free = small.fuse_for_inference()
    least = free.compute.memory(h, w, InStrips(8))
    assert least < free.compute.memory(h, w, InStrips(strips.rows_of(w, "cpu")))
    tight = small.fuse_for_inference(max_memory=least)
    assert (tight.raw(ir, vis) - free.raw(ir, vis)).abs().max() <= 2 * tolerance(small, ir, vis)
    message = rf"a pair of {h}x{w} needs at least {least / 2**20:.1f} MiB, but max_memory allows .*bf16"
    with pytest.raises(ValueError, match=message):
        small.fuse_for_inference(max_memory=least - 1).raw(ir, vis)


def test_large_pictures_fit():
    """4000x3000 within 12 GiB of process memory, 7 GiB in bfloat16, of which 1 GiB is left to the process itself."""
    network = CDDFuse()
    for dtype, allowed in ((torch.float32, 11), (torch.bfloat16, 6)):
        way = InStrips(8, dtype.itemsize)
        assert cddfuse.CDDFuseStream(network, dtype=dtype).memory(3000, 4000, way, dtype) < allowed * 2**30


# --- the door to it -------------------------------------------------------------------------------------------------


def test_follows_training(small):
    """Pictures are made with the weights of the moment; a form that the caller holds keeps its own."""
    torch.manual_seed(1)
    network = CDDFuse(**SMALL)
    ir, vis = np.random.default_rng(0).random((2, 20, 20), np.float32)
    form, before = network.fuse_for_inference(), infer.run(network, ir, vis)
    perturbed(network)
    assert np.abs(infer.run(network, ir, vis) - before).max() > 1e-3
    np.testing.assert_array_equal(infer.run(form, ir, vis), before)


def test_options_of_load():
    assert fusion.load("cddfuse", "none", max_memory="3GiB", **SMALL).max_memory == 3 * 2**30
    assert fusion.load("cddfuse", "none", speed="bf16", max_memory="500 MB", **SMALL).max_memory == 500_000_000
    with pytest.raises(ValueError, match="speed must be one of exact, bf16, fast, compiled; got 'quick'"):
        fusion.load("cddfuse", speed="quick")
    with pytest.raises(ValueError, match="max_memory must be bytes or like 3GiB, 500MB; got 'lots'"):
        fusion.load("cddfuse", max_memory="lots")
    with pytest.raises(ValueError, match="CPFusion cannot bound its memory"):
        fusion.load("cpfusion", max_memory=10**9)
