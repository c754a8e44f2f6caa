"""Who may import whom (the table of DESIGN.md), and that importing does nothing but define."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module may import modules of lower levels. The first pattern that matches decides; names without `fusion.`.
LEVELS = [
    (-1, "reading reading.* names filters"),  # below all: what a file is, and what it is called
    (-1, "layers tensorflow_checkpoint report"),  # operators, a format, tables as text
    (0.5, "inference.costs"),
    (0, "places terminal registry options images losses memory precision bulk bulk.share"),
    (0, "data.sampler training.checkpoint networks.base networks.learned.blocks networks.rule_based.planes"),
    (0, "weight_files page page.* web latex inference inference.*"),
    (0.5, "pairing bulk.record"),
    (1, "networks networks.* data data.* metrics metrics.* objectives.base training.rates"),
    (1, "config command infer onnx_file videos videos.* weights bulk.stream"),
    (2, "fuser objectives objectives.* training.phases"),
    (2.5, "bulk.folder_run"),
    (3, "build training training.trainer"),
    (4, "build_training app app.*"),
    (0, "training.*"),  # the trainer's helpers
]
FREE_AMONG_SIBLINGS = (
    "fusion.app",
    "fusion.metrics",
    "fusion.data",
    "fusion.videos",
    "fusion.page",
    "fusion.reading",
    "fusion.inference",
    "fusion.inference.loops",
)
PROGRAMS = {"test", "train", "scripts", "tests"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


LIBRARY = {module_name(p): p.read_text(encoding="utf-8") for p in sorted((ROOT / "fusion").rglob("*.py"))}
ALL_FILES = sorted([*ROOT.glob("*.py"), *(ROOT / "fusion").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])


def imports(source: str, known: set[str]) -> set[str]:
    """Full names of all that `source` imports, in functions too; `from a import b` is a.b where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            full = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else module for name in full}
    return found


def ours(name: str) -> bool:
    return name == "fusion" or name.startswith(("fusion.", "."))


def level(module: str) -> float | None:
    short = module.removeprefix("fusion.")
    return next((n for n, patterns in LEVELS if any(fnmatch(short, p) for p in patterns.split())), None)


def offences(library: dict[str, str]) -> list[str]:
    """A line for every import in {module: source} that the table forbids."""
    found = []
    for module, source in library.items():
        if module == "fusion":
            continue
        if level(module) is None:
            found.append(f"{module} stands in no level: add it here and in DESIGN.md")
            continue
        is_package = any(other.startswith(f"{module}.") for other in library)
        package = module if is_package else module.rpartition(".")[0]
        for name in imports(source, set(library)):
            if name.split(".")[0] in PROGRAMS or (ours(name) and level(name) is None):
                found.append(f"{module} imports {name}")
            elif ours(name) and level(name) >= level(module):
                member = name.startswith(f"{package}.")
                contents = package == module and member
                sibling = package in FREE_AMONG_SIBLINGS and member and level(name) == level(module)
                if not contents and not sibling:
                    found.append(f"{module} (level {level(module)}) imports {name} (level {level(name)})")
    return found


def test_every_import_goes_down_the_table():
    assert offences(LIBRARY) == []


