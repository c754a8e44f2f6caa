"""build.device on machines with and without GPUs; no GPU is needed to ask."""

import pytest
import torch

from fusion import build


def refusal(name):
    with pytest.raises(ValueError, match=r"^device: ") as refused:
        build.device(name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


def breaks(*arguments, **options):
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")


def test_a_number_that_no_gpu_has(one_gpu, monkeypatch):
    """PyTorch is not asked: it would print a trace of C++ before its message."""
    monkeypatch.setattr(torch, "ones", breaks)
    assert refusal("cuda:99") == "device: 'cuda:99' cannot be used here (there are 1 GPUs); try auto or cpu"


def test_a_gpu_too_old_for_the_package(one_gpu, monkeypatch):
    monkeypatch.setattr(torch, "ones", breaks)
    with pytest.warns(
        UserWarning, match=r"^the GPU cannot be used \(CUDA error: no kernel image [^\n]*: the CPU is taken$"
    ):
        assert build.device("auto") == torch.device("cpu")
    assert "no kernel image" in refusal("cuda")


def test_words_that_name_no_device():
    assert "'gpu' cannot be used here" in refusal("gpu")
    assert "'meta' cannot be used here" in refusal("meta")
    assert build.device("cpu") == torch.device("cpu")
