"""The same formulas on torch tensors: numpy's values, on the processor and, where there is one, on a GPU."""

import functools

import numpy as np
import pytest
import torch
from test_witnesses import scene

from fusion.metrics import evaluate
from fusion.registry import METRICS

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[CUDA, pytest.mark.cuda])]
# float64 both ways; sums in another order, transforms by another library. A GPU is promised to 1e-5.
TOLERANCE = {"cpu": 1e-9, "cuda": 1e-5}


@functools.cache
def values(where):
    pictures = scene(177, 198)
    if where != "numpy":
        pictures = [torch.from_numpy(image).to(where) for image in pictures]
    return evaluate(*pictures, profile="all")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("key", METRICS)
def test_agrees_with_numpy(key, device):
    value = values(device)[key]
    assert type(value) is float
    assert value == pytest.approx(values("numpy")[key], rel=TOLERANCE[device])


@pytest.mark.parametrize("device", DEVICES)
def test_levels_that_are_not_whole_and_pictures_that_are_constant(device):
    random = np.random.default_rng(0)
    triple = [random.random((180, 190)) * 200, random.integers(0, 256, (180, 190)), np.full((180, 190), 7)]
    for order in ((0, 1, 2), (2, 0, 1), (1, 1, 1), (2, 2, 2)):
        pictures = [triple[i] for i in order]
        tensors = [torch.as_tensor(image).to(device) for image in pictures]
        expected = evaluate(*pictures, profile="all")
        assert evaluate(*tensors, profile="all") == pytest.approx(
            expected, rel=TOLERANCE[device], abs=1e-9, nan_ok=True
        )


def test_any_type_of_tensor_is_taken_and_left_as_it_is():
    random = np.random.default_rng(1)
    levels = [torch.from_numpy(random.integers(0, 256, (50, 60), dtype=np.uint8)) for _ in range(3)]
    expected = evaluate(*levels)
    for dtype in (torch.float32, torch.int64, torch.float16):  # 0..255 are exact in all
        tensors = [image.to(dtype) for image in levels]
        assert evaluate(*tensors) == expected
        assert all(torch.equal(a, b.to(dtype)) for a, b in zip(tensors, levels, strict=True))
    with pytest.raises(ValueError, match=r"^ir has shape \(1, 50, 60\), expected \(H, W\)"):
        evaluate(levels[0], levels[1][None], levels[2])
    with pytest.raises(ValueError, match=r"^vis has levels up to 700, expected luminance in 0..255"):
        evaluate(levels[0], levels[1], torch.full((50, 60), 700))
