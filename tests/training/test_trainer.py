"""The loop itself: steps, what a bad one leaves alone, averaged weights, accumulation, precision, memory."""

import json
import math
from dataclasses import replace

import pytest
import tiny
import torch
from accelerate import Accelerator
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from fusion.networks import SHIP, CDDFuse
from fusion.networks.base import checkpoint_activations
from fusion.objectives import CDDFuseReconstruction, SHIPObjective
from fusion.training import rates
from fusion.training.phases import Every, Judge, Phase
from fusion.training.trainer import Diverged

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def ship(**options):
    torch.manual_seed(0)
    network = SHIP(channels=4, interactions=1)
    objective = SHIPObjective(network=network, weights=SHIPObjective.published, **options)
    return network, [Phase("fusion", 6, objective, objective.trains)]


# --- steps ----------------------------------------------------------------------------------------------------------


class Toy(nn.Module):
    """Four parts; the second phase uses them all. Channels last, like every network that trains."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.third, self.fourth = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(4))
        self.to(memory_format=torch.channels_last)

    def forward(self, x, parts):
        for part in parts:
            x = torch.tanh(getattr(self, part)(x)) + x
        return x


class Restore(nn.Module):
    def __init__(self, network, parts):
        super().__init__()
        self.network, self.parts = network, parts

    def forward(self, batch):
        error = (self.network(batch["ir"], self.parts) - batch["vis"]).square().mean()
        return {"total": 3 * error, "error": error}


PARTS = ("first", "second", "third", "fourth")
EPOCH, STEP_SIZE = 4, 2


def authors_steps(network, stream, phases):
    """Four Adams, four StepLRs, every part clipped by itself; the fusion parts' begin with the second phase."""
    optimizers = {part: torch.optim.Adam(getattr(network, part).parameters(), lr=1e-3) for part in PARTS}
    schedules = {part: torch.optim.lr_scheduler.StepLR(optimizers[part], STEP_SIZE, 0.5) for part in PARTS}
    start = 0
    for phase in phases:
        for step in range(start, phase.end):
            phase.objective(next(stream))["total"].backward()
            for part in phase.trains:
                nn.utils.clip_grad_norm_(getattr(network, part).parameters(), 0.01)
                optimizers[part].step()
            network.zero_grad()
            if (step + 1) % EPOCH == 0:
                for part in phase.trains:
                    schedules[part].step()
        start = phase.end


def toy_phases(network):
    return [Phase("one", 6 * EPOCH, Restore(network, PARTS[:2]), PARTS[:2], 0.01),
            Phase("two", 14 * EPOCH, Restore(network, PARTS), PARTS, 0.01)]  # fmt: skip


def test_equals_four_adams_and_four_schedules_bit_for_bit(tmp_path):
    reference = Toy()
    authors_steps(reference, tiny.batches(4)(0), toy_phases(reference))
    network = Toy()
    phases = toy_phases(network)
    options = {"step_size": STEP_SIZE, "gamma": 0.5}
    lengths = {part: 14 * EPOCH if part in PARTS[:2] else 8 * EPOCH for part in PARTS}
    tables = {
        part: rates.tabulate("StepLR", lr=1e-3, steps=n, per_unit=EPOCH, options=options, floor=1e-6)
        for part, n in lengths.items()
    }
    trainer = tiny.trainer(tmp_path, network=network, phases=phases, rates=tables)
    start = weights(network)
    assert trainer.run()
    assert equal(weights(network), weights(reference))
    assert not any(torch.equal(start[k], v) for k, v in weights(network).items())
    assert trainer.progress.counts == lengths
    assert {g["name"]: g["lr"] for g in trainer.optimizer.param_groups} == {part: tables[part][-1] for part in PARTS}


def test_a_phase_trains_its_parts_only(tmp_path):
    trainer = tiny.trainer(tmp_path, steps=3)
    trainer.phases = trainer.phases[:1]
    before = weights(trainer.network)
    trainer.run()
    moved = {
        name.split(".")[0] for name, value in weights(trainer.network).items() if not torch.equal(value, before[name])
    }
    assert moved == {"encoder", "decoder"}
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in trainer.network.parameters() if p.ndim == 4)
    assert torch.get_float32_matmul_precision() == "highest"  # TF32 is for CUDA


# --- steps that are not finite --------------------------------------------------------------------------------------


