"""swift: what it promises beyond the contract: few weights, a wide view, equal forms, no fresh memory per frame."""

import resource
import sys

import pytest
import torch

import fusion
from fusion import infer
from fusion.memory import keep_freed_memory
from fusion.networks import Swift
from tests.rounding import assert_within


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


def test_the_form_for_video_gives_what_forward_gives(network):
    ir, vis = torch.rand(2, 1, 1, 121, 203)
    form = network.fuse_for_inference()
    with torch.no_grad():
        assert_within(form.raw(ir, vis), network, ir, vis)  # sums in another order


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
    assert (fused == fusion.fuse(network, ir, vis)).all()
