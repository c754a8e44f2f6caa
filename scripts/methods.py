"""All methods: where they come from, how large they are, whose weights there are, and what a picture costs.

    python scripts/methods.py                                     the table; nothing is fused
    python scripts/methods.py --measure [--device cuda]           with seconds and memory of a pair, measured here
    python scripts/methods.py --names swift,seafusion --papers    some of them, with the papers to cite

FLOPs are of one pair, two for a multiply and an add, as torch.utils.flop_counter counts them: convolutions and matrix
products. Transforms, norms and all that is computed by NumPy and SciPy are not counted. Measured seconds are the median
of --repeats pairs of random planes after one that does not count; memory is the peak of a process of its own, Python
and PyTorch included (of the device on a GPU). Exit status: 0, or 2 for a method that is not known.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import torch

from fusion import places, weights
from fusion.inference import costs
from fusion.networks.base import Network
from fusion.registry import NETWORKS, UnknownName
from fusion.terminal import forgive_encodings


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    args = parse(arguments)
    try:
        width, height = (int(n) for n in args.size.split("x"))
        chosen = args.names.split(",") if args.names else in_order()
        rows = [row(name, height, width) for name in chosen]
        if args.measure:
            for each in rows:
                each |= measured(args, each["method"], height, width)
                print(f"{each['method']}: {each['seconds']} s", file=sys.stderr, flush=True)
        if args.papers:
            for each in rows:
                each["paper"] = about.paper if (about := NETWORKS[each["method"]].about) else ""
    except (ValueError, UnknownName) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(table(rows))
    if args.measure:
        print(f"\nMeasured at {args.size} on {costs.machine(torch.device(args.device), args.threads)}.")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", metavar="NAME,...", help="these methods only")
    parser.add_argument("--size", default="640x480", help="width x height of a pair (%(default)s)")
    parser.add_argument("--papers", action="store_true", help="a further column: the paper to cite")
    parser.add_argument("--measure", action="store_true", help="time and peak memory of a pair, minutes in all")
    parser.add_argument("--repeats", type=int, default=3, help="pairs whose median counts (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    return parser.parse_args(arguments)


def in_order() -> list[str]:
    """Learned ones first, each kind by year."""
    return sorted(NETWORKS, key=lambda name: (not NETWORKS[name].learned, year(NETWORKS[name]) or "9999", name))


def year(cls: type[Network]) -> str:
    return str(cls.about.year) if cls.about else ""


def row(name: str, height: int, width: int) -> dict[str, str]:
    cls = NETWORKS[name]
    network = cls()
    found = {"method": name, "kind": "learned" if cls.learned else "rule-based", "year": year(cls)}
    found["parameters"] = f"{costs.parameters(network):,}" if cls.learned else ""
    found["GFLOPs"] = f"{costs.flops(network, height, width) / 1e9:.4g}" if cls.learned else ""
    found["licence"] = cls.about.licence if cls.about else "Apache-2.0 (this project's)"
    found["authors' weights"] = cls.about.weights if cls.about else ""
    found["here"] = ", ".join(present(name)) if cls.learned else ""
    return found


def present(name: str) -> list[str]:
    """Weight files on this machine: the shipped ones, and what scripts/get_data.py fetched."""
    tasks = (weights.shipped(name, task) for task in ("", "medical"))
    shipped = dict.fromkeys(file.name for file in tasks if file)
    folder = places.home() / "models" / name
    return [*shipped, *(f"{name}/{file.name}" for file in sorted(folder.glob("*")) if file.is_file())]


def measured(args: argparse.Namespace, name: str, height: int, width: int) -> dict[str, str]:
    network = NETWORKS[name]().to(args.device).eval()
    network.has_weights = True  # seconds do not depend on their values
    found = costs.in_a_process(network, height, width, threads=args.threads, repeats=args.repeats)
    return {"seconds": f"{found['seconds']:.3g}", "MiB": f"{found['peak']:.0f}"}


def table(rows: list[dict[str, str]]) -> str:
    """Markdown whose columns stand under each other."""
    columns = list(rows[0])
    cells = [columns, *([each[column] or "-" for column in columns] for each in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(f"{cell:{w}}" for cell, w in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "| " + " | ".join("-" * w for w in widths) + " |", *lines[1:]])


if __name__ == "__main__":
    sys.exit(main())
