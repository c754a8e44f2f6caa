"""PyTorch computes until loops are ready, pictures change by rounding only, and nothing is compiled for good twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import pytest

pytest.importorskip("numba")
from fusion.inference import readiness
from fusion.inference.loops import compiler


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """As in a program: nobody waits, nothing is known yet."""
    monkeypatch.delenv("FUSION_LOOPS")
    monkeypatch.setattr(readiness, "STATES", {})
    monkeypatch.setattr(compiler, "SAID", [])


def joined():
    for thread in threading.enumerate():
        if thread.name == "fusion loops":
            thread.join(60)


class Loops:
    """What would have to be compiled, once."""

    def __init__(self):
        self.begun, self.go_on, self.there = threading.Event(), threading.Event(), False

    def __call__(self, ir, vis):
        return "loops"

    def rehearse(self):
        if not self.there and not compiler.HERE.compiles:
            raise compiler.Missing
        self.begun.set()
        assert self.go_on.wait(60)
        self.there = True


def test_pytorch_computes_meanwhile_and_it_is_said_once():
    loops = Loops()
    form = readiness.Meanwhile("a", loops, lambda ir, vis: "PyTorch")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert [form(0, 0), form(0, 0)] == ["PyTorch"] * 2
        assert loops.begun.wait(60)
        assert form(0, 0) == "PyTorch"
        assert not readiness.ready("another", loops.rehearse)  # one after the other
        loops.go_on.set()
        joined()
        assert form(0, 0) == "loops"
    assert ["PyTorch computes" in str(each.message) for each in said] == [True]


def test_kept_loops_are_used_at_once():
    loops = Loops()
    loops.there = True
    loops.go_on.set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert readiness.ready("a", loops.rehearse)


def test_where_nothing_can_be_compiled_pytorch_stays():
    def rehearse():
        if not compiler.HERE.compiles:
            raise compiler.Missing
        raise RuntimeError("no such instruction")

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert not readiness.ready("a", rehearse)
        joined()
        assert not readiness.ready("a", rehearse)
    assert str(said[-1].message) == "loops cannot be compiled here, PyTorch computes: no such instruction"
    assert readiness.STATES == {"a": "failed"}


@pytest.mark.parametrize(("word", "expected"), [("wait", True), ("off", False)])
def test_the_environment_decides(monkeypatch, word, expected):
    from fusion.inference import bands

    monkeypatch.setenv("FUSION_LOOPS", word)
    assert bands.available() == expected
    if expected:
        assert readiness.ready("a", pytest.fail)
    monkeypatch.setenv("FUSION_LOOPS", "perhaps")
    with pytest.raises(ValueError, match="FUSION_LOOPS must be wait or off, or not set; got 'perhaps'"):
        bands.available()


FUSE = """
import numpy as np, torch
import fusion
torch.manual_seed(0)
network = fusion.load("swift").form()
ir, vis = np.random.default_rng(0).integers(0, 256, (2, 40, 48), np.uint8)
print(fusion.fuse(network, ir, vis).astype(int).sum() // 1000)
from fusion.inference import readiness
print(*readiness.STATES.values())
"""


def test_a_process_with_an_empty_cache_fuses_at_once_and_ends(tmp_path):
    """Even while something is being compiled; what has been is there for the next one."""
    environment = {key: value for key, value in os.environ.items() if key != "FUSION_LOOPS"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", FUSE], capture_output=True, text=True, env=environment, check=True)
    total, state = done.stdout.split()
    assert int(total) > 0
    assert state == "coming"
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*.nbi"))