TOY = {
    "fusion": "",
    **{
        f"fusion.{name}": ""
        for name in ("registry", "images", "report", "infer", "weights", "losses", "layers", "build")
    },
    **{f"fusion.networks{name}": "" for name in ("", ".base", ".ship", ".cddfuse")},
    **{f"fusion.objectives{name}": "" for name in ("", ".ship", ".cddfuse")},
    **{f"fusion.metrics{name}": "" for name in ("", ".vif", ".windows")},
    **{f"fusion.data{name}": "" for name in ("", ".folder", ".saliency")},
    **{f"fusion.training{name}": "" for name in ("", ".trainer")},
}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("fusion.images", "from fusion import infer"),
        ("fusion.images", "def f():\n    import fusion.registry"),
        ("fusion.report", "from fusion.images import write"),
        ("fusion.infer", "from fusion.weights import load"),
        ("fusion.networks.ship", "from fusion.networks.cddfuse import Block"),
        ("fusion.networks.ship", "from fusion import losses, build"),
        ("fusion.networks.ship", "from fusion.networks import CDDFuse"),
        ("fusion.objectives.ship", "import fusion.objectives.cddfuse"),
        ("fusion.metrics.vif", "from fusion.data import folder"),
        ("fusion.metrics.vif", "import test"),
        ("fusion.training.trainer", "from fusion.build import network"),
        ("fusion.training.trainer", "from fusion import __version__"),
        ("fusion.infer", "from .images import read"),
        ("fusion.brand_new", ""),
    ],
)
def test_a_forbidden_import_is_noticed(module, line):
    assert len(offences({**TOY, module: line})) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("fusion.metrics.vif", "from fusion.metrics import windows"),
        ("fusion.data.folder", "from fusion.data.saliency import levels"),
        ("fusion.networks.ship", "from fusion import layers\nfrom fusion.networks.base import Network"),
        ("fusion.objectives.ship", "from fusion.networks.ship import SHIP"),
    ],
)
def test_an_allowed_import_is_not(module, line):
    assert offences({**TOY, module: line}) == []


def cycle(library: dict[str, str]) -> list[str]:
    graph = {m: {n for n in imports(source, set(library)) if n in library} for m, source in library.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def test_no_cycles():
    assert cycle(LIBRARY) == []
    assert cycle({"fusion.a": "from fusion import b", "fusion.b": "def f():\n    import fusion.a"}) != []


def test_the_package_itself_imports_nothing_until_called():
    assert not [n for n in ast.parse(LIBRARY["fusion"]).body if isinstance(n, (ast.Import, ast.ImportFrom))]


def test_no_import_is_hidden_in_a_string():
    hidden = re.compile(r"import_module|__import__|importlib\.util")
    assert [module for module, source in LIBRARY.items() if hidden.search(source)] == []


def test_devices_are_never_assumed():
    assert [path.name for path in ALL_FILES if re.search(r"\.cuda\(", path.read_text(encoding="utf-8"))] == []


# --- importing does nothing -----------------------------------------------------------------------------------------

PROBE = """
import contextlib, importlib, json, locale, logging, os, random, signal, sys, threading, warnings
from pathlib import Path

others, light, ours = json.loads(sys.argv[1])
for name in light:
    importlib.import_module(name)
loaded_early = "torch" in sys.modules
for name in ["torch", "cv2", "numpy", *others]:  # what these change is not ours to answer for
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
import cv2, numpy, torch

def state():
    return {
        "environment": dict(os.environ), "folder": os.getcwd(), "path": list(sys.path),
        "warning filters": [str(f) for f in warnings.filters], "locale": locale.setlocale(locale.LC_ALL),
        "logging": [logging.root.level, [str(h) for h in logging.root.handlers]],
        "signals": [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
        "threads": [threading.active_count(), torch.get_num_threads(), cv2.getNumThreads()],
        "torch": [str(torch.get_default_dtype()), torch.is_grad_enabled(), torch.backends.cudnn.benchmark,
                  torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
                  torch.cuda.is_initialized()],
        "random": [str(random.getstate()), str(numpy.random.get_state()), torch.get_rng_state().sum().item()],
        "files": sorted(str(p) for p in Path.cwd().rglob("*")),
    }

before = state()
for name in ours:
    importlib.import_module(name)
after = state()
changed = [key for key in before if before[key] != after[key]]
print(json.dumps({"changed": changed, "loaded early": loaded_early}))
"""


def test_importing_everything_changes_nothing(tmp_path):
    """Environment, warning filters, threads, random states, logging, signals, files and output stay as they were."""
    others = {n for source in LIBRARY.values() for n in imports(source, set(LIBRARY)) if not ours(n)}
    light = ["fusion", "fusion.registry", "fusion.config", "fusion.images", "fusion.report"]
    argument = json.dumps([sorted(others), light, list(LIBRARY)])
    done = subprocess.run(
        [sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROBE}", argument],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"changed": [], "loaded early": False}  # and nothing else was printed
    assert not [line for line in done.stderr.splitlines() if "fusion" in line]
