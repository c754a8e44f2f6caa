"""Memory of fusing one pair as a function of its pixels, against the plain module (plain.py).

Every pair is fused once, in a process of its own; what counts is the peak of the process's resident memory, with
Python, PyTorch and the weights (device memory on a GPU). The plain module is run up to --plain-up-to pixels.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import torch
from benchmarks.infer import in_a_process, write

SIZES = "256x256,640x480,1280x1024,2000x1500,4000x3000"
COLOURS = {"plain": "#888888", "exact": "#1f6fb4", "bf16": "#c8501e"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="cddfuse", choices=("cddfuse", "ship", "swift"))
    parser.add_argument("--sizes", default=SIZES, help=f"width x height, ... ({SIZES})")
    parser.add_argument("--kinds", default="plain,exact,bf16", help="of plain, exact, bf16 (%(default)s)")
    parser.add_argument("--plain-up-to", type=float, default=1.5e6, metavar="PIXELS", help="(%(default)g)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--max-memory", help="ours, as 6GiB: cddfuse in bf16 then stores its features in bf16 too")
    parser.add_argument("-o", "--out", type=Path, help="also write OUT.json, OUT.md and OUT.png")
    parser.set_defaults(repeats=0, arrays=False)  # of a process of benchmarks.infer


def run(args: argparse.Namespace) -> list[dict]:
    """Measure, print the table, and return its rows."""
    if args.out and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("the plot of -o needs matplotlib: pip install -e '.[bench]'")
    rows = []
    for size in args.sizes.split(","):
        w, h = (int(n) for n in size.split("x"))
        for kind in args.kinds.split(","):
            if kind != "plain" or w * h <= args.plain_up_to:
                rows.append({"size": size, "pixels": w * h, "kind": kind, **in_a_process(args, kind, h, w)})
                print(f"{size} {kind}: {rows[-1]['peak']:.0f} MiB", flush=True)
    text = table(rows)
    print(f"\n{text}")
    if args.out:
        about = {"model": args.model, "torch": torch.__version__, "threads": args.threads, "device": args.device}
        data = {**about, "max_memory": args.max_memory, "rows": rows}
        write(args.out, data, text)
        plot(rows, args.model, args.out.with_suffix(".png"))
    return rows


def table(rows: list[dict]) -> str:
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = [f"| pair | {' | '.join(f'{kind}, MiB' for kind in kinds)} |", "| --- |" + " --- |" * len(kinds)]
    for size in dict.fromkeys(row["size"] for row in rows):
        peaks = {row["kind"]: f"{row['peak']:.0f}" for row in rows if row["size"] == size}
        lines.append(f"| {size} | {' | '.join(peaks.get(kind, '-') for kind in kinds)} |")
    return "\n".join(lines)


def plot(rows: list[dict], model: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        points = sorted((row["pixels"] / 1e6, row["peak"] / 1024) for row in rows if row["kind"] == kind)
        axes.plot(*zip(*points, strict=True), marker="o", color=COLOURS.get(kind), label=kind)
    axes.set(xlabel="megapixels of one image", ylabel="peak of the process, GiB", title=f"{model}: memory of one pair")
    axes.set(xlim=0, ylim=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
