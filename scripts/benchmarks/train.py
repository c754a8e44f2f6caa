"""A training step of ours against a plain one: eager, float32, channels first, as the papers describe it (plain.py).

Each measurement is a process of its own, so that neither inherits the other's memory; the ways take turns, and the
table has medians. Ours is the trainer itself with what `train.py` would choose on the device: bf16 where it computes in
it, and on CUDA `compile: true`. Losses, clipping per part and Adam belong to a step. Processor seconds are given as
well, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from benchmarks import plain

from fusion.build_training import computes_in_bf16
from fusion.memory import keep_freed_memory
from fusion.networks import SHIP, CDDFuse
from fusion.networks.base import checkpoint_activations
from fusion.objectives import CDDFuseFusion, CDDFuseReconstruction, SHIPObjective
from fusion.precision import float32_products, round_products_in_training
from fusion.training.phases import Every, Phase
from fusion.training.trainer import Trainer

OBJECTIVES = {("cddfuse", 1): CDDFuseReconstruction, ("cddfuse", 2): CDDFuseFusion, ("ship", 1): SHIPObjective}
CLIP = {"cddfuse": 0.01, "ship": math.inf}
PUBLISHED_BATCH = {"cddfuse": 8, "ship": 4}
WARM_UP = {"cpu": 2, "cuda": 5}  # steps; compilation and cuDNN's search belong to the first
STEPS = {"cpu": 3, "cuda": 30}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", choices=sorted(PUBLISHED_BATCH), default="cddfuse")
    parser.add_argument("--phase", type=int, choices=(1, 2), default=1, help="of CDDFuse's training; SHIP has one (1)")
    parser.add_argument("--batch", type=int, help="pairs in a batch (as published: 8 for cddfuse, 4 for ship)")
    parser.add_argument("--size", type=int, default=128, help="side of the patches (128)")
    parser.add_argument("--steps", type=int, help="steps timed in a process (cpu: 3; cuda: 30)")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each way, of which the median counts (3)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="one only (all there are)")
    parser.add_argument("--all", action="store_true", help="ours in fp32 too, and with activation checkpointing")
    parser.add_argument("--way", help=argparse.SUPPRESS)  # measure this in this process


def run(args: argparse.Namespace) -> dict[str, float]:
    """Measure, print, and return patches/s by device and way."""
    if (args.network, args.phase) not in OBJECTIVES:
        raise ValueError(f"{args.network} has no phase {args.phase}")
    args.batch = args.batch or PUBLISHED_BATCH[args.network]
    if args.way:
        print(json.dumps(measure(args)))
        return {}
    devices = [args.device] if args.device else ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return {f"{device} {way}": rate for device in devices for way, rate in compare(args, device).items()}


def compare(args: argparse.Namespace, device: str) -> dict[str, float]:
    ways = ["plain", *(["ours fp32"] if args.all else []), chosen(device)]
    if args.all:
        ways.append(f"{ways[-1]} checkpointing")
    results: dict[str, list[dict]] = {way: [] for way in ways}
    for _ in range(args.repeats):
        for way in results:
            results[way].append(in_a_process(args, device, way))
    threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
    print(f"{args.network} phase {args.phase}, {args.batch} pairs of {args.size}x{args.size} a step, {device}{threads}")
    print(f"median of {args.repeats} processes of {args.steps or STEPS[device]} steps each, in turns")
    medians = {way: {key: statistics.median(r[key] for r in of) for key in of[0]} for way, of in results.items()}
    base = medians["plain"]
    print(f"{'':26s} {'patches/s':>9s} {'s/step':>8s} {'ratio':>7s} {'cpu ratio':>10s} {'peak memory':>12s}")
    for way, m in medians.items():
        print(
            f"{way:26s} {args.batch / m['wall']:9.2f} {m['wall']:8.3f} {base['wall'] / m['wall']:6.2f}x "
            f"{base['cpu'] / m['cpu']:9.2f}x {m['memory'] / 2**30:9.2f} GiB"
        )
    return {way: args.batch / m["wall"] for way, m in medians.items()}


def chosen(device: str) -> str:
    """What a config with `precision: auto` comes to."""
    precision = "bf16" if computes_in_bf16(torch.device(device)) else "fp32"
    return f"ours {precision}" + (" compiled" if device == "cuda" else "")


def in_a_process(args: argparse.Namespace, device: str, way: str) -> dict:
    options = {"network": args.network, "phase": args.phase, "batch": args.batch, "size": args.size}
    options |= {"steps": args.steps or STEPS[device], "device": device, "way": way}
    command = [sys.executable, str(Path(__file__).resolve().parents[1] / "benchmark.py"), "train"]
    command += [word for key, value in options.items() for word in (f"--{key}", str(value))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{way} failed: {(done.stderr.strip() or 'killed, short of memory perhaps').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


# --- one measurement ------------------------------------------------------------------------------------------------


def measure(args: argparse.Namespace) -> dict:
    """Seconds and processor seconds of a step, medians, and the process's peak memory in bytes (CUDA: of tensors)."""
    torch.manual_seed(0)
    planes = torch.rand(3, args.batch, 1, args.size, args.size)
    batch = dict(zip(("ir", "vis", "mask"), planes, strict=True))
    if args.way == "plain":
        with float32_products(torch.device(args.device)):
            begins = plain_steps(args, batch)
    else:
        begins = our_steps(args, batch)
    wall, cpu = ([b - a for a, b in itertools.pairwise(times)][WARM_UP[args.device] :] for times in begins)
    memory = torch.cuda.max_memory_allocated() if args.device == "cuda" else peak_of_process()
    return {"wall": statistics.median(wall), "cpu": statistics.median(cpu), "memory": memory}


