"""CPFusion: the authors' pictures of real pairs (option sets: `test_cpfusion_golden.py`), and what is at the edges."""

import json

import numpy as np
import pytest
import torch

from fusion import images, infer
from fusion.networks.rule_based.cpfusion import CPFusion, gaussian_blur

OPTIONS = {
    "levels": (3, 4, 5),
    "decomposition": ("Laplacian", "contrast"),
    "base": ("CC+MAX", "CC", "MAX"),
    "attention": ("SimAM", "DSimAM", "none"),
}


def test_every_option_acts():
    """The authors' command line drops three of its four options; here each changes the picture."""
    torch.manual_seed(0)
    ir, vis = torch.rand(2, 1, 1, 128, 131)
    default = CPFusion()(ir, vis)
    others = [{name: v} for name, values in OPTIONS.items() for v in values] + [{"merge": False}]
    changed = [options for options in others if not torch.equal(CPFusion(**options)(ir, vis), default)]
    same = [options for options in others if options not in changed]
    assert same == [{"levels": 4}, {"decomposition": "Laplacian"}, {"base": "CC+MAX"}, {"attention": "DSimAM"}]


def levels(picture):
    """Some of their gray pictures are stored as RGB: compare channel by channel, gray with each."""
    return (picture if picture.ndim == 3 else picture[..., None]).astype(int)


def test_pictures(shared):
    golden = shared / "golden/cpfusion"
    folders = [(golden, True), (golden / "no_merge_rule", False)]
    sets = [(merge, sorted((f / dataset).iterdir())) for f, merge in folders for dataset in ("TNO", "RoadScene")]
    assert all(pictures for _, pictures in sets)
    for merge, picture in ((merge, picture) for merge, pictures in sets for picture in pictures):
        network = CPFusion(merge=merge)
        ir, vis = (
            next((shared / "data" / picture.parent.name / kind).glob(f"{picture.stem}.*")) for kind in ("ir", "vi")
        )
        fused = infer.fuse(network, ir, vis)
        theirs = images.read(picture)
        # Truncation: where a value sits on a level, the last bit of float32 decides.
        assert np.abs(levels(fused) - levels(theirs)).max() <= 1, picture


def test_gaussian_taps(shared):
    taps = json.loads((shared / "golden/cpfusion/gaussian_taps.json").read_text())
    impulse = torch.zeros(1, 1, 31, 31)
    impulse[0, 0, 15, 15] = 1
    for name, expected in taps.items():
        k, sigma = len(expected), float(name.rsplit("sigma", 1)[1])
        row = gaussian_blur(impulse, k, sigma).sum(2)[0, 0]
        found = row[15 - k // 2 : 16 + k // 2]
        assert torch.allclose(found, torch.tensor(expected), atol=1e-6), name


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_smallest_size(levels):
    network = CPFusion(levels=levels)
    n = network.min_size
    assert n == {1: 8, 2: 16, 3: 32, 4: 64, 5: 128}[levels]
    picture = np.random.default_rng(0).random((n, n + 3), np.float32)
    assert infer.fuse(network, picture, picture[::-1].copy()).shape == (n, n + 3)
    with pytest.raises(ValueError, match=f"at least {n}x{n}"):
        infer.fuse(network, picture[1:], picture[1:])


def test_a_batch_is_fused_image_by_image():
    torch.manual_seed(0)
    ir, vis = torch.rand(2, 3, 1, 64, 64, dtype=torch.float64)
    network = CPFusion()
    each = torch.cat([network(i[None], v[None]) for i, v in zip(ir, vis, strict=True)])
    torch.testing.assert_close(network(ir, vis), each, rtol=0, atol=1e-12)


@pytest.mark.parametrize("option", [{"base": "cc"}, {"attention": "simam"}, {"decomposition": "ratio"}, {"levels": 0}])
def test_refuses_unknown_options(option):
    with pytest.raises(ValueError, match="must be"):
        CPFusion(**option)
