"""Options -> a trainer: the second half of `build.py`, apart because comparing needs no training code.

Everything that can be wrong with a training config is found here, before the first step.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import timm.optim
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor, nn

import fusion.data.folder
import fusion.data.patch_data  # registers the data sets, as the one above
import fusion.metrics
import fusion.objectives  # registers the objectives
from fusion import build, images, infer
from fusion.data.doctor import quick_check
from fusion.data.sampler import loader
from fusion.networks.base import Network, checkpoint_activations
from fusion.options import DatasetOptions, PhaseOptions, TrainOptions, ValidationOptions
from fusion.pairing import Pair, find_pairs
from fusion.precision import round_products_in_training
from fusion.reading import How
from fusion.registry import DATASETS, NETWORKS, OBJECTIVES, UnknownName, did_you_mean
from fusion.training import rates
from fusion.training.phases import Every, Judge, Phase, trained_steps
from fusion.training.trainer import Trainer

SHOWN_SIZE = 256  # pixels; side of the pictures of a run


class NothingToTrain(ValueError):
    """The config's network is rule-based."""


def nothing_to_train(name: str) -> NothingToTrain:
    return NothingToTrain(f"{name} has no training phases; python test.py fuses and compares with it")


@dataclass(frozen=True)
class Run:
    """A trainer, what its card says about the data, and what looks wrong with the pictures, a line each."""

    trainer: Trainer
    network: Network
    data: dict[str, Any]
    remarks: list[str]


def training(options: TrainOptions, config: str | Path, folder: Path) -> Run:
    """Build all of a run. `config` is what messages call the file; `folder` takes the run's files.

    Raises ValueError, UnknownName and OSError, in one line each, and NothingToTrain.
    """
    try:
        return _training(options, folder)
    except NothingToTrain:
        raise
    except (ValueError, UnknownName, OSError) as error:
        raise ValueError(f"{config}: {error}") from error


def _training(options: TrainOptions, folder: Path) -> Run:
    network = _network(options)
    data = _dataset(options)
    per_epoch = len(data) / (options.data.batch_size * options.accumulation)
    phases = _phases(options.phases, network, per_epoch)
    rate_tables = _rates(options, phases, per_epoch)
    judge, shown = _judge(options.validation), _shown(options.validation, data)
    accelerator = _accelerator(options)
    optimizer = _optimizer(options, network, phases, accelerator.device)
    if options.checkpointing:
        checkpoint_activations(network)
    summary = {"name": options.data.name, **options.data.options, "pairs": len(data), "sha256": data.data_hash}
    trainer = Trainer(
        network=network,
        phases=phases,
        optimizer=optimizer,
        rates=rate_tables,
        batches=_batches(options, data, accelerator),
        accelerator=accelerator,
        folder=folder,
        config={
            **options.model_dump(mode="json"),
            "data_sha256": summary["sha256"],
            "computed_in": accelerator.mixed_precision,
        },
        every=Every(options.log_every, options.save_every, options.validation.every if options.validation else 0),
        keep=options.keep,
        accumulation=options.accumulation,
        ema=options.ema,
        judge=judge,
        shown=shown,
        patience=options.patience,
        compile=_compiles(accelerator.device) if options.compile == "auto" else options.compile,
    )
    return Run(trainer, network, summary, [*data.remarks(), *_remarks(options.validation)])


# --- parts ----------------------------------------------------------------------------------------------------------


def _network(options: TrainOptions) -> Network:
    name = options.network.name
    if not NETWORKS[name].learned or not options.phases:
        raise nothing_to_train(name)
    torch.manual_seed(options.seed)
    return build.network(name, options.weights, options.network.options).train()


def _dataset(options: TrainOptions):
    data = DATASETS.build(options.data.name, options.data.options)
    if len(data) == 0:
        raise ValueError("data: the training set is empty")
    first = data[0]
    for i, phase in enumerate(options.phases):
        for key in OBJECTIVES[phase.objective.name].batch_keys:
            if key not in first:
                remedy = ": use the data set 'folder' with `mask: true` (masks are computed where no files are given)"
                raise ValueError(
                    f"phases[{i}].objective: {phase.objective.name} needs '{key}', which the data lack"
                    + (remedy if key == "mask" else "")
                )
    return data


