"""Steps of training on a GPU: finite in every precision, with float32's gradients to its rounding, one wait each."""

import warnings

import pytest
import torch

from fusion.networks import SHIP, CDDFuse, Swift
from fusion.objectives import CDDFuseFusion, CDDFuseReconstruction, SHIPObjective, SwiftObjective
from fusion.precision import round_products_in_training

pytestmark = pytest.mark.cuda

CASES = {
    "cddfuse I": (CDDFuseReconstruction, lambda: CDDFuse(dim=8, heads=2, blocks=1), 32),
    "cddfuse II": (CDDFuseFusion, lambda: CDDFuse(dim=8, heads=2, blocks=1), 32),
    "ship": (SHIPObjective, SHIP, 96),  # no power of two, which cuFFT wants of 16 bits
    "ship 64": (SHIPObjective, SHIP, 64),
    "swift": (SwiftObjective, Swift, 64),
}
ROUNDING = {torch.bfloat16: 4e-2, torch.float16: 6e-3}


def objective_of(case, device="cuda"):
    torch.manual_seed(0)
    objective, network, size = CASES[case]
    network = network().to(device, memory_format=torch.channels_last).train()
    return objective(network=network, weights=objective.published).to(device), size


def batch_of(size, device="cuda"):
    """Noise: of pictures without texture, SHIP's instance norms enlarge the rounding of 16 bits, on a CPU as well (its
    gradient in bfloat16 is 0.33 away for smooth pictures of 96 pixels, for noise 0.028)."""
    torch.manual_seed(1)
    ir, vis, mask = torch.rand(3, 2, 1, size, size)
    return {"ir": ir.to(device), "vis": vis.to(device), "mask": mask.to(device)}


def gradient(objective, batch, dtype=None):
    objective.zero_grad()
    scale = 128.0 if dtype == torch.float16 else 1.0
    with torch.autocast("cuda", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        total = objective(batch)["total"]
    (total * scale).backward()
    return torch.cat([p.grad.flatten() / scale for p in objective.parameters() if p.grad is not None])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ROUNDING)
def test_gradients_of_16_bits_are_float32s(case, dtype):
    objective, size = objective_of(case)
    batch = batch_of(size)
    exact, rounded = gradient(objective, batch), gradient(objective, batch, dtype)
    assert rounded.isfinite().all()
    assert (rounded - exact).norm() < ROUNDING[dtype] * exact.norm()


@pytest.mark.parametrize("case", CASES)
def test_losses_are_float32s_under_tf32(case):
    """Products of the network may be rounded in training, not what is a loss."""
    found = []
    for device in ("cpu", "cuda"):
        objective, size = objective_of(case, device)
        found.append(objective(batch_of(size, device)))
        round_products_in_training()
    for name, value in found[0].items():
        assert float(found[1][name]) == pytest.approx(float(value), rel=1e-2, abs=1e-4), name


@pytest.mark.parametrize("case", ["cddfuse II", "ship", "swift"])
def test_a_step_waits_for_nothing(case):
    """Constants stand on the GPU after the first step."""
    objective, size = objective_of(case)
    batch = batch_of(size)
    gradient(objective, batch, torch.bfloat16)
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            gradient(objective, batch, torch.bfloat16)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert [str(w.message) for w in waits if "synchroniz" in str(w.message)] == []
