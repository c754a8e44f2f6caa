"""What a pair costs: counts by hand, and a process that measures."""

import pytest
import torch

from fusion import build, precision
from fusion.inference import costs


def test_counts():
    """MMDRFuse: 3x3 from 2 to 4 channels and from 4 to 1, with biases; two FLOPs a multiply and an add."""
    network = build.network("mmdrfuse")
    assert costs.parameters(network) == 113
    assert costs.flops(network, 48, 64) == 2 * 9 * (2 * 4 + 4 * 1) * 48 * 64
    assert network.place.device.type == "cpu"  # counted on a copy


def test_learned_and_rule():
    learned, rule = (costs.of(build.ready(name), 48, 64, threads=1, repeats=1) for name in ("swift", "average"))
    assert learned["parameters"] == 91_913
    assert learned["flops"] > 0
    assert (rule["parameters"], rule["flops"]) == (None, None)
    for found in (learned, rule):
        assert found["seconds"] > 0
        assert 50 < found["mebibytes"] < 5000  # Python and PyTorch are in it


def test_memory_counts_the_pictures():
    network = build.network("densefuse")
    network.has_weights = True
    small, large = (costs.in_a_process(network, n, n, threads=1, repeats=1)["peak"] for n in (64, 768))
    assert large - small > 64 * 4 * 768 * 768 / 2**20  # its widest map at least


def test_a_gpu_is_warm_before_it_is_measured(monkeypatch):
    """A first run compiles, a second may record a graph: neither in seconds nor in the peak of tensors. Convolutions
    are those of pictures: TF32, PyTorch's own setting, would be another method's time."""
    happened = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: happened.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 * 2**20)
    clock = iter(range(1000))
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(clock) if happened.count("reset") else 0.0)
    convolutions = precision._convolutions()
    before = getattr(convolutions, precision.NAME)
    setattr(convolutions, precision.NAME, precision.ROUNDED)

    def fuse():
        happened.append(getattr(convolutions, precision.NAME))

    try:
        found = costs.watched(fuse, "cuda", repeats=4)
    finally:
        setattr(convolutions, precision.NAME, before)
    exact = precision.EXACT
    assert happened == [exact, exact, exact, "reset", exact, exact, exact, exact]
    assert (found["seconds"], found["peak"]) == (1, 5)


def test_errors_are_one_line():
    network = build.network("average")
    with pytest.raises(ValueError, match=r"^64x48: "):
        costs.in_a_process(network, 48, 64, threads=0, repeats=1)
    network.session = (number for number in ())  # nothing that can be stored
    with pytest.raises(ValueError, match="Average cannot be sent to a process of its own"):
        costs.in_a_process(network, 48, 64, threads=1, repeats=1)


def test_where():
    assert costs.processor()
    assert costs.machine(torch.device("cpu"), 1).startswith(f"{costs.processor()}, 1 thread, PyTorch ")
    assert ", 2 threads," in costs.machine(torch.device("cpu"), 2)
