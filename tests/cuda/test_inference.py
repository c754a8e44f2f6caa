"""Pictures from a GPU: those of a CPU, in float32 and in bfloat16, with cuDNN, without more waits than needed."""

import numpy as np
import pytest
import torch

import fusion
from fusion import infer, registry
from fusion.networks.base import Network

pytestmark = pytest.mark.cuda

METHODS = ("average", "maximum", "cpfusion", "swift", "cddfuse", "ship")


def pair(h=64, w=80):
    """Smooth pictures with noise, uint8."""
    numbers = np.random.default_rng(0)
    ramp = np.linspace(0, 200, w)[None] * np.linspace(0.3, 1, h)[:, None]
    return [(ramp[::s] + numbers.integers(0, 40, (h, w))).astype(np.uint8) for s in (1, -1)]


def on_both(name, **options):
    return [fusion.load(name, device=device, **options) for device in ("cpu", "cuda")]


@pytest.mark.parametrize("name", METHODS)
def test_the_picture_is_the_cpus(name):
    """Raw outputs differ by float32 rounding, which may turn a level at a half; nothing more."""
    cpu, cuda = (fusion.fuse(network, *pair()).astype(int) for network in on_both(name))
    assert np.abs(cpu - cuda).max() <= 1
    assert (cpu != cuda).mean() < 0.01


@pytest.mark.parametrize("name", ["cddfuse", "ship"])
def test_bf16_stays_within_half_a_gray_level(name):
    exact, bf16 = (fusion.load(name, device="cuda", speed=speed) for speed in ("exact", "bf16"))
    exact, bf16 = (fusion.fuse(network, *pair()).astype(int) for network in (exact, bf16))
    assert np.abs(exact - bf16).mean() < 0.5


def test_cudnn_is_on_and_rounds_nothing():
    seen = []

    class Looks(Network):
        learned = False

        def raw(self, ir, vis):
            seen.append((torch.backends.cudnn.enabled, ir.device.type))
            picture, kernel = torch.rand(2, 1, 64, 64, device=ir.device), torch.rand(64, 64, 3, 3, device=ir.device)
            features = picture[0, :, None].expand(1, 64, 64, 64)
            exact = torch.nn.functional.conv2d(features.double(), kernel.double())
            seen.append(float((torch.nn.functional.conv2d(features, kernel) - exact).abs().max()))
            return ir

    infer.fuse(Looks().to("cuda"), *pair())
    assert seen[0] == (True, "cuda")
    # 576 products of values below 1: float32 errs by 576 * 2^-24 * 144 at the very most, TF32 by 2^-11 of each.
    assert seen[1] < 576 * 2**-24 * 144


def test_every_method_is_computed_on_the_gpu():
    for name in METHODS:
        assert name in registry.NETWORKS
        network = fusion.load(name, device="cuda")
        before = torch.cuda.memory_stats()["allocation.all.allocated"]
        fusion.fuse(network, *pair())
        assert torch.cuda.memory_stats()["allocation.all.allocated"] > before + 2


def test_memory_is_bounded_by_what_is_free():
    form = fusion.load("cddfuse", device="cuda").form()
    assert 0 < form.compute.max_memory < torch.cuda.mem_get_info()[1]


def test_memory_is_kept_to():
    network = fusion.load("cddfuse", device="cuda", max_memory="100MiB")
    fusion.fuse(network, *pair(200, 304))
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    fusion.fuse(network, *pair(200, 304))
    copies = sum(p.nbytes for p in network.parameters())  # the form's weights
    assert torch.cuda.max_memory_allocated() - held < 100 * 2**20 + 2 * copies
