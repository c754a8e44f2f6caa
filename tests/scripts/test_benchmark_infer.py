"""The inference benchmark: its baseline has our weights and computes the same; its table holds what it measured."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
import torch

from fusion import build
from fusion.inference import costs
from tests.rounding import assert_within


@pytest.fixture(scope="module")
def scripts(root):
    sys.path.insert(0, str(root / "scripts"))
    yield
    sys.path.remove(str(root / "scripts"))


@pytest.mark.parametrize("name", ["cddfuse", "ship", "cpfusion"])
def test_the_plain_module_is_the_same_function(scripts, name):
    from benchmarks import infer

    torch.manual_seed(0)
    network = build.network(name)
    n = max(17, network.min_size)
    ir, vis = torch.rand(2, 1, 1, n, n + 6)
    with torch.inference_mode():
        plain = infer.plain(name, network)(ir, vis)
    assert_within(plain, network, ir, vis)


SMALL = ["--sizes", "80x64", "--rounds", "1", "--threads", "1"]


def test_the_table(scripts, tmp_path, capsys, monkeypatch):
    import benchmark
    from benchmarks import infer

    monkeypatch.setattr(infer, "TYPES", {"float32": torch.float32})
    assert benchmark.main(["infer", "--model", "cpfusion", *SMALL, "--kinds", "exact", "-o", str(tmp_path / "t")]) == 0
    assert "| cpfusion | 80x64 | exact |" in capsys.readouterr().out
    assert "| cpfusion | 80x64 | exact |" in (tmp_path / "t.md").read_text()
    assert 1 < json.loads((tmp_path / "t.json").read_text())["GFLOP/s"]["float32"] < 1e6
    (row,) = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert row["kind"] == "exact"
    assert 50 < row["peak"] < 5000  # Python and PyTorch are in it
    assert benchmark.main(["infer", "--kinds", "quick"]) == 2


def test_memory_as_a_function_of_pixels(scripts, tmp_path, capsys, monkeypatch):
    """What processes of their own say is `test_the_table`'s; here it is made up."""
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    import benchmark
    from benchmarks import memory

    monkeypatch.setattr(memory, "in_a_process", lambda args, kind, h, w: {"peak": w + h / 1000})
    arguments = ["memory", "--model", "ship", "--sizes", "40x32,640x512", "--kinds", "plain,exact", "--threads", "1"]
    assert benchmark.main([*arguments, "--plain-up-to", "2000", "-o", str(tmp_path / "m")]) == 0
    assert "| 640x512 | - | 641 |" in capsys.readouterr().out
    rows = json.loads((tmp_path / "m.json").read_text())["rows"]
    assert [(row["size"], row["kind"], row["peak"]) for row in rows] == [
        ("40x32", "plain", 40.032),
        ("40x32", "exact", 40.032),
        ("640x512", "exact", 640.512),
    ]
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def here(scripts, monkeypatch):
    """What a process of its own does is done in this one."""
    from benchmarks import infer

    def measured(args, kind, h, w):
        return infer.measure({"max_memory": None, **vars(args), "kind": kind, "h": h, "w": w})

    monkeypatch.setattr(infer, "in_a_process", measured)
    monkeypatch.setattr(infer, "arithmetic", lambda args, dtype: 1.0)


def test_from_arrays_to_the_picture(here, capsys):
    import benchmark

    assert benchmark.main(["infer", "--model", "swift", *SMALL, "--kinds", "plain,exact", "--arrays"]) == 0
    assert "| swift | 80x64 | exact |" in capsys.readouterr().out


def test_peers(here, capsys):
    """All that are installed, in one run: they have the file in common."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra `peers` is not installed")
    import benchmark

    peers = [peer for peer in ("onnxruntime", "openvino") if importlib.util.find_spec(peer)]
    arguments = ["infer", "--model", "swift", *SMALL, "--kinds", "exact"]
    assert benchmark.main([*arguments, "--peers", ",".join(peers)]) == 0
    out = capsys.readouterr().out
    assert all(f"| swift | 80x64 | {peer} |" in out for peer in peers)
    assert out.startswith(costs.processor())
    assert benchmark.main([*arguments, "--peers", "another"]) == 2


def test_a_peer_that_computes_something_else_is_refused(scripts):
    from benchmarks import peers

    network = build.network("swift")
    assert peers.checked("onnxruntime", network.raw, network) == network.raw
    for off in (1.1, float("nan")):
        with pytest.raises(ValueError, match=r"openvino is .* from PyTorch, expected 1e-02 at most"):
            peers.checked("openvino", lambda ir, vis, off=off: off * network.raw(ir, vis), network)
