"""swift: what it promises beyond the contract: few weights, a wide view, one tone, whole cells."""

import pytest
import torch

from fusion.networks import Swift


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Swift().eval()


def test_fewer_than_100_000_weights(network):
    assert sum(p.numel() for p in network.parameters()) < 100_000


def reach(network, h, w):
    """How strongly the centre pixel depends on each pixel of the visible image."""
    ir, vis = torch.rand(2, 1, 1, h, w, generator=torch.Generator().manual_seed(1))
    vis.requires_grad_()
    network.raw(ir, vis)[0, 0, h // 2, w // 2].backward()
    return vis.grad[0, 0].abs()


def test_a_pixel_sees_its_surroundings_and_the_whole_picture(network):
    strength = reach(network, 256, 256)
    around = strength[128 - 48 : 128 + 48, 128 - 48 : 128 + 48]
    assert (around > 0).all()
    assert (strength > 0).all()  # through the mean
    with torch.no_grad():  # without it, the view ends
        network.coarse.whole.weight.zero_()
    strength = reach(network, 256, 256)
    assert strength[0].max() == 0
    assert strength[128 - 48 : 128 + 48, 128].min() > 0


def test_the_tone_is_one_gain_and_offset_of_the_picture(network):
    ir, vis = torch.rand(2, 1, 1, 40, 48)
    with torch.no_grad():
        before = network.raw(ir, vis)
        network.coarse.tone.bias.copy_(torch.tensor([0.5, -0.25]))
        torch.testing.assert_close(network.raw(ir, vis), 1.5 * before - 0.25)


def test_padding_to_whole_cells_repeats_the_border(network):
    ir, vis = torch.rand(2, 1, 1, 37, 45)
    padded = [torch.nn.functional.pad(x, (0, 3, 0, 3), mode="replicate") for x in (ir, vis)]
    with torch.no_grad():
        assert torch.equal(network.raw(ir, vis), network.raw(*padded)[..., :37, :45])
