"""The training loop: phases of a network under their objectives, on a CPU, a GPU or many.

It knows no method by name, no YAML and no metric: phases are values, validation is a function. A batch is a function
of (seed, step), a part's rate of its own count, so a run that resumes continues bit for bit.
"""

from __future__ import annotations

import contextlib
import copy
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from fusion.training.checkpoint import Checkpoints
from fusion.training.phases import Phase
from fusion.training.watch import Watch


class Diverged(RuntimeError):
    """Too many steps in a row had a loss or a gradient that is not finite."""


@dataclass(frozen=True)
class Every:
    """How often, in steps; 0: never but at the end."""

    log: int = 50
    save: int = 1000
    validate: int = 0


@dataclass
class Progress:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """Part -> steps it has learned."""
    best: float | None = None
    not_finite: int = 0
    """Steps in a row that were skipped."""


@dataclass(frozen=True)
class Judge:
    """Validation as the trainer sees it.

    measure: network -> {metric: value}, called in one process only. by, higher_is_better: what `best.pt` is best by.
    """

    measure: Callable[[nn.Module], dict[str, float]]
    by: str
    higher_is_better: bool

    def prefers(self, new: float, old: float | None) -> bool:
        return math.isfinite(new) and (old is None or (new > old if self.higher_is_better else new < old))


