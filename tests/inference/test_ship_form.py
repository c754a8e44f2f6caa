"""SHIP's inference form: the same function as the network, and close to it in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion import build, images, infer
from fusion.inference.ship import mean, pooled_convolution
from fusion.networks import SHIP


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (33, 64), (50, 47)])
def test_equals_the_network(size):
    torch.manual_seed(0)
    network = SHIP().eval()
    for p in network.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    wide = SHIP().double().eval()
    wide.load_state_dict(network.state_dict())
    ir, vis = torch.rand(2, 2, 1, *size)
    with torch.inference_mode():
        expected = wide.raw(ir.double(), vis.double())
        own = (network.raw(ir, vis) - expected).abs().max()
    difference = (network.fuse_for_inference().raw(ir, vis) - expected).abs().max()
    # Instance norm over four pixels enlarges rounding: as near to float64 as the network itself, to a factor.
    assert difference < max(1e-5, 4 * own)


def test_pooled_convolution_is_the_mean_of_the_convolution():
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 5, 3, padding=1)
    for size in ((2, 2), (2, 9), (8, 7)):
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(pooled_convolution(layer, x), layer(x).mean((2, 3), keepdim=True))


def test_mean_in_chunks():
    x = torch.rand(1, 4, 301, 97).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mean(x), x.mean((2, 3), keepdim=True))


def test_bf16_stays_within_half_a_gray_level(shared):
    folder = shared / "data/TNO"
    ir, vis = (images.read(next((folder / kind).glob("19.*"))) for kind in ("ir", "vi"))
    network = build.network("ship", shared / "golden/ship/SHIP_model.pth")
    pictures = []
    for network.speed in ("exact", "bf16"):
        pictures.append(infer.fuse(network, ir, vis, output="gray").astype(float))
    assert 0 < np.abs(pictures[1] - pictures[0]).mean() < 0.5
