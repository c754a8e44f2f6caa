"""scripts/benchmark.py metrics, on a small scale: its baseline is right and its table whole. Speed is not tested."""

import sys
from pathlib import Path

import pytest

from fusion.metrics import profile

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    from benchmarks import metrics

    return metrics


def test_the_plain_way_gives_the_same_numbers(module):
    fused, ir, vis = module.scene(64, 80)
    plain = module.plain_metrics()
    assert list(plain) == list(profile("cddfuse"))
    for name, m in profile("cddfuse").items():
        assert plain[name](fused, ir, vis) == pytest.approx(m(fused, ir, vis), rel=1e-8), name


def test_table_and_memory(module, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    ratios = module.run(parser.parse_args(["--size", "192x176", "--rounds", "1"]))
    out = capsys.readouterr().out
    assert set(ratios) == {*profile("cddfuse"), "all", "memory"}
    assert "profile all: 52 metrics in " in out
    assert not ratios["memory"] > 200  # MB; nan where the system does not tell
