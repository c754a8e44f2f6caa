"""Steps of training on a GPU: finite in every precision, with float32's gradients to its rounding, one wait each."""

import warnings

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from fusion.networks import SHIP, CDDFuse, Swift
from fusion.objectives import CDDFuseFusion, CDDFuseReconstruction, SHIPObjective, SwiftObjective
from fusion.precision import round_products_in_training
from fusion.training.phases import Every, Phase
from fusion.training.trainer import Trainer

pytestmark = pytest.mark.cuda

CASES = {
    "cddfuse I": (CDDFuseReconstruction, lambda: CDDFuse(dim=8, heads=2, blocks=1), 32),
    "cddfuse II": (CDDFuseFusion, lambda: CDDFuse(dim=8, heads=2, blocks=1), 32),
    "ship": (SHIPObjective, SHIP, 96),  # no power of two, which cuFFT wants of 16 bits
    "ship 128": (SHIPObjective, SHIP, 128),
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


@pytest.mark.parametrize("size", [96, 128])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_ship_trains_in_16_bits(tmp_path, dtype, size):
    """The published network by the trainer itself: finite steps, and weights that have moved."""
    torch.manual_seed(0)
    network = SHIP()
    objective = SHIPObjective(network=network, weights=SHIPObjective.published)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run = trainer(tmp_path, objective, size, 2, mixed_precision={torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype])
    if run.accelerator.scaler:
        run.accelerator.scaler.load_state_dict({**run.accelerator.scaler.state_dict(), "scale": 128.0})
    assert run.run()
    assert run.progress.counts == dict.fromkeys(objective.trains, 2)
    after = network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert not torch.equal(before["refine.3.weight"], after["refine.3.weight"].cpu())


def trainer(folder, objective, size, steps, batches=None, **options):
    """Of a GPU, with the optimizer that train.py takes there."""
    AcceleratorState._reset_state(True)

    def endless(start):
        while True:
            yield batch

    groups = [{"params": [*getattr(objective.network, part).parameters()], "name": part} for part in objective.trains]
    batch = batch_of(size)
    return Trainer(
        network=objective.network,
        phases=[Phase("one", steps, objective, objective.trains, 0.01)],
        optimizer=torch.optim.Adam(groups, lr=1e-4, fused=True),
        rates={part: [1e-4] for part in objective.trains},
        batches=batches or endless,
        accelerator=Accelerator(**options),
        folder=folder,
        config={},
        every=Every(log=0, save=0),
    )


def test_the_trainer_waits_for_nothing_before_its_end(tmp_path):
    """Neither for a step's norms, which are read while the next one is computed."""
    objective, size = objective_of("swift")
    batch, steps, waits = batch_of(size), 6, []

    def batches(start):
        while True:
            waits.append(sum("synchroniz" in str(w.message) for w in caught))
            yield batch

    run = trainer(tmp_path, objective, size, steps, batches, mixed_precision="bf16")
    assert run.late
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            assert run.run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == steps
    assert waits[-1] == waits[1]  # constants go to the GPU in the first step
    assert run.progress.counts == dict.fromkeys(objective.trains, steps)


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