def poisoned(*bad):
    """Batches of which those numbered in `bad` hold a NaN."""

    def stream(start):
        for i, batch in enumerate(tiny.batches(4)(start), start=start):
            if i in bad:
                batch["ir"][1, 0, 3, 3] = math.nan
            yield batch

    return stream


def test_a_step_that_is_not_finite_is_skipped_and_named(tmp_path, capsys):
    trainer = tiny.trainer(tmp_path, steps=3, batches=poisoned(1))
    states = []
    advance = trainer.do_what_is_due

    def note(*arguments, **options):
        states.append((weights(trainer.network), {k: v.clone() for k, v in moments(trainer).items()}))
        advance(*arguments, **options)

    trainer.do_what_is_due = note
    assert trainer.run()
    (first, first_moments), (second, second_moments), (third, _) = states[:3]
    assert equal(first, second)
    assert equal(first_moments, second_moments)
    assert not equal(second, third)
    assert trainer.progress.counts == {"encoder": 5, "decoder": 5, "base_fusion": 3, "detail_fusion": 3}
    assert all(value.isfinite().all() for value in weights(trainer.network).values())
    said = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert len(said) == 1
    assert said[0].startswith("step 2 skipped: total, ssim_ir, mse_ir, decomposition")
    assert said[0].endswith("not finite; samples: sample 4, sample 5, sample 6, sample 7")


def moments(trainer):
    states = trainer.optimizer.state_dict()["state"]
    return {f"{i}.{key}": value for i, state in states.items() for key, value in state.items()}


def test_a_gradient_that_is_not_finite_is_skipped_too(tmp_path, capsys):
    network = Toy()

    class Steep(Restore):
        def forward(self, batch):
            losses = super().forward(batch)
            losses["total"].register_hook(lambda gradient: gradient * math.inf)
            return losses

    phases = [Phase("one", 2, Steep(network, PARTS), PARTS)]
    before = weights(network)
    assert tiny.trainer(tmp_path, network=network, phases=phases).run()
    assert equal(weights(network), before)
    assert "step 1 skipped: gradient of first, gradient of second" in capsys.readouterr().out


def test_many_in_a_row_end_the_run(tmp_path):
    bad = poisoned(*range(3, 40))
    trainer = tiny.trainer(tmp_path, batches=bad, patience=4, every=Every(log=1, save=2))
    with pytest.raises(Diverged, match=r"4 steps in a row were not finite, the last at step 7.*step_00000006.pt"):
        trainer.run()
    _, state = trainer.checkpoints.newest(pytest.fail)
    assert all(value.isfinite().all() for value in state["network"].values())
    again = tiny.trainer(tmp_path, batches=bad, patience=4)  # patience does not begin anew with a resumed run
    again.restore(state)
    with pytest.raises(Diverged, match="last at step 7"):
        again.run()


def fused_run(folder, late, fused=True, **options):
    """A run with the optimizer of a GPU, which can skip a step by itself, and whether the host then trusts it to."""
    torch.manual_seed(0)
    network = CDDFuse(**tiny.NETWORK)
    groups = [{"params": [*part.parameters()], "name": name} for name, part in network.named_children()]
    optimizer = torch.optim.Adam(groups, lr=1e-3, fused=fused)
    run = tiny.trainer(folder, network=network, optimizer=optimizer, **options)
    run.late = late
    return run


def test_a_verdict_that_is_read_a_step_later_changes_nothing(tmp_path, capsys):
    """Skipped steps at the end of a phase, at a checkpoint and on either side of one among them."""
    found = []
    for late in (False, True):
        folder = tmp_path / str(late)
        every = Every(log=4, save=3)
        run = fused_run(folder, late, steps=5, batches=poisoned(1, 2, 3, 4, 9), ema=0.9, every=every)
        assert run.run()
        said = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        logged = [{k: v for k, v in record.items() if k != "speed"} for record in log]
        saved = run.checkpoints.newest(pytest.fail)[1]["progress"]
        found.append(
            (weights(run.network), weights(run.ema.module), moments(run), vars(run.progress), saved, said, logged)
        )
    for now, later in zip(*found, strict=True):
        assert (
            equal(now, later) if isinstance(now, dict) and torch.is_tensor(next(iter(now.values()))) else now == later
        )
    progress, said = found[1][3], found[1][5]
    assert progress["counts"] == {"encoder": 5, "decoder": 5, "base_fusion": 4, "detail_fusion": 4}
    assert [line.split()[1] for line in said] == ["2", "3", "4", "5", "10"]


