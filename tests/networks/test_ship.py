"""SHIP with the authors' released weights against the pictures and the raw output of their program."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fusion import build, images, infer
from fusion.networks.learned.ship import SHIP, CentralDifference, InvertibleConvolution, circular_convolution

QUICK = ("TNO/07", "TNO/19", "RoadScene/FLIR_04722", "RoadScene/FLIR_06993")


@pytest.fixture(scope="module")
def network(shared):
    return build.network("ship", shared / "golden/ship/SHIP_model.pth")


def source(shared, name):
    dataset, stem = name.split("/")
    return (next((shared / "data" / dataset / kind).glob(f"{stem}.*")) for kind in ("ir", "vi"))


def levels(picture):
    """Some of their gray pictures are stored as RGB: compare channel by channel, gray with each."""
    return (picture if picture.ndim == 3 else picture[..., None]).astype(int)


def assert_same_picture(network, shared, name):
    fused = infer.fuse(network, *source(shared, name))
    theirs = images.read(shared / f"golden/ship/{name}.png")
    difference = np.abs(levels(fused) - levels(theirs))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


def test_published_size():
    assert sum(p.numel() for p in SHIP().parameters()) == 547_509


def test_raw_output(network, shared):
    golden = np.load(shared / "golden/ship/raw.npz")
    for name in ("TNO/19", "RoadScene/FLIR_06974", "RoadScene/FLIR_04722"):
        ir, vis = (images.read(path) for path in source(shared, name))
        raw = infer.run(network, *infer.input_planes(network, ir, vis, "infrared-visible"))
        # The product of two spectra sums over the whole picture in float32, and so does theirs: 2e-5 on crops of 6,000
        # pixels (`test_ship_golden.py`), 15 times that here.
        assert np.abs(raw - golden[f"{name}/y_raw"]).max() < 3e-4, name


def test_pictures(network, shared):
    for name in QUICK:
        assert_same_picture(network, shared, name)


@pytest.mark.slow
def test_all_their_pictures(network, shared):
    names = [f"{p.parent.name}/{p.stem}" for s in ("TNO", "RoadScene") for p in (shared / "golden/ship" / s).iterdir()]
    assert len(names) == 26
    for name in names:
        assert_same_picture(network, shared, name)


def test_central_difference_is_one_kernel():
    """The folded kernel against the definition: cross responses, less theta times their sums, blended, plus x."""
    torch.manual_seed(0)
    block = CentralDifference(channels=3).double()
    block.mix.data.fill_(0.7)
    x = torch.rand(2, 3, 9, 8, dtype=torch.float64)
    expected = x.clone()
    share = torch.sigmoid(block.mix)
    for taps, places, part in ((block.plus, block.PLUS, share), (block.diagonal, block.DIAGONAL, 1 - share)):
        kernel = torch.zeros(3, 3, 3, 3, dtype=torch.float64)
        for i, (row, column) in enumerate(places):
            kernel[:, :, row, column] = taps[:, :, i]
        centre = F.conv2d(x, taps.sum(2)[:, :, None, None])
        expected = expected + part * (F.conv2d(x, kernel, padding=1) - block.THETA * centre)
    assert torch.allclose(block(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_spectra_are_float32s_under_autocast(monkeypatch, dtype):
    """CUDA's autocast lets features of 16 bits through to its transforms, which refuse them or overflow."""
    seen, rfft2 = [], torch.fft.rfft2

    def transform(x, *arguments):
        seen.append(x.dtype)
        return rfft2(x, *arguments)

    monkeypatch.setattr(torch.fft, "rfft2", transform)
    a, b = torch.rand(2, 1, 4, 12, 12).to(dtype)
    expected = circular_convolution(a.float(), b.float())
    # The second interaction gets visible features of 32 bits, and infrared ones of 16.
    for pair in ((a, b), (a.float(), b), (a, b.float())):
        seen.clear()
        assert torch.equal(circular_convolution(*pair), expected)
        assert seen == [torch.float32, torch.float32]


def test_invertible_convolution_starts_orthogonal():
    matrix = InvertibleConvolution(channels=8).matrix()
    # Made of float32 factors: three products of eight terms of size 1.
    assert torch.allclose(matrix @ matrix.T, torch.eye(8), rtol=0, atol=3 * 8 * 8 * 2**-24)