def _accelerator(options: TrainOptions) -> Accelerator:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    device = build.device(_own_device(options.device) if processes > 1 else options.device)
    if options.data.batch_size % processes:
        raise ValueError(
            f"data.batch_size: {options.data.batch_size} does not divide among {processes} processes: use a multiple"
        )
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision: fp16 needs a GPU; use bf16 or fp32 on a CPU")
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)
        round_products_in_training()
        torch.backends.cudnn.benchmark = not options.deterministic  # every batch has one size
        _choose_deterministic_kernels(options.deterministic)
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        gradient_accumulation_steps=options.accumulation,
        cpu=device.type == "cpu",
        # The other processes wait while the first one validates.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=2))],
    )


def _choose_deterministic_kernels(wanted: bool) -> None:
    """Where PyTorch has none it says so and takes the other."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS's own condition
    torch.backends.cudnn.deterministic = wanted
    torch.use_deterministic_algorithms(wanted, warn_only=True)


def _compiles(device: torch.device) -> bool:
    """Whether torch.compile can make kernels for `device`. On CPUs it has gained nothing (docs/LOG.md)."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return device.type == "cuda" and any(map(shutil.which, ("gcc", "cc", "clang")))


def _own_device(name: str) -> str:
    """The GPU of this process among several, each of which needs one to itself."""
    if name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if processes > gpus:
        raise ValueError(f"{processes} processes but {gpus} GPUs here: use --nproc-per-node {gpus}, or device=cpu")
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def computes_in_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bf16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return device.type == "cpu" and any(ask() for ask in known if ask)


def _phases(options: list[PhaseOptions], network: Network, per_epoch: float) -> list[Phase]:
    phases, end = [], 0
    for i, phase in enumerate(options):
        arguments = {"network": network, "weights": phase.objective.weights, **phase.objective.options}
        try:
            objective = OBJECTIVES.build(phase.objective.name, arguments)
        except (ValueError, UnknownName) as error:
            raise ValueError(f"phases[{i}].objective: {error}") from error
        trains = tuple(phase.trains or objective.trains)
        parts = [name for name, _ in network.named_children()]
        for part in trains:
            if part not in parts:
                hint = did_you_mean(part, parts)
                raise ValueError(f"phases[{i}].trains: no part '{part}'; the network has: {', '.join(parts)}.{hint}")
        end += steps(phase.length, per_epoch)
        phases.append(Phase(phase.name, end, objective, trains, phase.clip.norm if phase.clip else math.inf))
    return phases


def steps(length: int | str, per_epoch: float) -> int:
    """5000 -> 5000; "40 epochs" -> 40 * per_epoch, at least 1."""
    if isinstance(length, int):
        return length
    return max(1, round(int(length.split()[0]) * (per_epoch if "epoch" in length else 1)))


FUSED = ("adam", "adamw")
"""Optimizers that take a step of all weights in one launch, on a GPU."""


def _optimizer(
    options: TrainOptions, network: Network, phases: list[Phase], device: torch.device
) -> torch.optim.Optimizer:
    groups = [
        {"params": list(part.parameters()), "name": name}
        for name, part in network.named_children()
        if name in trained_steps(phases)
    ]
    name, how = options.optimizer.name, options.optimizer.options
    if device.type == "cuda" and name.lower() in FUSED and "foreach" not in how:
        how = {"fused": True, **how}
    known = timm.optim.list_optimizers(exclude_filters=["lbfgs"])
    if name.lower() not in known:
        hint = did_you_mean(name, known)
        raise ValueError(f"optimizer: no optimizer named '{name}'. Known to timm: {', '.join(known)}.{hint}")
    try:
        return timm.optim.create_optimizer_v2(groups, opt=name, lr=options.rate.lr, **how)
    except Exception as error:  # whatever an optimizer's constructor makes of options that it does not like
        raise ValueError(f"optimizer: {name} with {options.optimizer.options}: {error}") from error


def _rates(options: TrainOptions, phases: list[Phase], per_epoch: float) -> dict[str, list[float]]:
    rate, counts = options.rate, trained_steps(phases)
    per_unit = per_epoch if rate.unit == "epoch" else 1
    shape = {"per_unit": per_unit, "options": rate.options, "floor": rate.floor, "warmup": rate.warmup}
    try:
        tables = {n: rates.tabulate(rate.name, lr=rate.lr, steps=n, **shape) for n in set(counts.values())}
    except (ValueError, TypeError, UnknownName) as error:
        raise ValueError(f"rate: {error}") from error
    return {part: tables[n] for part, n in counts.items()}


