"""Everything that has to be seen on a GPU, in one command, for the day when there is one.

    python scripts/gpu_day.py --minutes 25 --out gpu_day [--data data/MSRS/train]

Checks first, then agreement with the CPU, seconds of a picture, steps of training a second, long runs in bf16 that are
stopped and resumed, and in what time is left the training of CDDFuse at its published size on a folder of pairs. OUT
gets results.json and results.md, written anew after every part, and the output of every part; a part that is cut off
or fails says so there, and the next one begins.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import numpy as np
import torch
import yaml

import fusion
from fusion import images, infer
from fusion.networks.learned.blocks import GatedFeedForward
from fusion.networks.learned.cddfuse import PairedFeedForward
from fusion.terminal import forgive_encodings
from fusion.training import record

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("average", "cpfusion", "swift", "cddfuse", "ship")
LONG_RUNS = {"cddfuse": ROOT / "configs/cddfuse_msrs.yml", "ship": ROOT / "configs/ship_msrs.yml"}
TINY = {"cddfuse": {"dim": 8, "heads": 2, "blocks": 1}, "ship": {"channels": 4, "interactions": 1}}


class Day:
    """The parts in order, each within its time; `results` is on disk after every one."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.out, self.started = args, args.out.absolute(), time.monotonic()
        self.out.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, dict] = {"about": about()}

    def left(self) -> float:
        """Seconds."""
        return 60 * self.args.minutes - (time.monotonic() - self.started)

    def part(self, name: str, share: float, do: Callable[[float], dict]) -> None:
        """Run `do(seconds)` with `share` of the time that is left; whatever it raises belongs to the results."""
        start, seconds = time.monotonic(), max(share * self.left(), 0)
        print(f"{name}: {seconds:.0f} s at the most", flush=True)
        try:
            found = do(seconds) if seconds > 1 else {"cut off": "no time was left"}
        except subprocess.TimeoutExpired:
            found = {"cut off": f"after {seconds:.0f} s"}
        except Exception as error:  # the other parts do not depend on this one
            found = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        self.results[name] = {**found, "took": round(time.monotonic() - start, 1)}
        self.write()

    def write(self) -> None:
        with images.atomic_path(self.out / "results.json") as path:
            path.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")
        rows = [f"| {name} | {key} | {value} |" for name, of in self.results.items() for key, value in flat(of).items()]
        table = "\n".join(["| part | what | found |", "| --- | --- | --- |", *rows])
        with images.atomic_path(self.out / "results.md") as path:
            path.write_text(table + "\n", encoding="utf-8")

    def program(self, name: str, *words: object, seconds: float, stop: Callable[[], bool] | None = None) -> int:
        """Run a Python program in OUT, its output in OUT/name.log. At the end of its time, or once `stop()` says so, it
        is asked to end (SIGTERM), half a minute later made to. Returns its exit status."""
        with open(self.out / f"{name}.log", "a", encoding="utf-8") as log:
            command = [sys.executable, *map(str, words)]
            running = subprocess.Popen(command, cwd=self.out, stdout=log, stderr=subprocess.STDOUT)
            end = time.monotonic() + seconds
            try:
                while running.poll() is None and time.monotonic() < end and not (stop and stop()):
                    time.sleep(0.2)
                if running.poll() is None:
                    running.terminate()
                status = running.wait(30)
            finally:
                if running.poll() is None:
                    running.kill()
                    running.wait()
        if time.monotonic() >= end and not stop:
            raise subprocess.TimeoutExpired(command, seconds)
        return status

    def in_time(self, name: str, *words: object, seconds: float) -> bool:
        """Run a program; False where its time was too short, so that the next one has its own."""
        try:
            if status := self.program(name, *words, seconds=seconds):
                raise ValueError(f"exit status {status}: {(self.said(name).strip() or 'no word').splitlines()[-1]}")
        except subprocess.TimeoutExpired:
            return False
        return True

    def said(self, name: str) -> str:
        return (self.out / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    # --- parts ------------------------------------------------------------------------------------------------------

    def checks(self, seconds: float) -> dict:
        status = self.program("checks", "-m", "pytest", "-q", "-m", "cuda", ROOT / "tests/cuda", seconds=seconds)
        return {"exit status": status, "summary": self.said("checks").strip().splitlines()[-1]}

    def agreement(self, seconds: float) -> dict:
        """Of the GPU's pictures with the CPU's, which the golden tests hold to the authors'."""
        end, found = time.monotonic() + seconds, {}
        for name in METHODS:
            if time.monotonic() > end:
                return {**found, "cut off": f"before {name}"}
            found[name] = compare(name, self.args.tiny)
        return found

    def inference(self, seconds: float) -> dict:
        found = {}
        for name in ("cddfuse", "ship", "swift"):
            words = ["infer", "--device", "cuda", "--model", name, "--rounds", 1, "-o", f"infer_{name}"]
            words += ["--sizes", "64x48", "--repeats", 1] if self.args.tiny else ["--sizes", "640x480,1280x1024"]
            if name == "swift" and not self.args.tiny:
                words += ["--kinds", "plain,exact,bf16,compiled"]
            log = f"inference_{name}"
            if not self.in_time(log, ROOT / "scripts/benchmark.py", *words, seconds=seconds / 3):
                found[name] = f"cut off after {seconds / 3:.0f} s"
                continue
            for row in json.loads((self.out / f"infer_{name}.json").read_text(encoding="utf-8"))["rows"]:
                label = f"{name} {row['size']} {row['kind']}"
                found[label] = {"ms": round(1000 * row["seconds"], 3), "times faster": round(row["times faster"], 2)}
        return found

    def steps(self, seconds: float) -> dict:
        found = {}
        for network, phase in (("cddfuse", 1), ("cddfuse", 2), ("ship", 1)):
            words = ["train", "--device", "cuda", "--network", network, "--phase", phase, "--repeats", 1]
            words += ["--size", 32, "--batch", 2, "--steps", 1] if self.args.tiny else []
            name = f"steps_{network}_{phase}"
            done = self.in_time(name, ROOT / "scripts/benchmark.py", *words, seconds=seconds / 3)
            last = self.said(name).strip().splitlines()[-1] if done else f"cut off after {seconds / 3:.0f} s"
            found[f"{network} phase {phase}"] = last
        return found

    def grouped(self, seconds: float) -> dict:
        """A base block's feed-forward, forward and backward: its convolution of two channels a group as it is, and as
        two depth-wise ones, a CPU's way. The first is taken on GPUs until somebody has seen this."""
        size = (1, 16, 16) if self.args.tiny else (16, 128, 128)
        block = PairedFeedForward(dim=64, hidden=64).to("cuda", memory_format=torch.channels_last)
        ways = {"grouped": lambda x: GatedFeedForward.forward(block, x), "depth-wise": block.by_depth_wise}
        found = {}
        for dtype in (torch.bfloat16, torch.float32):
            x = torch.rand(*size, 64, device="cuda", requires_grad=True)
            for name, way in ways.items():

                def step(way=way, x=x, dtype=dtype) -> None:
                    with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
                        y = way(x)
                    y.float().sum().backward()

                found[f"{name}, {str(dtype).removeprefix('torch.')}"] = {"ms": milliseconds(step)}
        return found

    def long_run(self, network: str, seconds: float) -> dict:
        """Steps in bf16, stopped half way and resumed: how far they came, and which were not finite."""
        steps = self.args.steps
        config, name = yaml.safe_load(LONG_RUNS[network].read_text(encoding="utf-8")), f"long_{network}"
        phases = config["phases"]
        config |= {"name": name, "device": "cuda", "precision": "bf16", "validation": None, "log_every": 1}
        config["phases"] = [{**phase, "length": max(1, steps // len(phases))} for phase in phases]
        size = 32 if self.args.tiny else 128
        data = {"root": str(self.args.data or ROOT / "test_img/sample"), "mask": network == "ship", "size": size}
        config["data"] = {"name": "folder", "options": {**data, "augment": True}, "batch_size": 2, "workers": 2}
        if self.args.tiny:
            config |= {"network": {"name": network, "options": TINY[network]}, "compile": False}
        (self.out / f"{name}.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        train, log = (ROOT / "train.py", "-opt", f"{name}.yml", "--resume"), self.out / f"runs/{name}/log.jsonl"
        end = time.monotonic() + seconds

        def half() -> bool:
            return log.exists() and log.read_text().count("\n") >= steps // 2

        first = self.program(name, *train, seconds=seconds, stop=half)
        second = (
            self.program(name, *train, seconds=end - time.monotonic(), stop=lambda: False) if first == 143 else None
        )
        skipped = re.findall(r"step (\d+) skipped", self.said(name))
        taken = log.read_text().splitlines() if log.exists() else []  # none where it was cut off before the first
        done = json.loads(taken[-1])["step"] if taken else 0
        return {"steps": done, "not finite": len(skipped), "exit status": first, "after resuming": second}

    def train(self, seconds: float) -> dict:
        """CDDFuse as published, as far as the time goes; the checkpoint of the last step stays."""
        if self.args.data is None:
            return {"left out": "no --data"}
        patches, name = self.out / "patches.h5", "cddfuse_gpu_day"
        size = ["--size", 32, "--stride", 32] if self.args.tiny else []
        words = [ROOT / "scripts/make_patches.py", self.args.data.absolute(), "-o", patches, "--force", *size]
        start = time.monotonic()
        self.program("patches", *words, seconds=seconds / 3)
        options = [f"name={name}", "device=cuda", f"data.options.path={patches}", "validation=null"]
        if self.args.tiny:
            options += [f"network.options={json.dumps(TINY['cddfuse'])}", "data.batch_size=2", "compile=false"]
        left = seconds - (time.monotonic() - start) - 20
        command = (ROOT / "train.py", "-opt", LONG_RUNS["cddfuse"], *options, "--resume")
        status = self.program(name, *command, seconds=left, stop=lambda: False)
        kept = sorted((self.out / f"runs/{name}/checkpoints").glob("step_*.pt"))
        return {"exit status": status, "checkpoint": str(kept[-1]) if kept else "none"}


def milliseconds(do: Callable[[], object], repeats: int = 20) -> float:
    """Of a run on the GPU, by its own clock."""
    for _ in range(3):
        do()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        do()
    end.record()
    end.synchronize()
    return round(start.elapsed_time(end) / repeats, 3)


def about() -> dict:
    device = torch.device("cuda")
    return {**record.gpu(device), "torch": torch.__version__, "commit": record.commit()}


def compare(name: str, tiny: bool) -> dict:
    """Largest difference of the raw outputs, and the share of 8-bit pixels that differ, over the sample pairs."""
    worst, differing, pixels = 0.0, 0, 0
    cpu, cuda = (fusion.load(name, device=device) for device in ("cpu", "cuda"))
    names = sorted(path.name for path in (ROOT / "test_img/sample/ir").iterdir())
    for file in names[: 1 if tiny else 4]:
        ir, vis = (images.read(ROOT / "test_img/sample" / kind / file) for kind in ("ir", "vi"))
        ir, vis = (x[:64, :64] if tiny else x for x in (ir, vis))
        planes = infer.input_planes(cpu, ir, vis, "infrared-visible")
        a, b = (infer.run(network, *planes) for network in (cpu, cuda))
        worst = max(worst, float(np.abs(a - b).max()))
        pictures = [infer.finish(cpu, x, None) for x in (a, b)]
        differing, pixels = differing + int((pictures[0] != pictures[1]).sum()), pixels + a.size
    return {"largest difference": worst, "pixels that differ": f"{differing} of {pixels}"}


def flat(value: dict, prefix: str = "") -> dict:
    """{"a": {"b": 1}} -> {"a, b": 1}"""
    found = {}
    for key, inner in value.items():
        label = f"{prefix}, {key}" if prefix else str(key)
        found |= flat(inner, label) if isinstance(inner, dict) else {label: inner}
    return found


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25, help="of all parts together (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("gpu_day"), help="folder of results (%(default)s)")
    parser.add_argument("--data", type=Path, help="folder with ir/ and vi/ to train on (long runs: the sample pairs)")
    parser.add_argument("--steps", type=int, default=2000, help="of each long run (%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="everything small: a rehearsal, its numbers mean nothing")
    args = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("error: PyTorch sees no GPU here: nvidia-smi, and a CUDA build of torch", file=sys.stderr)
        return 2
    args.data = args.data and args.data.absolute()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the part that runs is ended, too
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    day = Day(args)
    day.part("checks", 0.15, day.checks)
    day.part("agreement", 0.1, day.agreement)
    day.part("inference", 0.25, day.inference)
    day.part("steps", 0.25, day.steps)
    day.part("grouped convolution", 0.05, day.grouped)
    for network in LONG_RUNS:
        day.part(f"long run of {network}", 0.35, lambda seconds, network=network: day.long_run(network, seconds))
    day.part("training", 1.0, day.train)
    print(f"wrote {day.out / 'results.md'}")
    return int(any("failed" in of for of in day.results.values()))


if __name__ == "__main__":
    sys.exit(main())
