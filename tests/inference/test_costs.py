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


@pytest.fixture(scope="module")
def small():
    network = build.network("densefuse")
    network.has_weights = True
    return network, costs.of(network, 64, 64, threads=1, repeats=1)


def test_learned_and_rule(small, monkeypatch):
    network, learned = small
    assert learned["parameters"] == costs.parameters(network)
    assert learned["flops"] == costs.flops(network, 64, 64) > 0
    assert learned["seconds"] > 0
    assert 50 < learned["mebibytes"] < 5000  # Python and PyTorch are in it
    monkeypatch.setattr(costs, "in_a_process", lambda *_, **__: {"seconds": 0.5, "peak": 600.0})
    rule = {"parameters": None, "flops": None, "seconds": 0.5, "mebibytes": 600.0}
    assert costs.of(build.network("average"), 48, 64, threads=1) == rule


def test_the_number_of_swifts_weights():
    assert costs.parameters(build.ready("swift")) == 91_913


def test_memory_counts_the_pictures(small):
    network, cost = small
    large = costs.in_a_process(network, 768, 768, threads=1, repeats=0)["peak"]
    assert large - cost["mebibytes"] > 64 * 4 * 768 * 768 / 2**20  # its widest map at least


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