def test_a_run_that_diverged_ends_a_step_later(tmp_path):
    run = fused_run(tmp_path, True, batches=poisoned(*range(3, 40)), patience=4, every=Every(log=100, save=100))
    with pytest.raises(Diverged, match=r"4 steps in a row were not finite, the last at step 7"):
        run.run()
    assert run.progress.step == 7


def test_a_run_goes_on_with_another_devices_optimizer(tmp_path):
    """From a checkpoint whose optimizer is not fused to one that is, and back. The paths part by rounding alone, which
    Adam enlarges where a gradient is next to nothing: as a whole, by little of the way."""
    found = []
    for folder, kinds in {"a": (None, True, None), "b": (None, None, None)}.items():
        state = None
        for end, fused in zip((2, 4, 6), kinds, strict=True):
            run = fused_run(tmp_path / folder, bool(fused), fused, steps=3)
            if state:
                run.restore(state)
            run.phases = [replace(phase, end=min(phase.end, end)) for phase in run.phases]
            assert run.run()
            state = run.checkpoints.newest(pytest.fail)[1]
        assert run.progress.step == 6
        found.append(torch.cat([value.flatten() for value in weights(run.network).values()]))
    start = torch.cat([value.flatten() for value in weights(fused_run(tmp_path, False).network).values()])
    assert (found[0] - found[1]).norm() < 0.02 * (found[0] - start).norm()


# --- a picture that cannot be read ----------------------------------------------------------------------------------


def broken(at, error):
    """Batches that end in `error` where number `at` is to be read."""

    def stream(start):
        for i, batch in enumerate(tiny.batches(4)(start), start=start):
            if i == at:
                raise error
            yield batch

    return stream


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("ir/7.png is truncated"), "ir/7.png is truncated"),
        (FileNotFoundError(2, "No such file or directory", "ir/7.png"), "ir/7.png: No such file or directory"),
    ],
)
def test_the_steps_before_an_unreadable_picture_are_saved(tmp_path, error, reason):
    """Its batch is the second of two that make a step; mended and resumed, the run is the same as without the fault."""
    trainer = tiny.trainer(tmp_path / "a", steps=3, batches=broken(7, error), accumulation=2)
    with pytest.raises(ValueError, match=f"^{reason}; step 3 is saved: mend the file and --resume continues$"):
        trainer.run()
    path, state = trainer.checkpoints.newest(pytest.fail)
    assert path.name == "step_00000003.pt"
    mended = tiny.trainer(tmp_path / "a", steps=3, accumulation=2)
    mended.restore(state)
    assert mended.run()
    whole = tiny.trainer(tmp_path / "b", steps=3, accumulation=2)
    assert whole.run()
    assert equal(weights(mended.network), weights(whole.network))


def test_an_unreadable_first_picture_leaves_nothing_to_save(tmp_path):
    trainer = tiny.trainer(tmp_path, batches=broken(0, ValueError("x")))
    with pytest.raises(ValueError, match=r"^x$"):
        trainer.run()
    assert trainer.checkpoints.last() is None


# --- averaged weights, judging --------------------------------------------------------------------------------------


def test_averaged_weights_are_judged_pictured_and_delivered(tmp_path):
    seen = []

    def measure(network):
        seen.append(weights(network))
        return {"score": -float(len(seen))}  # worse every time, and lower is better

    trainer = tiny.trainer(
        tmp_path, steps=2, ema=0.5, judge=Judge(measure, "score", False), every=Every(log=1, validate=1),
        shown=[{k: v for k, v in next(tiny.batches(1)(0)).items() if k in ("ir", "vis")}],
    )  # fmt: skip
    averages = [weights(trainer.network)]
    count = trainer.count

    def follow(phase, finite):
        averages.append({k: 0.5 * averages[-1][k] + 0.5 * v for k, v in trainer.network.state_dict().items()})
        count(phase, finite)

    trainer.count = follow
    assert trainer.run()
    assert len(seen) == 4
    for found, expected in zip(seen, averages[1:], strict=True):
        assert all(torch.allclose(found[k], expected[k], atol=1e-7) for k in found)
    assert equal(weights(trainer.network_to_deliver()), seen[-1])
    assert not equal(weights(trainer.network), seen[-1])
    assert trainer.progress.best == -4
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    assert trainer.phases[0].objective.network is trainer.network