def peak_of_process() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Clock:
    """Notes the time, and that of the processor, whenever it is asked to, after the device has finished."""

    def __init__(self, device: str):
        self.wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.warm_up = WARM_UP[device]
        self.times: tuple[list[float], list[float]] = ([], [])

    def note(self) -> None:
        self.wait()
        if len(self.times[0]) == self.warm_up and torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        self.times[0].append(time.perf_counter())
        self.times[1].append(time.process_time())


def plain_steps(args: argparse.Namespace, batch: dict) -> tuple[list[float], list[float]]:
    network = (plain.CDDFuse() if args.network == "cddfuse" else plain.SHIP()).to(args.device)
    batch = {k: v.to(args.device) for k, v in batch.items() if k != "mask" or args.network == "ship"}
    trains = OBJECTIVES[args.network, args.phase].trains
    parts = [part for name, part in network.named_children() if name in trains]
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-4) for part in parts]
    clock = Clock(args.device)
    for _ in range(WARM_UP[args.device] + args.steps + 1):
        clock.note()
        network.zero_grad()
        getattr(network, f"phase{args.phase}")(**batch).backward()
        for part, optimizer in zip(parts, optimizers, strict=True):
            if math.isfinite(CLIP[args.network]):
                torch.nn.utils.clip_grad_norm_(part.parameters(), CLIP[args.network])
            optimizer.step()
    return clock.times


def our_steps(args: argparse.Namespace, batch: dict) -> tuple[list[float], list[float]]:
    """The trainer's own loop; it asks for a batch at the beginning of every step."""
    keep_freed_memory()
    if args.device == "cuda":
        round_products_in_training()
        torch.backends.cudnn.benchmark = True
    network = CDDFuse() if args.network == "cddfuse" else SHIP()
    if "checkpointing" in args.way:
        checkpoint_activations(network)
    cls = OBJECTIVES[args.network, args.phase]
    objective = cls(network=network, weights=cls.published)
    phase = Phase("measured", WARM_UP[args.device] + args.steps + 1, objective, cls.trains, CLIP[args.network])
    groups = [{"params": [*getattr(network, part).parameters()], "name": part} for part in cls.trains]
    clock = Clock(args.device)

    def stream(start: int) -> Iterator[dict]:
        while True:
            clock.note()
            yield batch

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            network=network,
            phases=[phase],
            optimizer=torch.optim.Adam(groups, lr=1e-4, fused=args.device == "cuda" or None),
            rates={part: [1e-4] for part in cls.trains},
            batches=stream,
            accelerator=Accelerator(mixed_precision="bf16" if "bf16" in args.way else "no", cpu=args.device == "cpu"),
            folder=Path(folder),
            config={},
            every=Every(log=0, save=0),
            compile="compiled" in args.way,
        )
        trainer.run()
    return clock.times
