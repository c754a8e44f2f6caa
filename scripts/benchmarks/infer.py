"""Fusing one pair: ours against the plain module (plain.py, plain_cpfusion.py), written as the methods are specified.

Same weights, same pair, same threads. Every run is a process of its own, because the allocator's setting is
process-wide: the plain module runs with the default one, ours as the command-line programs do. Contestants take turns;
the table has medians and the peak of the process's resident memory. First run of a process does not count.

`--peers onnxruntime,openvino` adds what a user might take instead, with the same weights (peers.py).

swift is ours alone: its plain module is itself, under the default allocator. `--arrays` times what a video needs: two
8-bit arrays in, infrared and colour, the fused 8-bit picture in colour out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from benchmarks.peers import PEERS, checked, engine, exported

if TYPE_CHECKING:
    from fusion.networks.base import Network
from fusion.inference import costs
from fusion.precision import float32_products

SIZES = "256x256,640x480,768x576"
KINDS = ("plain", "exact", "bf16")
ISAS = {
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
    "avx512": {  # without bfloat16
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
    },
}
"""What makes numba, oneDNN and PyTorch's own loops leave newer instructions alone; all contestants alike."""

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="cddfuse", choices=("cddfuse", "ship", "cpfusion", "swift"))
    parser.add_argument("--sizes", default=SIZES, help=f"width x height, ... ({SIZES}; also 1280x1024, 4000x3000)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}, compiled ({','.join(KINDS)})")
    parser.add_argument("--peers", default="", help="of onnxruntime, openvino, openvino-bf16 (extra `peers`)")
    parser.add_argument("--isa", choices=ISAS, help="as on an older processor, whose instructions are all that is used")
    parser.add_argument("--arrays", action="store_true", help="time from 8-bit arrays to the 8-bit picture in colour")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each, of which the median counts (3)")
    parser.add_argument("--repeats", type=int, help="counted runs in a process (cpu: 1; cuda: 50)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--max-memory", help="ours, as 12GiB")
    parser.add_argument("-o", "--out", type=Path, help="also write OUT.json and OUT.md")


def run(args: argparse.Namespace) -> list[dict]:
    """Measure, print the table, and return its rows."""
    kinds, peers = args.kinds.split(","), args.peers.split(",") if args.peers else []
    if unknown := set(kinds) - {*KINDS, "compiled"}:
        raise ValueError(f"unknown kind {', '.join(sorted(unknown))}: expected {', '.join(KINDS)} or compiled")
    if unknown := set(peers) - set(PEERS):
        raise ValueError(f"unknown peer {', '.join(sorted(unknown))}: expected {', '.join(PEERS)}")
    with tempfile.TemporaryDirectory() as folder:
        return compared(args, [*kinds, *peers], str(onnx_file(args, Path(folder))) if peers else None)


def onnx_file(args: argparse.Namespace, folder: Path) -> Path:
    """For the peers, of the same weights as in `contestant`."""
    return exported(args.model, untrained(args.model), folder)


def compared(args: argparse.Namespace, kinds: list[str], file: str | None) -> list[dict]:
    args.file = file
    args.repeats = args.repeats or (50 if args.device.startswith("cuda") else 1)
    rows = []
    for size in args.sizes.split(","):
        w, h = (int(n) for n in size.split("x"))
        results: dict[str, list[dict]] = {kind: [] for kind in kinds}
        for _ in range(args.rounds):
            for kind in kinds:
                results[kind].append(in_a_process(args, kind, h, w))
        medians = {k: {f: statistics.median(r[f] for r in runs) for f in runs[0]} for k, runs in results.items()}
        base = medians[kinds[0]]["seconds"]
        for kind, m in medians.items():
            rows.append({"model": args.model, "size": size, "kind": kind, "times faster": base / m["seconds"], **m})
    reached = {name: arithmetic(args, dtype) for name, dtype in TYPES.items()}
    text = table(rows, args, reached)
    print(text)
    if args.out:
        about = {"torch": torch.__version__, "machine": costs.processor()}
        data = {**about, "threads": args.threads, "device": args.device, "rounds": args.rounds, "GFLOP/s": reached}
        data["rows"] = rows
        write(args.out, data, text)
    return rows


def write(out: Path, data: dict, text: str) -> None:
    """OUT.json and OUT.md"""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def arithmetic(args: argparse.Namespace, dtype: torch.dtype) -> float:
    """GFLOP/s of a 3x3 convolution of 64 channels here and now: what the seconds of another machine compare with."""
    h, w, c = 288, 384, 64
    launches = 100 if args.device.startswith("cuda") else 1  # at one wait, which takes a GPU longer than a launch
    torch.set_num_threads(args.threads)
    x, weight = (torch.rand(s, device=args.device, dtype=dtype) for s in ((1, c, h, w), (c, c, 3, 3)))
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    seconds = []
    with torch.inference_mode(), float32_products(x.device):
        for _ in range(20):
            start = time.perf_counter()
            for _ in range(launches):
                y = torch.nn.functional.conv2d(x, weight, padding=1)
            y.sum().item()
            seconds.append((time.perf_counter() - start) / launches)
    return 2 * 9 * c * c * h * w / statistics.median(seconds) / 1e9


