"""scripts/benchmark.py zoo: its plain graphs compute what ours do, and its table says how fast both are."""

import sys
from pathlib import Path

import pytest
import torch

from fusion import build
from fusion.networks.base import folded

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(SCRIPTS))
    try:
        import benchmark
        from benchmarks import plain_zoo, zoo

        yield benchmark, plain_zoo, zoo
    finally:
        sys.path.remove(str(SCRIPTS))


def test_plain_graphs_are_the_same_function(scripts):
    """In float64, against the form that fuses pictures."""
    _, plain_zoo, zoo = scripts
    ir, vis = torch.rand(2, 1, 1, 33, 40, dtype=torch.float64)
    for name in zoo.NAMES:
        network = build.network(name).double()
        with torch.inference_mode():
            plain = plain_zoo.plain(name, network).double()(ir, vis)
            torch.testing.assert_close(folded(network).raw(ir, vis), plain, rtol=0, atol=1e-12, msg=name)


def test_table(scripts, capsys, tmp_path, monkeypatch):
    """In this process; that others are started is `test_benchmark_infer.py`'s."""
    benchmark, _, zoo = scripts

    def here(args, kind, h, w):
        return zoo.infer.measure({**vars(args), "file": None, "kind": kind, "h": h, "w": w})

    monkeypatch.setattr(zoo.infer, "in_a_process", here)
    command = ["zoo", "--names", "mmdrfuse", "--size", "64x48", "--rounds", "1", "--repeats", "1", "--threads", "1"]
    assert benchmark.main([*command, "-o", str(tmp_path / "zoo")]) == 0
    text = capsys.readouterr().out
    assert text.endswith((tmp_path / "zoo.md").read_text())
    cells = [cell.strip() for cell in text.splitlines()[-1].split("|")[1:-1]]
    assert cells[0] == "mmdrfuse"
    assert all(float(cell) > 0 for cell in cells[1:])
    assert benchmark.main(["zoo", "--names", "swift"]) == 2
    assert "unknown method swift" in capsys.readouterr().err
