"""TF32 is a setting of CUDA that can be read and set without a GPU."""

import pytest
import torch

from fusion import precision

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def settings() -> dict:
    cudnn = torch.backends.cudnn
    return {
        "convolutions": getattr(precision._convolutions(), precision.NAME),
        "products": getattr(torch.backends.cuda.matmul, precision.NAME),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
    }


@pytest.fixture(autouse=True)
def as_before():
    before = settings()
    yield
    setattr(precision._convolutions(), precision.NAME, before["convolutions"])
    setattr(torch.backends.cuda.matmul, precision.NAME, before["products"])
    assert settings() == before


def test_pictures_are_float32s_and_nothing_else_changes():
    precision.round_products_in_training()
    before = settings()
    with precision.float32_products(CUDA):
        inside = settings()
    assert inside == before | {"convolutions": precision.EXACT, "products": precision.EXACT}
    assert before["products"] == precision.ROUNDED
    assert settings() == before  # also: cuDNN stays on


def test_losses_are_not_rounded_in_training():
    precision.round_products_in_training()
    assert settings()["convolutions"] == precision.EXACT


def test_on_a_cpu_nothing_is_touched(monkeypatch):
    """An application that mixes PyTorch's old and new names may not even read them."""
    monkeypatch.delattr(precision, "_convolutions")
    with precision.float32_products(CPU):
        pass


def test_a_failure_restores_them():
    before = settings()
    with pytest.raises(RuntimeError, match="broken"), precision.float32_products(CUDA):
        raise RuntimeError("broken")
    assert settings() == before