def table(rows: list[dict], args: argparse.Namespace, reached: dict[str, float]) -> str:
    speeds = ", ".join(f"{speed:.0f} GFLOP/s in {name}" for name, speed in reached.items())
    lines = [
        f"{costs.processor()}{f' as {args.isa}' if args.isa else ''}: {args.device}, {args.threads} threads, "
        f"torch {torch.__version__}; medians of {args.rounds} processes; a 3x3 convolution of 64 channels reaches "
        f"{speeds} here",
        "",
        "| method | size | how | seconds | pictures/s | times faster | CPU seconds | peak MiB (GPU: tensors) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        cells = (f"{r['seconds']:.3f}", f"{1 / r['seconds']:.2f}", f"{r['times faster']:.1f}", f"{r['cpu']:.2f}")
        cells += (f"{r['peak']:.0f}",)
        lines.append(f"| {r['model']} | {r['size']} | {r['kind']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def in_a_process(args: argparse.Namespace, kind: str, h: int, w: int) -> dict[str, float]:
    job = {"model": args.model, "kind": kind, "h": h, "w": w, "threads": args.threads, "repeats": args.repeats}
    job |= {"device": args.device, "max_memory": args.max_memory, "arrays": args.arrays}
    job |= {"file": getattr(args, "file", None)}
    command = [sys.executable, "-m", "benchmarks.infer", json.dumps(job)]
    environment = os.environ | ISAS.get(getattr(args, "isa", None), {})
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed (out of memory?)"])[-1]
        raise ValueError(f"{args.model} {w}x{h} {kind}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


# --- inside a process -----------------------------------------------------------------------------------------------


def measure(job: dict) -> dict[str, float]:
    """Median seconds and CPU seconds of a picture, and the peak of resident memory (on a GPU of tensors), MiB."""
    torch.set_num_threads(job["threads"])
    fuse = pictures(job) if job["arrays"] else planes(job)
    return costs.watched(fuse, job["device"], job["repeats"])


def planes(job: dict) -> Callable[[], object]:
    """Luminance planes on the device -> raw output there."""
    form = contestant(job)
    generator = torch.Generator().manual_seed(0)
    ir, vis = torch.rand(2, 1, 1, job["h"], job["w"], generator=generator).to(job["device"])
    return lambda: form.raw(ir, vis).sum().item()  # the sum waits for a GPU


def pictures(job: dict) -> Callable[[], object]:
    """8-bit arrays, infrared and colour -> the 8-bit picture in colour."""
    from fusion import infer

    form = contestant(job)
    numbers = np.random.default_rng(0)
    ir, vis = (numbers.integers(0, 256, shape, np.uint8) for shape in ((job["h"], job["w"]), (job["h"], job["w"], 3)))
    return lambda: infer.fuse(form, ir, vis)


def contestant(job: dict) -> Network:
    from fusion import build
    from fusion.memory import keep_freed_memory
    from fusion.networks.base import InferenceForm

    kind = job["kind"]
    if kind == "plain":
        network = untrained(job["model"]).to(job["device"])
        return InferenceForm(network, plain(job["model"], network).to(job["device"]))
    if kind in PEERS:
        network = untrained(job["model"])
        return InferenceForm(network, checked(kind, engine(kind, job["file"], job["threads"]), network))
    keep_freed_memory()
    os.environ.setdefault("FUSION_LOOPS", "wait")  # not PyTorch's time for the first pictures
    torch.manual_seed(0)
    return build.network(job["model"], speed=kind, max_memory=job["max_memory"]).to(job["device"]).form()


def untrained(name: str) -> Network:
    """The same weights in every process."""
    from fusion import build

    torch.manual_seed(0)
    return build.network(name)


def plain(name: str, network: torch.nn.Module) -> torch.nn.Module:
    """The plain module with the network's weights."""
    from benchmarks import plain as modules
    from benchmarks import plain_cpfusion, plain_zoo

    if name == "swift":
        return network
    if name not in ("cddfuse", "ship", "cpfusion"):
        return plain_zoo.plain(name, network)
    if name == "cpfusion":
        return plain_cpfusion.CPFusion()
    module = Cddfuse(modules.CDDFuse()) if name == "cddfuse" else Ship(modules.SHIP())
    ours, theirs = network.state_dict(), module.m.state_dict()
    # CDDFuse's stand in the same order under other names, SHIP's have the same names but for those of one layer.
    names = dict(zip(theirs, ours, strict=True)) if name == "cddfuse" else {key: ship_name(key) for key in theirs}
    module.m.load_state_dict({key: ours[names[key]].view(value.shape) for key, value in theirs.items()})
    return module.eval()


def ship_name(key: str) -> str:
    key = re.sub(r"invertible\.(p|sign|lower|upper|log_s)$", r"invertible.convolution.\1", key)
    return re.sub(r"sign$", "sign_s", key)


class Cddfuse(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.m = module

    def forward(self, ir, vis):
        m = self.m
        (base_vis, detail_vis), (base_ir, detail_ir) = m.encoder(vis), m.encoder(ir)
        return m.decoder(vis, m.base_fusion(base_ir + base_vis), m.detail_fusion(detail_ir + detail_vis))


class Ship(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.m = module

    def forward(self, ir, vis):
        m = self.m
        v, i = m.visible(vis), m.infrared(ir)
        orders = []
        for spatial, channel in zip(m.spatial, m.channel, strict=True):
            v, i = channel(*spatial(v, i))
            orders.append(v)
        return m.refine(m.project(m.invertible(torch.cat(orders, dim=1))))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    print(json.dumps(measure(json.loads(sys.argv[1]))))
