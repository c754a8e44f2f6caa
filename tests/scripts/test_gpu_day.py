"""scripts/gpu_day.py without a GPU says so; a part that fails or is cut off leaves its word and the others alone."""

from __future__ import annotations

import argparse
import json
import subprocess

import pytest
import torch


@pytest.fixture
def gpu_day(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "scripts"))
    import gpu_day

    monkeypatch.setattr(gpu_day, "about", lambda: {"torch": torch.__version__})
    return gpu_day


@pytest.fixture
def day(gpu_day, tmp_path):
    return gpu_day.Day(argparse.Namespace(minutes=1, out=tmp_path / "out", data=None, tiny=True, steps=6))


def test_without_a_gpu(gpu_day, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_day.main([]) == 2
    assert capsys.readouterr().err == "error: PyTorch sees no GPU here: nvidia-smi, and a CUDA build of torch\n"


def test_every_part_leaves_its_word(day, capsys):
    def fails(seconds):
        raise RuntimeError("CUDA error: out of luck\nmore of it")

    def is_cut_off(seconds):
        raise subprocess.TimeoutExpired("program", seconds)

    day.part("one", 0.5, fails)
    day.part("two", 0.5, is_cut_off)
    day.part("three", 0.5, lambda seconds: {"kernels": {"eager": 3}, "seconds": seconds < 60})
    results = json.loads((day.out / "results.json").read_text())
    assert results["one"]["failed"] == "RuntimeError: CUDA error: out of luck"
    assert results["two"]["cut off"].startswith("after ")
    assert results["three"] | {"took": 0} == {"kernels": {"eager": 3}, "seconds": True, "took": 0}
    assert "| three | kernels, eager | 3 |" in (day.out / "results.md").read_text()


def test_no_time_is_left(day, monkeypatch):
    monkeypatch.setattr(day, "left", lambda: -5.0)
    day.part("late", 1.0, lambda seconds: pytest.fail("there was no time for it"))
    assert day.results["late"]["cut off"] == "no time was left"


def test_a_long_run_that_is_cut_off_before_its_first_step(day, monkeypatch):
    monkeypatch.setattr(
        day, "program", lambda name, *words, **options: (day.out / f"{name}.log").write_text("") * 0 + 143
    )
    assert day.long_run("ship", 1.0) == {"steps": 0, "not finite": 0, "exit status": 143, "after resuming": 143}


def test_programs_end_in_time(day):
    assert not day.in_time("sleeps", "-c", "import time; time.sleep(60)", seconds=0.5)
    assert day.in_time("speaks", "-c", "print('a word')", seconds=30)
    assert day.said("speaks") == "a word\n"
    with pytest.raises(ValueError, match=r"^exit status 3: the reason$"):
        day.in_time("fails", "-c", "print('the reason'); raise SystemExit(3)", seconds=30)
    ready = day.out / "ready"
    asks = f"import signal, time, pathlib; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    assert day.program("stopped", "-c", asks, seconds=30, stop=ready.exists) in (-15, 143)
