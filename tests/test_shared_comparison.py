"""`torchrun test.py`: two processes share the pairs and write the tables that one would."""

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import yaml

from fusion import images


def run(root, folder, *launcher):
    command = [sys.executable, *launcher, str(root / "test.py"), "-opt", "c.yml", f"out={folder}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    environment.pop("WORLD_SIZE", None)
    return command, environment


def test_two_processes_equal_one(tmp_path, root):
    rng = np.random.default_rng(0)
    for i in range(5):
        for kind in ("ir", "vi"):
            images.write(tmp_path / "set" / kind / f"{i}.png", rng.integers(0, 256, (48, 50), np.uint8))
    shutil.copy(tmp_path / "set/ir/0.png", tmp_path / "set/ir/alone.png")
    (tmp_path / "set/vi/3.png").write_bytes(b"no picture")
    models = [{"name": "average"}, {"name": "maximum"}]
    datasets = [{"name": "a", "root": "set"}]
    (tmp_path / "c.yml").write_text(yaml.safe_dump({"out": "x", "models": models, "datasets": datasets}))

    done = {}
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    any_port = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    launchers = {"one": (), "two": (*torchrun, *any_port)}
    for folder, launcher in launchers.items():
        command, environment = run(root, folder, *launcher)
        done[folder] = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    tables = {folder: list(csv.reader((tmp_path / folder / "metrics.csv").open())) for folder in done}
    assert tables["one"] == tables["two"]
    assert len(tables["one"]) == 1 + 4 * 2
    assert all(run.returncode == 1 for run in done.values())
    assert done["two"].stdout.count("All of it") == 1
    for text in ("alone.png has no visible partner", "3.png cannot be decoded"):
        assert text in done["one"].stdout
        assert text in done["two"].stdout