class Trainer:
    """Trains `network` through `phases`.

    optimizer: one, with a group per part that has the part's `name`. rates: part -> rate of each of its own steps.
    batches: start step -> endless batches of this process's share. accumulation: batches per step.
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
        config: dict,
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
        # Copied before compilation: what is validated takes pictures of any size, which compiled code would not like.
        self.ema = ModelEmaV3(network, decay=ema) if ema else None
        self.plain = self.ema.module if self.ema else copy.deepcopy(network)
        self.optimizer = accelerator.prepare(optimizer)
        self.stop_asked = False
        if compile:
            compile_parts(network)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Train to the end; False where a signal stopped it first (a checkpoint is saved).

        Raises Diverged, and OSError where a checkpoint cannot be written.
        """
        progress = self.progress
        self.watch = Watch(
            self.folder,
            start=progress.step,
            total=self.phases[-1].end,
            silent=not self.accelerator.is_main_process,
        )
        stream = self.batches(progress.step * self.accumulation)
        try:
            with self.signals():
                for phase in self.phases:
                    self.train_phase(phase, stream)
                    if self.stop_asked:
                        break
        finally:
            self.watch.close()
            if hasattr(stream, "close"):
                stream.close()
        return not self.stop_asked

    def train_phase(self, phase: Phase, stream: Iterator[dict]) -> None:
        if self.progress.step >= phase.end:
            return
        for name, part in self.network.named_children():
            part.requires_grad_(name in phase.trains)
        objective = self.accelerator.prepare(phase.objective)
        objective.train()
        while self.progress.step < phase.end:
            self.set_rates()
            losses, names, norms = self.one_step(objective, phase, stream)
            self.progress.step += 1
            self.after_step(phase, losses, names, norms)
            if self.stop_asked:
                self.save()
                return

    def one_step(self, objective: nn.Module, phase: Phase, stream: Iterator[dict]) -> tuple[dict, list[str], dict]:
        """(loss terms, sample names, gradient norm of each part before clipping); a bad step changes no weight."""
        names, patches, finite = [], 0, True
        sums: dict[str, Tensor] = {}
        for i in range(self.accumulation):
            batch = self.to_device(next(stream))
            names += list(batch.get("name", []))
            patches += len(batch["ir"])
            last = i == self.accumulation - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(objective):
                losses = objective(batch)
                finite = finite and self.everywhere(bool(losses["total"].isfinite()))
                if finite:
                    self.accelerator.backward(losses["total"])
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach() / self.accumulation
        norms = self.clip(phase) if finite else {}
        finite = finite and all(map(math.isfinite, norms.values()))
        if finite or self.accelerator.scaler is not None:
            self.optimizer.step()  # fp16's scaler looks for itself and lowers its scale
        self.optimizer.zero_grad(set_to_none=True)
        self.watch.step(patches * self.accelerator.num_processes)
        if finite:
            self.count(phase)
        else:
            self.progress.not_finite += 1
        return sums, names, norms

    def count(self, phase: Phase) -> None:
        self.progress.not_finite = 0
        for part in phase.trains:
            self.progress.counts[part] += 1
        if self.ema:
            self.ema.update(self.network)

    def clip(self, phase: Phase) -> dict[str, float]:
        """Clip the gradient of each part by itself; returns the norms before."""
        self.accelerator.unscale_gradients()
        limit = math.inf if phase.clip is None else phase.clip
        parts = {name: getattr(self.network, name) for name in phase.trains}
        return {name: float(nn.utils.clip_grad_norm_(part.parameters(), limit)) for name, part in parts.items()}

    def after_step(self, phase: Phase, losses: dict, names: list[str], norms: dict) -> None:
        """Log, validate, save, when due."""
        step, end = self.progress.step, self.phases[-1].end
        if self.progress.not_finite:
            self.report_skipped(losses, names, norms)
        if due(step, self.every.log) or step == end:
            terms = {k: float(self.accelerator.reduce(v, "mean")) for k, v in losses.items()}
            rates = {part: self.rate(part) for part in phase.trains}
            self.watch.scalars(step, phase.name, terms, norms, rates)
        if due(step, self.every.validate) or step == end:
            self.validate(phase)
        self.stop_asked = not self.everywhere(not self.stop_asked)
        if due(step, self.every.save) or step == end:
            self.save()

    def report_skipped(self, losses: dict, names: list[str], norms: dict) -> None:
        bad = [name for name, value in {**losses, **norms}.items() if not math.isfinite(float(value))]
        message = f"step {self.progress.step} skipped: {', '.join(bad) or 'another process'} not finite; samples: "
        self.watch.say(message + (", ".join(names) or "unnamed"))
        if self.progress.not_finite >= self.patience:
            last = self.checkpoints.paths()
            raise Diverged(
                f"{self.patience} steps in a row were not finite, the last at step {self.progress.step}; "
                f"the last good checkpoint: {last[-1] if last else 'none'}. Lower the rate, or look at the samples named"
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

    def everywhere(self, here: bool) -> bool:
        """Whether `here` is true in every process."""
        if self.accelerator.num_processes == 1:
            return here
        return bool(self.accelerator.reduce(torch.tensor(float(here), device=self.device)) == self.accelerator.num_processes)

    @contextlib.contextmanager
    def signals(self):
        """SIGTERM and Ctrl-C ask for a stop after the step; a second Ctrl-C stops at once."""

        def ask(number, frame):
            if self.stop_asked and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.stop_asked = True

        old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    # --- validation, checkpoints ------------------------------------------------------------------------------------

    def network_to_deliver(self) -> nn.Module:
        """The averaged weights where they are kept, else the present ones; not compiled, on the device."""
        if self.ema is None:
            self.plain.load_state_dict(self.network.state_dict())
        return self.plain

    def validate(self, phase: Phase) -> None:
        """Measure and picture, in the first process; the others wait."""
        if self.accelerator.is_main_process:
            if self.judge:
                metrics = self.judge.measure(self.network_to_deliver())
                self.watch.validation(self.progress.step, metrics)
                if self.judge.prefers(metrics[self.judge.by], self.progress.best):
                    self.progress.best = metrics[self.judge.by]
                    self.checkpoints.write(self.state(), "best.pt")
            rows = [phase.objective.pictures(self.to_device(batch)) for batch in self.shown]
            self.watch.pictures(self.progress.step, rows)
        self.accelerator.wait_for_everyone()

    def save(self) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.state(), self.progress.step)
        self.accelerator.wait_for_everyone()

    def state(self) -> dict:
        scaler = self.accelerator.scaler
        return {
            "network": self.network.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "progress": vars(self.progress).copy(),
            "rng": torch.get_rng_state(),
            "config": self.config,
        }

    def restore(self, state: dict) -> None:
        """Continue from a checkpoint's dictionary."""
        self.network.load_state_dict(state["network"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        torch.set_rng_state(state["rng"])


def due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def compile_parts(network: nn.Module) -> None:
    """Compile in place, which leaves the state dict's names alone: the whole, and its parts, which objectives call."""
    for module in (network, *network.children()):
        if not isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            module.compile()
