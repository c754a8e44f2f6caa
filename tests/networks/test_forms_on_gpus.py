"""Which form a GPU's pictures are asked for, seen without a GPU: compiled code, and bfloat16 on old cards."""

import warnings

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fusion import build, infer, precision
from fusion.networks.base import Network


def cudnn() -> dict:
    """The settings that decide in which layout torch.compile's code expects the result of a convolution."""
    names = ("enabled", "benchmark", "deterministic")
    return {name: getattr(torch.backends.cudnn, name) for name in names}


@pytest.fixture
def compiler(monkeypatch):
    """torch.compile as one that notes its options, and cuDNN's settings whenever its code runs."""
    seen = {"options": [], "settings": []}

    def compile(function, **options):
        seen["options"].append(options)

        def run(*arguments):
            seen["settings"].append(cudnn())
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    # As for a network that stands on a GPU.
    monkeypatch.setattr(infer, "float32_products", lambda device: precision.float32_products(torch.device("cuda")))
    return seen


def test_compiled_code_runs_under_the_settings_it_was_made_for(compiler):
    """It is kept on disk under a name that does not tell whether cuDNN was on, and asserts the strides of that time."""
    network = build.ready("swift", speed="compiled")
    network.form().raw(*torch.rand(2, 1, 1, 16, 16))
    infer.fuse(network, *np.zeros((2, 16, 16), np.uint8))
    first, second = compiler["settings"]
    assert first == second == cudnn()
    assert first["enabled"]


def test_no_graph_is_recorded_for_every_size_of_pictures(compiler):
    """`reduce-overhead` would, and keep the memory of each."""
    network = build.ready("swift", speed="compiled")
    for side in (16, 24):
        network.form().raw(*torch.rand(2, 1, 1, side, side))
    assert compiler["options"] == [{}]  # once, in the default mode


class OnOldCard(Network):
    """Stands on a GPU that nobody has, and notes the type that its form is asked for."""

    learned = False

    def __init__(self):
        super().__init__()
        with FakeTensorMode(allow_non_fake_inputs=True):
            self.place = torch.empty(0, device="cuda")
        self.asked = []

    def inference_form(self, dtype, max_memory):
        self.asked.append(dtype)
        return self.raw


@pytest.mark.parametrize(("speed", "said"), [("bf16", True), ("fast", False), ("exact", False)])
@pytest.mark.parametrize("computes", [True, False])
def test_a_card_without_bfloat16_computes_exactly(monkeypatch, speed, said, computes):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: computes)
    network = OnOldCard()
    assert network.place.is_cuda
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        network.fuse_for_inference(speed=speed)
    rounded = computes and speed != "exact"
    assert network.asked == [torch.bfloat16 if rounded else torch.float32]
    words = ["this GPU does not compute in bfloat16: speed='exact' is taken"]
    assert [str(note.message) for note in notes] == words * (said and not computes)
