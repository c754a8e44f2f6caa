"""What fusing a pair costs: parameters, arithmetic, and, measured in a process of its own, seconds and peak memory."""

from __future__ import annotations

import io
import json
import pickle
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fusion.memory import keep_freed_memory
from fusion.networks.base import Network
from fusion.precision import float32_products

WARM_UP = 3
"""Runs on a GPU that do not count: the first compiles, the second may record a graph, the third replays it."""


def of(network: Network, height: int, width: int, *, threads: int, repeats: int = 3) -> dict[str, float | None]:
    """`parameters`, `flops`, `seconds` and `mebibytes` of a pair, on the device where `network` stands.

    None for what does not apply: a rule has no parameters, and its arithmetic is not counted.
    Raises ValueError where the pair cannot be fused.
    """
    known = {"parameters": None, "flops": None}
    if network.learned and next(network.parameters(), None) is not None:
        known = {"parameters": parameters(network), "flops": flops(network, height, width)}
    measured = in_a_process(network, height, width, threads=threads, repeats=repeats)
    return {**known, "seconds": measured["seconds"], "mebibytes": measured["peak"]}


def parameters(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


def flops(network: Network, height: int, width: int) -> int:
    """Of one pair, two for a multiply and an add: convolutions and matrix products, not transforms and norms.

    Counted on the meta device, where nothing is computed.
    """
    network = deepcopy(network).to("meta").eval()
    pair = torch.empty(2, 1, 1, max(height, network.min_size), max(width, network.min_size), device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.raw(*pair)
    return counter.get_total_flops()


def machine(device: torch.device, threads: int) -> str:
    """What seconds were measured on, as a table says it."""
    where = f"{processor()}, {threads} thread{'s' * (threads > 1)}"
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    return f"{where}, PyTorch {torch.__version__}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


# --- in a process of its own ----------------------------------------------------------------------------------------


def in_a_process(network: Network, height: int, width: int, *, threads: int, repeats: int) -> dict[str, float]:
    """`seconds`, `cpu` and `peak` as `watched` finds them for random planes, Python and PyTorch included in the peak.

    Raises ValueError with the last line that a process which failed has said, or for a network that cannot go there.
    """
    job = {"device": str(network.place.device), "h": height, "w": width, "threads": threads, "repeats": repeats}
    stored = io.BytesIO()
    try:
        torch.save((job, deepcopy(network).cpu()), stored)
    except (TypeError, AttributeError, pickle.PicklingError) as error:  # an ONNX file's session, for one
        raise ValueError(f"{type(network).__name__} cannot be sent to a process of its own") from error
    command = [sys.executable, "-m", "fusion.inference.costs"]
    home = Path(__file__).parents[2]  # of the package, installed or not
    done = subprocess.run(command, cwd=home, input=stored.getvalue(), capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(f"{width}x{height}: {said[-1] if said else 'the process was killed (out of memory?)'}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    # What the parent has just written; nobody else can reach this process's input.
    job, network = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=False)
    torch.set_num_threads(job["threads"])
    keep_freed_memory()
    form = network.to(job["device"]).eval().form()
    h, w = (max(side, form.min_size) for side in (job["h"], job["w"]))
    ir, vis = torch.rand(2, 1, 1, h, w, generator=torch.Generator().manual_seed(0)).to(job["device"])
    # The sum waits for a GPU.
    print(json.dumps(watched(lambda: form.raw(ir, vis).sum().item(), job["device"], job["repeats"])))


def watched(fuse: Callable[[], object], device: str, repeats: int) -> dict[str, float]:
    """Median seconds and CPU seconds of `fuse`, and the peak of resident memory (on a GPU of tensors) in MiB."""
    seconds, cpu = [], []
    watch = Peak(device)
    warm_up = WARM_UP if watch.device.type == "cuda" else 1
    with torch.inference_mode(), float32_products(watch.device):  # as `infer.run` has it
        for i in range(warm_up + repeats):
            if i == warm_up and watch.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(watch.device)
            start, start_cpu = time.perf_counter(), time.process_time()
            fuse()
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - start_cpu)
    # The first runs do not count, unless they are all there is.
    return {
        "seconds": statistics.median(seconds[warm_up:] or seconds),
        "cpu": statistics.median(cpu[warm_up:] or cpu),
        "peak": watch.stop(),
    }


class Peak:
    """Watches resident memory: `ru_maxrss` would count what the importing parent once had."""

    def __init__(self, device: str):
        self.device, self.most, self.ended = torch.device(device), 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.ended.wait(0.02):
            self.most = max(self.most, resident())

    def stop(self) -> float:
        self.ended.set()
        self.thread.join()
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return max(self.most, resident())


def resident() -> float:
    """MiB of this process in memory; 0 where /proc does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


if __name__ == "__main__":
    main()