def _batches(options: TrainOptions, data, accelerator: Accelerator) -> Callable[[int], Iterator[dict]]:
    def start(batch: int) -> Iterator[dict]:
        return loader(
            data,
            options.data.batch_size,
            options.seed,
            start_step=batch,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
            workers=options.data.workers,
            pin_memory=accelerator.device.type == "cuda",
        )

    return start


# --- validation -----------------------------------------------------------------------------------------------------


def _judge(options: ValidationOptions | None) -> Judge | None:
    if options is None:
        return None
    names = options.metrics.names
    if names is not None and options.best not in names:
        names = [*names, options.best]
    metrics = fusion.metrics.select(options.metrics.profile, names)
    if options.best not in metrics:
        raise ValueError(f"validation.best: no metric '{options.best}'; there are: {', '.join(metrics)}")
    found = [(dataset, _pairs(dataset, options.limit)) for dataset in options.datasets]
    sets = [(dataset, pairs, images.ranges_of(pairs, dataset.range)) for dataset, pairs in found]

    def measure(network: nn.Module) -> dict[str, float]:
        """Means over all validation pairs, of the 8-bit gray pictures."""
        sums: dict[str, list[float]] = {name: [] for name in metrics}
        for dataset, pairs, (of_ir, of_vis) in sets:
            for pair in pairs:
                ir, vis = images.read(pair.ir, of_ir), images.read(pair.vis, of_vis)
                fused = infer.fuse(network, ir, vis, output="gray", task=dataset.task, range="full")
                levels = [images.grey_levels(x) for x in (fused, ir, vis)]
                for name, metric in metrics.items():
                    sums[name].append(metric(*levels))
        return {name: float(np.mean(values)) for name, values in sums.items()}

    return Judge(measure, options.best, metrics[options.best].higher_is_better is not False)


def _remarks(options: ValidationOptions | None) -> list[str]:
    sets = options.datasets if options else []
    return [
        f"validation: {dataset.name}: {line}"
        for dataset in sets
        for line in quick_check(_pairs(dataset, options.limit), task=dataset.task)
    ]


def _pairs(options: DatasetOptions, limit: int | None) -> list[Pair]:
    try:
        pairs = find_pairs(options.root, options.ir, options.vis, options.match).pairs
    except (ValueError, OSError) as error:
        raise ValueError(
            f"validation: data set {options.name}: {error}; name another in validation.datasets, or validation=null"
        ) from error
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[int(i)] for i in np.linspace(0, len(pairs) - 1, limit)]


def _shown(options: ValidationOptions | None, data) -> list[dict[str, Tensor]]:
    """Batches of one pair each, at most SHOWN_SIZE a side: validation pairs, or training pairs where there are none."""
    if options is None:
        return [_as_batch(data[i]["ir"], data[i]["vis"]) for i in range(min(2, len(data)))]
    sets = [(_pairs(dataset, None), dataset.range) for dataset in options.datasets]
    ranged = [(pair, ranges) for pairs, how in sets for ranges in [images.ranges_of(pairs, how)] for pair in pairs]
    chosen = [ranged[int(i)] for i in np.linspace(0, len(ranged) - 1, min(options.pictures, len(ranged)))]
    return [_as_batch(_plane(pair.ir, of_ir), _plane(pair.vis, of_vis)) for pair, (of_ir, of_vis) in chosen]


def _plane(path: Path, how: How) -> Tensor:
    return torch.from_numpy(images.luminance(images.read(path, how)))[None]


def _as_batch(ir: Tensor, vis: Tensor) -> dict[str, Tensor]:
    h, w = ir.shape[-2:]
    top, left = max(0, h - SHOWN_SIZE) // 2, max(0, w - SHOWN_SIZE) // 2
    return {k: x[None, :, top : top + SHOWN_SIZE, left : left + SHOWN_SIZE] for k, x in (("ir", ir), ("vis", vis))}


def is_first_process() -> bool:
    """Whether this process speaks for all, also before they have met."""
    return os.environ.get("RANK", "0") == "0"
