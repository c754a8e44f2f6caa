"""Whether bfloat16 is taken, by planted timings and processors; what was measured is kept; else exact, said once."""

from __future__ import annotations

import json
import warnings

import pytest
import torch

from fusion.inference import bands, choice
from fusion.networks import SHIP, CDDFuse, Swift, base


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(choice, "KNOWN", {})
    base.say_once.cache_clear()


class Clock:
    """Stands still but for what runs advance it by."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def run(self, *seconds: float):
        """A trial that takes these times, one after the other, then the last one."""
        left = list(seconds)

        def trial():
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return trial


@pytest.mark.parametrize(
    ("exact", "bf16", "expected"),
    [
        ([2.0], [1.0], True),
        ([1.0], [2.0], False),
        ([1.0], [0.99], False),  # no clear gain: what is around it costs, too
        ([1.0], [1.0], False),
        ([1.0], [100.0, 0.5], True),  # the first run compiles
        ([2.0], [1.0, 1.0, 50.0, 50.0, 1.0], True),  # somebody else was at work
    ],
)
def test_planted_timings(exact, bf16, expected):
    clock = Clock()
    assert choice.faster(clock.run(*exact), clock.run(*bf16), clock) == expected


@pytest.fixture
def loops(monkeypatch, tmp_path):
    """With loops on a processor that multiplies bfloat16; returns the file that is kept and what was measured."""
    pytest.importorskip("numba")
    from fusion.inference.loops import compiler

    measured = []
    monkeypatch.setattr(choice, "unit_known", lambda: True)
    monkeypatch.setattr(bands, "available", lambda: True)
    monkeypatch.setattr(compiler, "BFLOAT16", True)
    monkeypatch.setattr(choice, "kept_in", lambda loop: tmp_path / "kept.json")
    monkeypatch.setattr(choice, "loop_trials", lambda method: {"exact": method, "bf16": method})
    monkeypatch.setattr(choice, "faster", lambda exact, bf16: measured.append(exact) or exact == "cddfuse")
    return tmp_path / "kept.json", measured


def test_what_was_measured_is_kept_until_loops_or_processor_change(loops, monkeypatch):
    from fusion.inference.loops import compiler

    file, measured = loops
    assert [choice.bf16_pays(name) for name in ("cddfuse", "ship", "cddfuse")] == [True, False, True]
    assert measured == ["cddfuse", "ship"]
    choice.KNOWN.clear()  # another process
    assert choice.bf16_pays("cddfuse")
    assert len(measured) == 2
    for name in ("PROCESSOR", "MADE_OF"):
        choice.KNOWN.clear()
        monkeypatch.setattr(compiler, name, "another")
        assert choice.bf16_pays("cddfuse")
    assert len(measured) == 4
    assert len(json.loads(file.read_text())) == 4


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"a": 1}'])
def test_a_damaged_file_is_measured_anew(loops, damage):
    file, measured = loops
    file.write_text(damage)
    assert choice.bf16_pays("cddfuse")
    assert measured == ["cddfuse"]


def test_without_the_unit_nothing_is_measured(loops, monkeypatch):
    from fusion.inference.loops import compiler

    monkeypatch.setattr(compiler, "BFLOAT16", False)
    assert not choice.bf16_pays("cddfuse")
    assert not loops[1]


def test_without_loops_pytorch_is_measured(monkeypatch):
    monkeypatch.setattr(bands, "available", lambda: False)
    asked = []
    monkeypatch.setattr(choice, "faster", lambda exact, bf16: asked.append((exact(), bf16())) or True)
    assert choice.bf16_pays("ship")
    assert choice.bf16_pays("cddfuse")
    assert [[x.dtype for x in pair] for pair in asked] == [[torch.float32, torch.bfloat16]] * 2


def test_the_trials_run():
    pytest.importorskip("numba")
    from fusion.inference.loops import compiler

    if not (compiler.USABLE and compiler.BFLOAT16):
        pytest.skip("this processor does not multiply bfloat16")
    for method in ("cddfuse", "ship"):
        assert choice.faster(**choice.loop_trials(method)) in (True, False)


def pays(monkeypatch, answer: bool) -> None:
    monkeypatch.setattr(choice, "bf16_pays", lambda method: answer)


@pytest.mark.parametrize("make", [lambda: CDDFuse(dim=16, heads=4, blocks=1), SHIP])
def test_exact_is_computed_where_bf16_does_not_pay_and_that_is_said_once(monkeypatch, make):
    pays(monkeypatch, False)
    network = make()
    ir, vis = torch.rand(2, 1, 1, 24, 24)
    exact = network.fuse_for_inference().raw(ir, vis)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        forms = [network.fuse_for_inference(speed=speed) for speed in ("bf16", "bf16", "fast")]
    assert ["slower than exact" in str(each.message) for each in said] == [True]
    assert all(torch.equal(form.raw(ir, vis), exact) for form in forms)


@pytest.mark.parametrize("loops", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fast_is_bf16_where_that_pays(monkeypatch, loops):
    pays(monkeypatch, True)
    if not loops:
        monkeypatch.setattr(bands, "available", lambda: False)
    network = SHIP()
    ir, vis = torch.rand(2, 1, 1, 24, 24)
    exact, bf16, fast = (network.fuse_for_inference(speed=s).raw(ir, vis) for s in ("exact", "bf16", "fast"))
    assert torch.equal(fast, bf16)
    if not torch.equal(bf16, exact):  # loops without the unit compute exactly
        assert (fast - exact).abs().mean() < 0.5 / 255


def test_fast_is_exact_for_methods_without_another_form(monkeypatch):
    monkeypatch.setattr(choice, "bf16_pays", pytest.fail)
    network = Swift().eval()
    ir, vis = torch.rand(2, 1, 1, 24, 24)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast, exact = (network.fuse_for_inference(speed=speed).raw(ir, vis) for speed in ("fast", "exact"))
    assert torch.equal(fast, exact)


def test_little_memory_takes_features_in_bfloat16_even_where_they_are_slower(monkeypatch):
    pays(monkeypatch, False)
    network = CDDFuse(dim=16, heads=4, blocks=1)
    monkeypatch.setattr(bands, "available", lambda: False)
    exact = network.fuse_for_inference().compute
    ir, vis = torch.rand(2, 1, 1, 200, 64)
    needed = min(exact.memory(200, 64, way, storage) for way, storage in exact.ways(64, "cpu"))
    with pytest.raises(ValueError, match="needs at least"):
        network.fuse_for_inference(max_memory=needed - 1).raw(ir, vis)
    result = network.fuse_for_inference(speed="bf16", max_memory=needed - 1).raw(ir, vis)
    assert (result - network.fuse_for_inference().raw(ir, vis)).abs().mean() < 0.5 / 255
