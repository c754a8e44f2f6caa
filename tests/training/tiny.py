"""The smallest run that has everything: both phases of a small CDDFuse on random patches; for the tests of training.

python tests/training/tiny.py SCENARIO FOLDER     one of the functions at the end, in a process of its own
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import random
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import torch
import yaml
from accelerate import Accelerator

from fusion.networks import CDDFuse
from fusion.objectives import CDDFuseFusion, CDDFuseReconstruction
from fusion.training.phases import Every, Phase, trained_steps
from fusion.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
NETWORK = {"dim": 8, "heads": 2, "blocks": 1}
OBJECTIVES = {"reconstruction": CDDFuseReconstruction, "fusion": CDDFuseFusion}
SIZE = 16  # pixels


def program() -> ModuleType:
    """train.py as a module."""
    spec = importlib.util.spec_from_file_location("training_program", ROOT / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the command line's run -----------------------------------------------------------------------------------------


def pixels(n: int, seed: int = 0) -> np.ndarray:
    """(n, 1, SIZE, SIZE) float32 in [0, 1]: a ramp of its own each, and noise."""
    numbers = np.random.default_rng(seed)
    ramps = np.linspace(0, 1, SIZE) * numbers.random((n, 1, 1, 1)) + numbers.random((n, 1, 1, 1)) / 2
    return (0.6 * ramps + 0.1 * numbers.random((n, 1, SIZE, SIZE))).astype(np.float32)


def write_patches(path: Path, n: int = 14, **replaced: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, data in {"ir": pixels(n, 0), "vis": pixels(n, 1), **replaced}.items():
            file[name] = data


def config(steps: int = 8) -> dict:
    """Two phases of `steps` steps each, on ./patches.h5."""
    phases = [
        {
            "name": name,
            "length": steps,
            "objective": {"name": f"cddfuse_{name}", "weights": dict(objective.published)},
            "clip": {"norm": 0.01},
        }
        for name, objective in OBJECTIVES.items()
    ]
    return {
        "name": "tiny",
        "network": {"name": "cddfuse", "options": dict(NETWORK)},
        "data": {"name": "patches", "options": {"path": "patches.h5", "augment": True}, "batch_size": 4, "workers": 1},
        "phases": phases,
        "rate": {"name": "StepLR", "lr": 1e-4, "options": {"step_size": 5, "gamma": 0.5}},
        "precision": "fp32",
        "device": "cpu",
        "log_every": 1,
        "save_every": 3,
    }


def prepare(folder: Path, steps: int = 8, **changes) -> None:
    """Patches and tiny.yml in `folder`, with `changes` of the config's first level."""
    folder.mkdir(parents=True, exist_ok=True)
    write_patches(folder / "patches.h5")
    (folder / "tiny.yml").write_text(yaml.safe_dump({**config(steps), **changes}))


# --- a trainer without YAML -----------------------------------------------------------------------------------------


def phases_of(network: CDDFuse, steps: int) -> list[Phase]:
    return [
        Phase(name, i * steps, cls(network=network, weights=cls.published), cls.trains, 0.01)
        for i, (name, cls) in enumerate(OBJECTIVES.items(), start=1)
    ]


def batches(size: int, dtype: torch.dtype = torch.float32, rank: int = 0, world: int = 1):
    """start -> endless batches; sample j of the run is the same whatever the size of a batch."""

    def stream(start: int):
        i = start
        while True:
            mine = [j for j in range(i * size, (i + 1) * size) if j % world == rank]
            keys = {"ir": 0, "vis": 1, "mask": 2}
            tensors = {k: np.concatenate([pixels(1, 3 * j + seed) for j in mine]) for k, seed in keys.items()}
            yield {k: torch.from_numpy(x).to(dtype) for k, x in tensors.items()} | {
                "name": [f"sample {j}" for j in mine]
            }
            i += 1

    return stream


def trainer(folder: Path, *, network=None, phases=None, dtype=torch.float32, batch=4, steps=10, **options) -> Trainer:
    if network is None:
        torch.manual_seed(0)
        network = CDDFuse(**NETWORK)
    network.to(dtype)
    phases = phases or phases_of(network, steps)
    counts = trained_steps(phases)
    groups = [{"params": [*part.parameters()], "name": k} for k, part in network.named_children() if k in counts]
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=options.get("accumulation", 1))
    everything = {
        "optimizer": torch.optim.Adam(groups, lr=1e-3),
        "rates": {part: [1e-3] * count for part, count in counts.items()},
        "batches": batches(batch, dtype, accelerator.process_index, accelerator.num_processes),
        "every": Every(log=1, save=0),
        "config": {},
        **options,
    }
    return Trainer(network=network, phases=phases, accelerator=accelerator, folder=folder, **everything)


# --- scenarios ------------------------------------------------------------------------------------------------------


def share(folder: Path) -> None:
    """A run in float64 without files of data, then the command line's in float32; each leaves its weights in folder."""
    torch.set_num_threads(1)
    run = trainer(folder / "double", dtype=torch.float64)
    run.run()
    if run.accelerator.is_main_process:
        torch.save(run.network.state_dict(), folder / "double.pt")
    os.chdir(folder)
    sys.exit(program().main(["-opt", "tiny.yml"]))


def kill(folder: Path) -> None:
    """The run of `folder`, killed at four random steps and while it writes a checkpoint, and resumed to its end."""
    torch.set_num_threads(1)
    os.chdir(folder)
    train, log = program(), Path("runs/tiny/log.jsonl")
    last = sum(phase["length"] for phase in yaml.safe_load(Path("tiny.yml").read_text())["phases"])
    targets = sorted(random.Random(0).sample(range(1, last), 4))
    targets.insert(2, "writing")

    def slow(descriptor: int) -> None:
        Path("writing").touch()
        time.sleep(60)

    for target in [*targets, math.inf]:
        child = os.fork()
        if child == 0:
            if target == "writing":
                os.fsync = slow
            os._exit(train.main(["-opt", "tiny.yml", "--resume"]))
        while target != math.inf:
            steps = log.read_text().count("\n") if log.exists() else 0
            if Path("writing").exists() if target == "writing" else steps >= target:
                time.sleep(random.Random(str(target)).random() / 20)
                os.kill(child, signal.SIGKILL)
                break
            time.sleep(0.002)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        files = sorted(str(path.name) for path in Path("runs/tiny/checkpoints").glob("*"))
        print(json.dumps({"target": str(target), "status": status, "files": files}), flush=True)


if __name__ == "__main__":
    {"share": share, "kill": kill}[sys.argv[1]](Path(sys.argv[2]))
