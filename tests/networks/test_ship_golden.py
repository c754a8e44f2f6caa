"""SHIP against the authors' program on the sample pairs: raw output and pictures."""

import authors
import numpy as np
import pytest
import torch

from fusion import infer
from fusion.inference import bands
from fusion.networks import SHIP

pytestmark = pytest.mark.usefixtures("compiled_loops")

GOLDEN = authors.arrays("ship")


@pytest.fixture(scope="module")
def network():
    return authors.load(SHIP(), "ship")


def raw(network, letter, dtype=torch.float32):
    with torch.inference_mode():
        ir, vis = (torch.from_numpy(x)[None, None].to(dtype) for x in authors.pair("ship", letter))
        return network.raw(ir, vis)[0, 0].numpy()


def noise():
    """How far the authors' float32 lies from their float64; the product of two spectra enlarges rounding: 1.1e-5."""
    return max(np.abs(GOLDEN[f"{a}/y_raw"][::7, ::7] - GOLDEN[f"{a}/float64/y_raw"]).max() for a in "AB")


def test_the_noise_is_that_of_float32():
    assert noise() < 1.2e-5


@pytest.mark.parametrize("letter", "AB")
def test_float64(letter, network):
    found = raw(network.double(), letter, torch.float64)
    network.float()
    np.testing.assert_allclose(found[::7, ::7], GOLDEN[f"{letter}/float64/y_raw"], rtol=0, atol=1e-12)
    # And every pixel of the authors' float32, which is as far from this as it always was.
    assert np.abs(found - GOLDEN[f"{letter}/y_raw"]).max() < 2e-5


@pytest.mark.parametrize("way", ["plain", "loops", "PyTorch"])
@pytest.mark.parametrize("letter", "AB")
def test_float32(letter, way, network, monkeypatch):
    if way == "PyTorch":
        monkeypatch.setattr(bands, "available", lambda: False)
    found = raw(network, letter) if way == "plain" else infer.run(network, *authors.pair("ship", letter))
    assert authors.close(found[::7, ::7], GOLDEN[f"{letter}/float64/y_raw"], noise())
    # The whole, against an array with that noise of its own.
    assert authors.close(found, GOLDEN[f"{letter}/y_raw"], noise())


@pytest.mark.parametrize("letter", "AB")
def test_pictures(letter, network):
    """In colour. Where a value sits between two levels, the last bits of float32 decide."""
    fused, theirs = infer.fuse(network, *authors.crop(letter)), GOLDEN[f"{letter}/rgb_8bit"]
    difference = np.abs(fused[::3, ::3].astype(int) - theirs)
    assert difference.max() <= 1
    # A value within MARGIN times the noise of such a place may go either way; the places are 1/255 apart.
    assert (difference > 0).mean() <= 2 * authors.MARGIN * noise() * 255
