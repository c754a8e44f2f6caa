"""Time what this project promises to be fast, against the plain way of doing it, in one run.

    python scripts/benchmark.py loader

Each benchmark is a module in scripts/benchmarks/ with `add_arguments(parser)` and `run(args)`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

from fusion.terminal import forgive_encodings

# what -> (module, one line of help); imported when chosen
BENCHMARKS = {
    "loader": ("benchmarks.loader", "patches read per second, against opening the file for every patch"),
    "train": ("benchmarks.train", "training steps per second and peak memory, against plain eager float32 ones"),
    "infer": ("benchmarks.infer", "seconds and memory of fusing one pair, against the plain modules"),
    "zoo": ("benchmarks.zoo", "the learned methods of other authors, against their plain graphs"),
    "memory": ("benchmarks.memory", "memory of fusing one pair at several sizes, against the plain modules"),
    "folders": ("benchmarks.folders", "folders of many pairs: pictures/s against one after the other; huge folders"),
    "align": ("benchmarks.align", "alignment of real pairs after a planted warp: error at the corners, doubt, seconds"),
    "metrics": ("benchmarks.metrics", "scoring one picture with 12 metrics, against each metric the plain way"),
}


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", metavar="what", required=True)
    for what, (module, line) in BENCHMARKS.items():
        command = commands.add_parser(what, help=line, description=line)
        if what in argv[:1]:
            benchmark = importlib.import_module(module)
            benchmark.add_arguments(command)
    args = parser.parse_args(argv)
    try:
        benchmark.run(args)
    except (ValueError, OSError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
