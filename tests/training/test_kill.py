"""Killed at any moment and resumed, a run ends with the bytes of one that nobody disturbed."""

import json
from pathlib import Path

import tiny
import torch
from safetensors.torch import load_file

from tests.processes import run


def test_kill_minus_nine_five_times(tmp_path, monkeypatch, one_thread):
    tiny.prepare(tmp_path / "whole", ema=0.9, steps=12)
    monkeypatch.chdir(tmp_path / "whole")
    assert tiny.program().main(["-opt", "tiny.yml"]) == 0

    tiny.prepare(tmp_path / "killed", ema=0.9, steps=12)
    done = run(tmp_path, Path(tiny.__file__), "kill", str(tmp_path / "killed"))
    assert done.status == 0, done.err
    runs = [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]
    assert [run["status"] for run in runs] == [-9] * 5 + [0]
    assert any(name.endswith(".part") for name in runs[2]["files"])  # killed in the middle of writing
    assert not any(name.endswith(".part") for name in runs[-1]["files"])
    steps = [int(run["target"]) for run in runs[:-1] if run["target"].isdigit()]
    assert min(steps) <= 12 < max(steps)  # of both phases

    results = [tmp_path / name for name in ("whole", "killed")]
    whole, killed = (load_file(folder / "models/tiny.safetensors") for folder in results)
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[k], killed[k]) for k in whole)
    whole, killed = (
        [
            {k: v for k, v in json.loads(line).items() if k != "speed"}
            for line in (folder / "runs/tiny/log.jsonl").read_text().splitlines()
        ]
        for folder in results
    )
    assert whole == killed
