"""scripts/benchmark.py train: the plain step it compares with computes what ours computes; the table is complete."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from fusion.networks import SHIP, CDDFuse
from fusion.objectives import CDDFuseFusion, CDDFuseReconstruction, SHIPObjective

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    return importlib.import_module("benchmarks.plain")


THEIR_NAMES = [
    (r"\b(phi|rho|eta)\.0\.", r"\1.expand."),
    (r"\b(phi|rho|eta)\.3\.", r"\1.local."),
    (r"\b(phi|rho|eta)\.5\.", r"\1.project."),
    (r"^encoder\.detail\.", "encoder.detail.nodes."),
    (r"^detail_fusion\.", "detail_fusion.nodes.0."),
    (r"invertible\.(p|lower|upper|log_s)$", r"invertible.convolution.\1"),
    (r"invertible\.sign$", "invertible.convolution.sign_s"),
]


def ours(plain, like):
    """The plain network's weights under our names and in our shapes."""
    state = {}
    for name, value in plain.state_dict().items():
        for theirs, replacement in THEIR_NAMES:
            name = re.sub(theirs, replacement, name)
        state[name] = value.reshape(like[name].shape)
    return state


@pytest.mark.parametrize("cls", [CDDFuseReconstruction, CDDFuseFusion, SHIPObjective])
def test_plain_steps_compute_what_ours_compute(plain, cls):
    torch.manual_seed(0)
    # In float64: float32 rounding differs from processor to processor, and ReLU6, max and |x| turn it into gradients.
    theirs, network = (plain.SHIP(), SHIP()) if cls is SHIPObjective else (plain.CDDFuse(), CDDFuse())
    theirs, network = theirs.double(), network.double()
    network.load_state_dict(ours(theirs, network.state_dict()))
    batch = dict(zip(("ir", "vis", "mask"), torch.rand(3, 2, 1, 24, 24, dtype=torch.float64), strict=True))
    total = cls(network=network, weights=cls.published)(batch)["total"]
    if cls is not SHIPObjective:
        del batch["mask"]
    expected = (theirs.phase2 if cls is CDDFuseFusion else theirs.phase1)(**batch)
    assert total.item() == pytest.approx(expected.item(), rel=1e-10)
    total.backward()
    expected.backward()
    their_gradients = ours_gradients(theirs, network)
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            reference = their_gradients[name]
            assert (parameter.grad - reference).norm() <= 1e-8 * reference.norm() + 1e-12, name


def ours_gradients(theirs, network):
    for parameter in theirs.parameters():
        parameter.data = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
    return ours(theirs, network.state_dict())


@pytest.mark.slow
def test_every_way_is_measured(monkeypatch, capsys):
    """Half a minute: each is a process of its own."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    spec = importlib.util.spec_from_file_location("benchmark", SCRIPTS / "benchmark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    small = ["--batch", "1", "--size", "32", "--steps", "1", "--repeats", "1", "--device", "cpu", "--all"]
    assert module.main(["train", "--network", "ship", *small]) == 0
    out = capsys.readouterr().out
    assert "plain " in out
    assert "ours fp32 " in out
    assert " checkpointing " in out
    assert module.main(["train", "--network", "ship", "--phase", "2"]) == 2
