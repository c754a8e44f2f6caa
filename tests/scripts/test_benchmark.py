"""scripts/benchmark.py: every benchmark of the table runs, on a small scale; speed itself is not tested here."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def main(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    spec = importlib.util.spec_from_file_location("benchmark", SCRIPTS / "benchmark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_loader(main, tmp_path, capsys):
    small = ["--patches", "20", "--rounds", "1", "--seconds", "0.02", "--folder", str(tmp_path)]
    assert main(["loader", *small]) == 0
    out = capsys.readouterr().out
    assert "1.0x  a loop, file opened for every pair" in out
    assert "our loader, stacked h5" in out
    assert not list(tmp_path.iterdir())


def test_folders(main, capsys, monkeypatch):
    """The loop that fuse.py is compared with runs in this process."""
    from benchmarks import folders

    timed = folders.timed

    def here(command):
        if command[1] != "-c":
            return timed(command)
        folders.one_by_one(*command[-3:], model="average")
        return 1.0, 1.0, 100

    monkeypatch.setattr(folders, "timed", here)
    assert main(["folders", "--pairs", "4", "--rounds", "1", "--model", "average"]) == 0
    *_, before, now, verdict = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in (before, now)] == ["before", "fuse.py"]
    assert verdict.startswith("median of 1: ")
    assert main(["folders", "--huge", "30", "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[::5] == ["30", "30"]  # of 30 pairs, all


def test_an_unknown_benchmark_is_refused(main, capsys):
    with pytest.raises(SystemExit):
        main(["lodaer"])
    assert "choose from" in capsys.readouterr().err