@pytest.mark.parametrize(("higher", "best"), [(True, 3.0), (False, 1.0)])
def test_the_best_is_kept_in_the_metrics_own_direction(tmp_path, higher, best):
    scores = iter([2.0, math.nan, 3.0, 1.0])
    judge = Judge(lambda network: {"score": next(scores)}, "score", higher)
    trainer = tiny.trainer(tmp_path, steps=2, judge=judge, every=Every(validate=1))
    trainer.run()
    kept = torch.load(trainer.checkpoints.folder / "best.pt", weights_only=True)["progress"]
    assert kept["best"] == kept["metrics"]["score"] == best


# --- options that must not change the result ------------------------------------------------------------------------


def test_two_half_batches_equal_a_whole_one(tmp_path):
    """SHIP's loss is a mean over samples. In float64, where only a wrong weight could make a difference."""
    results = []
    for batch, accumulation in ((4, 1), (2, 2)):
        network, phases = ship()
        run = tiny.trainer(
            tmp_path / str(batch), network=network, phases=phases, dtype=torch.float64, batch=batch,
            accumulation=accumulation,
        )  # fmt: skip
        run.run()
        results.append(weights(network))
    # Measured 5e-11: Adam enlarges rounding where a gradient is next to nothing.
    assert max((results[0][k] - results[1][k]).abs().max() for k in results[0]) < 1e-8
    assert not equal(results[0], weights(ship()[0].double()))


def gradients_and_memory(objective, batch):
    """Gradients, and the bytes that the forward pass keeps for the backward pass."""
    kept = {}

    def note(x):
        kept[x.untyped_storage().data_ptr()] = (x.untyped_storage().nbytes(), x)
        return x

    with saved_tensors_hooks(note, lambda x: x):
        total = objective(batch)["total"]
    size = sum(n for n, _ in kept.values())
    total.backward()
    return {name: p.grad for name, p in objective.network.named_parameters() if p.grad is not None}, size


@pytest.mark.parametrize("method", ["cddfuse", "ship"])
def test_checkpointing_keeps_gradients_and_saves_memory(method):
    batch = {k: v for k, v in next(tiny.batches(2)(0)).items() if k != "name"}
    found = []
    for checkpointing in (False, True):
        if method == "cddfuse":
            torch.manual_seed(0)
            objective = CDDFuseReconstruction(
                network=CDDFuse(dim=16, heads=2, blocks=4), weights=CDDFuseReconstruction.published
            )
        else:
            objective = ship()[1][0].objective
        if checkpointing:
            checkpoint_activations(objective.network)
        found.append(gradients_and_memory(objective, batch))
    (plain, before), (recomputed, after) = found
    assert equal(plain, recomputed)
    assert after < 0.5 * before


def test_bf16_computes_in_bf16_and_loses_in_float32(tmp_path):
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    torch.manual_seed(0)
    network = CDDFuse(**tiny.NETWORK)
    run = tiny.trainer(tmp_path, network=network, steps=3, shown=[])
    run.accelerator = accelerator
    types = {"inside": set(), "terms": set()}
    network.encoder.blocks[0].feed_forward.project.register_forward_hook(lambda m, i, o: types["inside"].add(o.dtype))
    for phase in run.phases:
        phase.objective.terms = record_types(phase.objective.terms, types["terms"])
    assert run.run()
    assert types == {"inside": {torch.bfloat16}, "terms": {torch.float32}}
    assert run.progress.counts == {"encoder": 6, "decoder": 6, "base_fusion": 3, "detail_fusion": 3}
    assert all(p.dtype == torch.float32 for p in network.parameters())


def record_types(terms, into):
    def recording(batch):
        found = terms(batch)
        into.update(value.dtype for value in found.values())
        return found

    return recording


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cddfuse", "ship"])
def test_compiled_steps_are_the_same_steps(tmp_path, method):
    """Minutes, of the compiler's. Pictures have another size, which nothing is compiled for."""
    runs = []
    for compile in (False, True):
        network, phases = ship() if method == "ship" else (None, None)
        folder = tmp_path / str(compile)
        shown = [{k: torch.rand(1, 1, 20, 36) for k in ("ir", "vis")}]
        every = Every(log=1, validate=1)
        options = {"network": network, "phases": phases, "shown": shown, "every": every, "steps": 2}
        assert tiny.trainer(folder, compile=compile, **options).run()
        runs.append([json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()])
    # Not weights: SHIP's biases ahead of an instance norm have no gradient but rounding, which Adam enlarges.
    for plain, compiled in zip(*runs, strict=True):
        assert compiled == pytest.approx(plain, rel=1e-3)
