"""Folders of many pairs: pictures per second against fusing one after the other, and what a huge folder costs.

    python scripts/benchmark.py folders --root data/MSRS/test --pairs 1000 --rounds 3 [--old CHECKOUT]
    python scripts/benchmark.py folders --huge 10000,1000000

The first: two programs in turns, on links to the pairs of `--root`; the baseline is a loop that reads, fuses and writes
a pair at a time, or scripts/fuse.py of another checkout. Pictures per second count from the first to the last picture
written, so that nobody's start counts; CPU seconds and memory are those of the whole process.
The second: seconds from the start of fuse.py to the first picture written, those that it computed, and the peak of
its memory then and so many pictures later, for folders of so many tiny pairs (links).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from fusion import images
from fusion.pairing import find_pairs

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "test_img/sample"
LINKS = 50_000  # to one file; ext4 has room for 65,000
LATER = 2000  # pictures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, help="pairs in ir/ and vi/ (default: the samples, at 640x480)")
    parser.add_argument("--pairs", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--old", type=Path, metavar="CHECKOUT", help="whose scripts/fuse.py is the baseline")
    parser.add_argument("--model", default="swift", help="default: %(default)s")
    parser.add_argument("--huge", metavar="N,N", help="measure folders of so many tiny pairs instead")
    parser.add_argument("--all", action="store_true", help="of the tiny pairs: fuse every one")


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="folders-") as place:
        if args.huge:
            huge([int(number) for number in args.huge.split(",")], Path(place), args.all)
        else:
            throughput(args, Path(place))


# --- pictures per second --------------------------------------------------------------------------------------------


def throughput(args: argparse.Namespace, place: Path) -> None:
    ir, vis = link_pairs(args.root or at_640x480(place / "samples"), place, args.pairs)
    loop = f"from benchmarks.folders import one_by_one; one_by_one(*__import__('sys').argv[1:], model={args.model!r})"
    programs = {
        "before": [str(args.old / "scripts/fuse.py")] if args.old else ["-c", loop],
        "fuse.py": [str(ROOT / "scripts/fuse.py")],
    }
    rates: dict[str, list[float]] = {name: [] for name in programs}
    print(f"{args.pairs} pairs, {args.model}, {len(os.sched_getaffinity(0))} cores")
    for number in range(args.rounds):
        for name in list(programs)[:: 1 if number % 2 == 0 else -1]:
            out = place / "out"
            options = ["-o", str(out), "--model", args.model] if programs[name][0] != "-c" else [str(out)]
            seconds, cpu, peak = timed([sys.executable, *programs[name], str(ir), str(vis), *options])
            rates[name].append(rate(out))
            print(f"{name:8}  {rates[name][-1]:6.2f} pictures/s  {seconds:6.1f} s  {cpu:6.1f} CPU s  {peak} MiB")
            shutil.rmtree(out)
    before, now = (statistics.median(found) for found in rates.values())
    print(f"median of {args.rounds}: {before:.2f} and {now:.2f} pictures/s, {now / before:.2f} times")


def one_by_one(ir: str, vis: str, out: str, *, model: str) -> None:
    import fusion

    network = fusion.load(model)
    for file in sorted(Path(ir).iterdir()):
        images.write(Path(out, file.name), fusion.fuse(network, file, Path(vis, file.name)))


def timed(command: list[str]) -> tuple[float, float, int]:
    """(seconds, CPU seconds, peak MiB) of a program. Raises ValueError where it fails."""
    start = time.perf_counter()
    path = os.pathsep.join([str(ROOT), str(ROOT / "scripts")]) if "-c" in command else ""
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


def rate(out: Path) -> float:
    times = sorted(path.stat().st_mtime_ns for path in out.glob("*.png"))
    return (len(times) - 1) / (times[-1] - times[0]) * 1e9


def at_640x480(folder: Path) -> Path:
    """The sample pairs at the size of MSRS."""
    for pair in find_pairs(ROOT / "test_img/sample").pairs:
        for side, path in (("ir", pair.ir), ("vi", pair.vis)):
            larger = cv2.resize(images.read(path), (640, 480), interpolation=cv2.INTER_CUBIC)
            images.write(folder / side / f"{pair.name}.png", larger)
    return folder


def link_pairs(root: Path, place: Path, number: int) -> tuple[Path, Path]:
    pairs = find_pairs(root).pairs
    for side in ("ir", "vi"):
        (place / side).mkdir()
    for i in range(number):
        pair = pairs[i % len(pairs)]
        for side, path in (("ir", pair.ir), ("vi", pair.vis)):
            (place / side / f"{i:05}{path.suffix}").symlink_to(path.absolute())
    return place / "ir", place / "vi"


# --- huge folders ---------------------------------------------------------------------------------------------------


def huge(numbers: list[int], place: Path, whole: bool) -> None:
    print("   pairs  first picture, s    CPU s  MiB then  MiB later  after pictures")
    for number in numbers:
        folder = place / str(number)
        tiny_pairs(folder, number)
        out = folder / "out"
        command = [str(ROOT / "scripts/fuse.py"), str(folder / "ir"), str(folder / "vi"), "-o", str(out)]
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command, "--model", "average"], stderr=subprocess.DEVNULL)
        try:
            finished(out, 1, process)
            first, cpu, then = time.perf_counter() - start, cpu_seconds(process.pid), memory(process.pid)
            later = finished(out, number if whole else LATER, process)
            now = memory(process.pid) or peak()
            print(f"{number:8}  {first:16.1f}  {cpu:7.1f}  {then:8}  {now:9}  {later:14}", flush=True)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
        shutil.rmtree(folder)


def tiny_pairs(folder: Path, number: int) -> None:
    for side in ("ir", "vi"):
        (folder / side).mkdir(parents=True)
        for i in range(number):
            path = folder / side / f"{i:07}.png"
            if i % LINKS == 0:
                original = path
                images.write(
                    path, cv2.resize(images.read(ROOT / f"test_img/sample/{side}/01_street_day.png"), (16, 16))
                )
            else:
                os.link(original, path)


def finished(out: Path, number: int, process: subprocess.Popen) -> int:
    """Wait until the record has so many lines, or the process has ended; returns how many it has."""
    record, lines, at = out / ".fuse.jsonl", 0, 0
    while lines < number and process.poll() is None:
        if record.exists():
            with record.open("rb") as file:
                file.seek(at)
                text = file.read()
            at += len(text)
            lines += text.count(b"\n")
        time.sleep(0.05)
    return lines


def cpu_seconds(pid: int) -> float:
    """Of a process so far; nan of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """The most MiB that a process has had so far; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def peak() -> int:
    """MiB of the largest process that has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
