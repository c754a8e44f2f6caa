"""The training loop: phases of a network under their objectives, on a CPU, a GPU or many.

It knows no method by name, no YAML and no metric: phases are values, validation is a function. A batch is a function
of (seed, step), a part's rate of its own count, so a run that resumes continues bit for bit.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.utils import gather_object
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from fusion.memory import is_about_memory
from fusion.training.checkpoint import Checkpoints
from fusion.training.phases import Every, Judge, Phase
from fusion.training.stop import Stop
from fusion.training.watch import Watch


class Diverged(RuntimeError):
    """Too many steps in a row had a loss or a gradient that is not finite."""


@dataclass
class Progress:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """Part -> steps it has learned."""
    metrics: dict[str, float] | None = None
    """Of the last validation."""
    best: float | None = None
    not_finite: int = 0
    """Steps in a row that were skipped."""


class Verdict:
    """What a step was: its losses, its gradients' norms (by part, before clipping), whether a signal asks to stop.

    values: the norms of the phase's parts and the wish to stop, in one tensor, which travels to the host while the
    device goes on; who first wants to know one of them waits for it.
    """

    def __init__(self, step: int, phase: Phase, losses: dict[str, Tensor], names: list[str], values: Tensor):
        self.step, self.phase, self.losses, self.names = step, phase, losses, names
        self._values = values.to("cpu", non_blocking=True)
        self._arrived = torch.cuda.Event() if values.is_cuda else None
        if self._arrived:
            self._arrived.record()

    @functools.cached_property
    def _read(self) -> list[float]:
        if self._arrived:
            self._arrived.synchronize()
        return self._values.tolist()

    @property
    def norms(self) -> dict[str, float]:
        return dict(zip(self.phase.trains, self._read[:-1], strict=True))

    @property
    def asked(self) -> bool:
        return self._read[-1] > 0

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.norms.values()))


class Trainer:
    """Trains `network` through `phases`.

    optimizer: one, with a group per part that has the part's `name`. rates: part -> rate of each of its own steps.
    batches: start -> endless batches of this process's share, from that batch on. accumulation: batches per step.
    config: what a resumed run must agree with; written into every checkpoint.
    ema: decay of the averaged weights, None for none; where they exist they are validated and delivered.
    shown: batches of one pair each, pictured at validation. patience: skipped steps in a row before giving up.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        phases: list[Phase],
        optimizer: torch.optim.Optimizer,
        rates: dict[str, list[float]],
        batches: Callable[[int], Iterator[dict]],
        accelerator: Accelerator,
        folder: Path,
        config: dict[str, Any],
        every: Every = Every(),  # noqa: B008 -- frozen
        keep: int = 3,
        accumulation: int = 1,
        ema: float | None = None,
        judge: Judge | None = None,
        shown: list[dict[str, Tensor]] | None = None,
        patience: int = 20,
        compile: bool = False,
    ):
        self.accelerator, self.device = accelerator, accelerator.device
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.phases, self.rates, self.batches = phases, rates, batches
        self.folder, self.config, self.every = folder, config, every
        self.accumulation, self.judge, self.shown, self.patience = accumulation, judge, shown or [], patience
        self.checkpoints = Checkpoints(folder / "checkpoints", keep)
        self.progress = Progress(counts=dict.fromkeys(rates, 0))
        # Copied before compilation: validation shows pictures of many sizes, each of which would be compiled for.
        self.ema = ModelEmaV3(network, decay=ema) if ema else None
        self.plain = self.ema.module if self.ema else copy.deepcopy(network)
        self.optimizer = accelerator.prepare(optimizer)
        self.stop, self.someone_asks = Stop(), False
        self.unsettled: Verdict | None = None
        # An optimizer that itself leaves weights alone where a gradient is not finite need not wait for the host.
        self.late = self.device.type == "cuda" and getattr(optimizer, "_step_supports_amp_scaling", False)
        if compile:
            compile_parts(network)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Train to the end; False where a signal (`stop.asked`) ended it first, and a checkpoint is saved.

        Raises Diverged, OSError where a checkpoint cannot be written, and whatever reading the data raises.
        """
        start, end = self.progress.step, self.phases[-1].end
        self.watch = Watch(self.folder, start=start, total=end, silent=not self.accelerator.is_main_process)
        stream = self.batches(start * self.accumulation)
        with contextlib.closing(self.watch), contextlib.closing(stream), self.stop:
            return all(self.train_phase(phase, stream) for phase in self.phases)

    def train_phase(self, phase: Phase, stream: Iterator[dict]) -> bool:
        if self.progress.step >= phase.end:
            return True
        for name, part in self.network.named_children():
            part.requires_grad_(name in phase.trains)
        objective = self.accelerator.prepare(phase.objective)
        objective.train()
        while self.progress.step < phase.end:
            verdict = self.one_step(objective, phase, stream)
            stop = self.someone_asks if self.accelerator.num_processes > 1 else self.stop.asked > 0
            self.do_what_is_due(verdict, save=stop)
            if stop:
                return False
        return True

    def one_step(self, objective: nn.Module, phase: Phase, stream: Iterator[dict]) -> Verdict:
        """What is not finite changes no weight."""
        sums: Tensor | float = 0.0
        names: list[str] = []
        for i in range(self.accumulation):
            batch = self.next_batch(stream)
            names += batch.get("name", [])
            last = i == self.accumulation - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(objective):
                losses = objective(batch)
                # A loss that is not finite turns every gradient into NaN, which all processes see in the norms below.
                poison = losses["total"].detach() * 0 + 1
                self.accelerator.backward(losses["total"], gradient=poison)
            terms = torch.stack([value.detach() for value in losses.values()])  # together: fewer launches
            sums = sums + terms / self.accumulation if self.accumulation > 1 else terms
            self.watch.patches += len(batch["ir"]) * self.accelerator.num_processes
        self.settle()  # the step before: its verdict has arrived while the device was busy with this one
        self.set_rates()
        values = self.clip(phase)
        self.progress.step += 1
        losses = dict(zip(losses, sums.unbind(), strict=True))
        verdict = self.unsettled = Verdict(self.progress.step, phase, losses, names, values)
        self.step_of_optimizer(verdict, values)
        self.optimizer.zero_grad(set_to_none=True)
        if not self.late:
            self.settle()
        return verdict

    def step_of_optimizer(self, verdict: Verdict, values: Tensor) -> None:
        if self.accelerator.scaler is None:  # fp16's scaler looks for itself, and lowers its scale
            if self.late:
                self.optimizer.optimizer.found_inf = 1 - values.isfinite().all().float()
            elif not verdict.finite:
                return
        self.optimizer.step()

    def settle(self) -> None:
        """Draw the conclusions of the last step, unless that is done: counts, averages, and whether it was skipped."""
        verdict, self.unsettled = self.unsettled, None
        if verdict:
            self.someone_asks = verdict.asked
            self.count(verdict.phase, verdict.finite)
            if self.progress.not_finite:
                self.report_skipped(verdict)

    def next_batch(self, stream: Iterator[dict]) -> dict:
        """The next batch. A picture that has become unreadable costs no steps: the run is saved first, by one process
        where there are several, which do not fail together.
        """
        try:
            return self.to_device(next(stream))
        except (ValueError, OSError) as error:
            step = self.progress.step
            if not step or not self.accelerator.is_main_process:
                raise
            self.checkpoints.save(self.state(), step)
            raise ValueError(
                f"{reason_of(error)}; step {step} is saved: mend the file and --resume continues"
            ) from error

    def clip(self, phase: Phase) -> Tensor:
        """Clip the gradient of each part by itself; returns the norms before, and whether a signal asks to stop."""
        self.accelerator.unscale_gradients()
        norms = [
            nn.utils.clip_grad_norm_(getattr(self.network, part).parameters(), phase.clip) for part in phase.trains
        ]
        # Whether a signal has reached any process travels with them: all must leave at the same step.
        values = torch.stack([*norms, torch.full_like(norms[0], self.stop.asked)])
        return self.accelerator.reduce(values, "mean") if self.accelerator.num_processes > 1 else values

    def count(self, phase: Phase, finite: bool) -> None:
        if not finite:
            self.progress.not_finite += 1
            return
        self.progress.not_finite = 0
        for part in phase.trains:
            self.progress.counts[part] += 1
        if self.ema:
            self.ema.update(self.network)

    def do_what_is_due(self, verdict: Verdict, *, save: bool) -> None:
        """Log, validate, save."""
        step, phase = self.progress.step, verdict.phase
        at_end = step == self.phases[-1].end
        log, validate, save = (
            at_end or now
            for now in (due(step, self.every.log), due(step, self.every.validate), save or due(step, self.every.save))
        )
        if log or validate or save:
            self.settle()
        if log:
            means = self.accelerator.reduce(torch.stack([*verdict.losses.values()]), "mean").tolist()
            rates = {part: self.rate(part) for part in phase.trains}
            terms = dict(zip(verdict.losses, means, strict=True))
            self.watch.scalars(step, phase.name, terms, verdict.norms, rates)
        if validate:
            self.validate(phase)
        if save:
            self.save()
        self.watch.advance()

    def report_skipped(self, verdict: Verdict) -> None:
        names, bad = verdict.names, [name for name, value in verdict.losses.items() if not value.isfinite()]
        if self.accelerator.num_processes > 1:
            names, bad = gather_object(names if bad else []), list(dict.fromkeys(gather_object(bad)))
        if bad or self.accelerator.scaler is None:  # else fp16 is merely looking for its scale
            bad = bad or [f"gradient of {part}" for part, norm in verdict.norms.items() if not math.isfinite(norm)]
            samples = ", ".join(map(str, names)) or "any"
            self.watch.say(f"step {verdict.step} skipped: {', '.join(bad)} not finite; samples: {samples}")
        if self.progress.not_finite >= self.patience:
            raise Diverged(
                f"{self.patience} steps in a row were not finite, the last at step {verdict.step}; the last good "
                f"checkpoint: {self.checkpoints.last() or 'none'}. Lower rate.lr, or look at the samples named"
            )

    # --- rates, devices, processes ----------------------------------------------------------------------------------

    def rate(self, part: str) -> float:
        table = self.rates[part]
        return table[min(self.progress.counts[part], len(table) - 1)]

    def set_rates(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group["name"])

    def to_device(self, batch: dict) -> dict:
        return {k: v.to(self.device, non_blocking=True) if torch.is_tensor(v) else v for k, v in batch.items()}

    def meet(self) -> None:
        """Wait for the other processes."""
        if self.accelerator.num_processes > 1:
            # Not accelerate's barrier on a CPU: it names a GPU for every process, which a machine may not have.
            torch.distributed.barrier() if self.device.type == "cpu" else self.accelerator.wait_for_everyone()

    # --- validation, checkpoints ------------------------------------------------------------------------------------

    def network_to_deliver(self) -> nn.Module:
        """The averaged weights where they are kept, else the present ones; not compiled, on the device."""
        if self.ema is None:
            self.plain.load_state_dict(self.network.state_dict())
        return self.plain

    def validate(self, phase: Phase) -> None:
        """Measure and picture what would be delivered, in the first process; the others wait."""
        if self.accelerator.is_main_process:
            network, step = self.network_to_deliver(), self.progress.step
            self.watch.pictures(step, self.pictures(phase.objective, network))
            if self.judge:
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()  # whole pictures need other blocks than batches
                try:
                    metrics = self.progress.metrics = self.judge.measure(network)
                except Exception as error:  # one bad or large picture shall not cost the steps before it
                    self.checkpoints.save(self.state(), step)
                    if is_about_memory(error):
                        remedy = "validate on smaller pictures, or validation=null; --resume continues"
                        raise ValueError(
                            f"not enough memory to validate at step {step}, which is saved: {remedy}"
                        ) from error
                    raise
                self.watch.validation(step, metrics)
                if self.judge.prefers(metrics[self.judge.by], self.progress.best):
                    self.progress.best = metrics[self.judge.by]
                    self.checkpoints.write(self.state(), "best.pt")
        self.meet()

    def pictures(self, objective: nn.Module, network: nn.Module) -> list[dict[str, Tensor]]:
        trained = objective.network
        objective.network = network
        try:
            return [objective.pictures(self.to_device(batch)) for batch in self.shown]
        finally:
            objective.network = trained

    def save(self) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.state(), self.progress.step)
        self.meet()

    def state(self) -> dict[str, Any]:
        self.settle()
        scaler = self.accelerator.scaler
        return {
            "network": self.network.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "progress": vars(self.progress).copy(),
            "rng": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
            "config": self.config,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's dictionary."""
        self.network.load_state_dict(state["network"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        for ours, theirs in zip(self.optimizer.param_groups, state["optimizer"]["param_groups"], strict=True):
            theirs |= {how: ours[how] for how in ("fused", "foreach") if how in ours}  # this device's, not that one's
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        torch.set_rng_state(state["rng"]["cpu"])
        if len(state["rng"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])


def reason_of(error: Exception) -> str:
    """In one line; of the system's errors the file and the reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def compile_parts(network: nn.Module) -> None:
    """Compile in place, which leaves the state dict's names alone: the whole, and its parts, which objectives call."""
    for module in (network, *network.children()):
        if not isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            module.compile(dynamic=False)
