"""SHIP's inference forms, by compiled loops and without: the same function as the network, close to it in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("numba")
from fusion import build, images, infer
from fusion.inference import bands, choice
from fusion.inference.loops.compiler import BFLOAT16
from fusion.inference.ship import ShipForm, half_norm_, mean, pooled_convolution
from fusion.inference.ship_bands import ShipInBands
from fusion.networks import SHIP
from tests.inference.peak import Meter
from tests.rounding import assert_within


def perturbed(**options) -> SHIP:
    torch.manual_seed(0)
    network = SHIP(**options).eval()
    for p in network.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return network


@pytest.fixture(params=["loops", "PyTorch"])
def way(request, monkeypatch):
    if request.param == "PyTorch":
        monkeypatch.setattr(bands, "available", lambda: False)
    elif not isinstance(SHIP().form().compute, ShipInBands):
        pytest.skip("no compiled loops here")


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (17, 32), (26, 23)])
def test_equals_the_network(way, size):
    network = perturbed()
    ir, vis = torch.rand(2, 2, 1, *size)
    result = network.form().raw(ir, vis)
    assert result.dtype == torch.float32
    assert_within(result, network, ir, vis)


def test_pooled_convolution_is_the_mean_of_the_convolution():
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 5, 3, padding=1)
    for size in ((2, 2), (2, 9), (8, 7)):
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            wide = layer.double()
            expected = wide(x).mean((2, 3), keepdim=True)
            torch.testing.assert_close(pooled_convolution(wide, x), expected, rtol=0, atol=1e-13)
            single = pooled_convolution(layer.float(), x.float())
            # 27 products of values up to 4, rounded once each on the way in and out.
            torch.testing.assert_close(single.double(), expected, rtol=0, atol=27 * 4 * 2**-24)


def test_mean_in_chunks():
    x = torch.rand(1, 4, 301, 97).contiguous(memory_format=torch.channels_last)
    # Chunks of 16,384 values below 1 are summed in float32, whose sums of n values err by n units at the very most.
    torch.testing.assert_close(mean(x), x.double().mean((2, 3), keepdim=True).float(), rtol=0, atol=16384 * 2**-24)
    steady = torch.ones(1, 4, 301, 97).contiguous(memory_format=torch.channels_last)
    assert (mean(steady) == 1).all()


class Launches(TorchDispatchMode):
    """Operators that compute or copy, which a GPU launches one by one."""

    VIEWS = (
        "view",
        "permute",
        "split",
        "slice",
        "select",
        "t.",
        "as_strided",
        "detach",
        "expand",
        "unsqueeze",
        "alias",
    )

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.n += not str(operator).removeprefix("aten.").startswith((*self.VIEWS, "empty", "_unsafe_view"))
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_launches_of_a_gpu_do_not_grow_with_the_picture(dtype):
    """Counted on `meta`, which takes a GPU's way. The plain network has 702 (640x480)."""
    form, found = ShipForm(SHIP(), dtype=dtype).to("meta"), []
    for size in ((480, 640), (32, 32)):
        with torch.inference_mode(), Launches() as launches:
            form(*torch.empty(2, 1, 1, *size, device="meta"))
        found.append(launches.n)
    assert found[0] == found[1] < 1200


def test_half_norm_of_other_devices():
    """All of the picture at once, as on a GPU."""

    class Elsewhere(torch.Tensor):
        device = torch.device("meta")

    norm = torch.nn.InstanceNorm2d(3, affine=True)
    torch.nn.init.normal_(norm.weight)
    x = torch.rand(1, 6, 40, 30).contiguous(memory_format=torch.channels_last)
    expected = torch.cat((norm(x[:, :3]), x[:, 3:]), dim=1)
    with torch.no_grad():
        half_norm_(x.as_subclass(Elsewhere), norm)
    # Values below 4, each from a sum of 1200: half a unit of the last place of each step.
    torch.testing.assert_close(x, expected, rtol=0, atol=16 * 2**-24)


@pytest.mark.parametrize("options", [{}, {"channels": 8}, {"interactions": 2}])
def test_needs_what_it_says(options):
    form = ShipForm(SHIP(**options).eval())
    ir, vis = torch.rand(2, 1, 1, 96, 130)
    with torch.inference_mode(), Meter() as meter:
        form(ir, vis)
    assert 0.9 * form.memory(96, 130) < meter.most <= form.memory(96, 130)


LOOPS = [pytest.mark.slow, pytest.mark.skipif(not BFLOAT16, reason="this processor does not multiply bfloat16")]


@pytest.mark.parametrize("way", ["PyTorch", pytest.param("loops", marks=LOOPS)], indirect=True)
def test_bf16_stays_within_half_a_gray_level(way, root, monkeypatch):
    """With the weights in models/, on a part of a sample pair; more is measured in docs/LOG.md."""
    monkeypatch.setattr(choice, "bf16_pays", lambda method: True)  # which is the processor's affair
    ir, vis = (images.read(root / "test_img/sample" / kind / "01_street_day.png") for kind in ("ir", "vi"))
    network = build.network("ship", root / "models/ship_msrs.safetensors")
    pictures = []
    for network.speed in ("exact", "bf16"):
        pictures.append(infer.fuse(network, ir[60:180, 80:240], vis[60:180, 80:240], output="gray").astype(float))
    assert 0 < np.abs(pictures[1] - pictures[0]).mean() < 0.5
