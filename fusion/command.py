"""`irvis COMMAND ...`: the programs of a checkout, for those who installed the package. Each runs as it stands."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from fusion import places

COMMANDS = {
    "fuse": ("scripts/fuse.py", "a pair of pictures, the pairs of two folders, or two videos"),
    "score": ("scripts/score.py", "measure anybody's fused pictures"),
    "compare": ("test.py", "fuse and score data sets with several methods; tables and a page"),
    "train": ("train.py", "train a network"),
    "check": ("scripts/check_pairs.py", "what is wrong with a data set; aligned copies"),
    "data": ("scripts/get_data.py", "where data sets come from; fetch them"),
    "patches": ("scripts/make_patches.py", "cut training patches"),
    "saliency": ("scripts/make_saliency.py", "saliency masks for training"),
    "methods": ("scripts/methods.py", "all methods: papers, sizes, weights, time and memory"),
    "export": ("scripts/export_onnx.py", "write a network as an ONNX file"),
    "outlines": ("scripts/outlines.py", "gradient energy that no source explains"),
    "app": ("scripts/app.py", "a page in the browser that fuses the pictures dropped on it"),
}


def main() -> int:
    """Run the program that the first argument names, with the others; returns its exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        print(f"error: no command '{name}'; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    path = places.programs() / COMMANDS[name][0]
    sys.argv = [f"irvis {name}", *arguments[1:]]
    sys.path.insert(0, str(path.parent))  # as `python path` does
    run(path)
    return 0


def run(path: Path) -> None:
    """As `python path` does, but for its name: runpy would put the path into sys.argv, which --help prints."""
    program = ModuleType("__main__")
    program.__file__ = str(path)
    sys.modules["__main__"] = program  # spawned workers look there
    exec(compile(path.read_bytes(), path, "exec"), vars(program))


def usage() -> str:
    lines = [f"  {name:10}{words}" for name, (_, words) in COMMANDS.items()]
    return "\n".join(["usage: irvis COMMAND ...    (irvis COMMAND --help says more)", "", *lines])
