"""Seconds and memory of the learned methods of other authors, against their plain graphs (plain_zoo.py).

Both have the same weights, pair and threads; every run is a process of its own, the two take turns, and medians count.
The ratio is of CPU seconds, so that other work on the machine is not in it. With untrained weights: denormal numbers in
some authors' files, which loading sets to zero, would make the plain graphs many times slower still.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from benchmarks import infer

import fusion.networks  # noqa: F401 -- registers the networks
from fusion.inference import costs
from fusion.networks.base import Network
from fusion.registry import NETWORKS

NAMES = [n for n, c in NETWORKS.items() if c.learned and c.about and c.inference_form is Network.inference_form]
"""Learned ones that others published; CDDFuse and SHIP, which have forms of their own, are `infer`'s."""

KINDS = ("plain", "exact")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--names", default=",".join(NAMES), help="of these methods only")
    parser.add_argument("--size", default="640x480", help="width x height (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each, of which the median counts (3)")
    parser.add_argument("--repeats", type=int, default=2, help="counted runs in a process (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("-o", "--out", type=Path, help="also write OUT.json and OUT.md")
    parser.set_defaults(arrays=False, max_memory=None)  # of a process of benchmarks.infer


def run(args: argparse.Namespace) -> list[dict]:
    """Measure, print the table, and return its rows."""
    names = args.names.split(",")
    if unknown := set(names) - {*NAMES}:
        raise ValueError(f"unknown method {', '.join(sorted(unknown))}: expected some of {', '.join(NAMES)}")
    w, h = (int(n) for n in args.size.split("x"))
    rows = []
    for name in names:
        args.model, runs = name, {kind: [] for kind in KINDS}
        for _ in range(args.rounds):
            for kind in KINDS:
                runs[kind].append(infer.in_a_process(args, kind, h, w))
        found = {k: {f: statistics.median(r[f] for r in each) for f in each[0]} for k, each in runs.items()}
        rows.append({"method": name, "times faster": found["plain"]["cpu"] / found["exact"]["cpu"], **found})
        print(line(rows[-1]), flush=True)
    text = table(rows, args)
    print(f"\n{text}")
    if args.out:
        about = {"size": args.size, "machine": costs.machine(torch.device(args.device), args.threads)}
        infer.write(args.out, {**about, "rounds": args.rounds, "rows": rows}, text)
    return rows


def line(row: dict) -> str:
    plain, ours = (row[kind] for kind in KINDS)
    cells = (f"{plain['cpu']:.3g}", f"{ours['cpu']:.3g}", f"{row['times faster']:.2f}")
    return f"| {row['method']} | {' | '.join(cells)} | {plain['peak']:.0f} | {ours['peak']:.0f} |"


def table(rows: list[dict], args: argparse.Namespace) -> str:
    machine = costs.machine(torch.device(args.device), args.threads)
    heads = ("method", "plain, CPU s", "ours, CPU s", "times faster", "plain, MiB", "ours, MiB")
    return "\n".join(
        [
            f"A pair of {args.size}, {machine}; medians of {args.rounds} processes of {args.repeats} pictures each.",
            "",
            f"| {' | '.join(heads)} |",
            "| --- |" + " ---: |" * (len(heads) - 1),
            *map(line, rows),
        ]
    )
