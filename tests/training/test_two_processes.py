"""Two processes that share a batch take the steps of one process with the whole of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from tests.processes import several

VALIDATION = {"every": 5, "limit": 1, "pictures": 1, "metrics": {"names": ["SF", "MSE"]}, "best": "SF"}


@pytest.fixture
def folders(tmp_path, root):
    found = {}
    for processes in (1, 2):
        folder = found[processes] = tmp_path / str(processes)
        datasets = [{"name": "sample", "root": str(root / "test_img/sample")}]
        tiny.prepare(folder, steps=5, validation={**VALIDATION, "datasets": datasets}, ema=0.9)
    return found


def records(folder):
    return [json.loads(line) for line in (folder / "runs/tiny/log.jsonl").read_text().splitlines()]


def forked(folder):
    done = [each.wait() for each in several(2, folder, Path(tiny.__file__), "share", str(folder))]
    assert [each.status for each in done] == [0, 0], done[0].err
    return "".join(each.out for each in done)


def by_torchrun(folder):
    """Seconds more: each process imports PyTorch, the launcher too."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *torchrun, tiny.__file__, "share", str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("two", [forked, pytest.param(by_torchrun, marks=pytest.mark.slow)])
def test_two_processes_equal_one(folders, two, capsys, monkeypatch, one_thread):
    monkeypatch.chdir(folders[1])
    said = two(folders[2])
    with pytest.raises(SystemExit, match="0"):
        tiny.share(folders[1])
    outputs = [capsys.readouterr().out, said]
    one, two = (torch.load(folder / "double.pt", weights_only=True) for folder in folders.values())
    # 10 steps of Adam at 1e-3 in float64; measured 4e-14.
    assert max((one[k] - two[k]).abs().max() for k in one) < 1e-11

    # The same in float32 through the command line, at the published rate. A sum of two halves rounds otherwise than a
    # whole one, and Adam divides a gradient by its own size, so that where a gradient is little more than rounding a
    # weight may go either way, by up to the rate a step. Such weights are few: as a whole, the paths part by little.
    one, two = (load_file(folder / "models/tiny.safetensors") for folder in folders.values())
    torch.manual_seed(0)
    untrained = tiny.CDDFuse(**tiny.NETWORK).state_dict()

    def distance(a, b):
        return torch.cat([(a[k] - b[k]).flatten() for k in one]).norm()

    assert distance(one, two) < 0.02 * distance(one, untrained)
    assert max((one[k] - untrained[k]).abs().max() for k in one) > 1e-4

    # Validation and saving happen once; what is logged is the mean over processes.
    assert [len(text.splitlines()) for text in outputs] == [3, 3], outputs
    alone, shared = records(folders[1]), records(folders[2])
    assert [r["step"] for r in shared] == [*range(1, 6), 5, *range(6, 11), 10]
    for a, b in zip(alone, shared, strict=True):
        assert a.keys() == b.keys()
        for group in ("loss", "validation"):
            assert b.get(group, {}) == pytest.approx(a.get(group, {}), rel=1e-4)
    assert len(list((folders[2] / "runs/tiny/tensorboard").iterdir())) == 1
