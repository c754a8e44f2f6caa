"""CDDFuse against the authors' program on the sample pairs: raw output of all three skip modes, every feature."""

import authors
import numpy as np
import pytest
import torch

from fusion import infer
from fusion.inference import bands
from fusion.networks import CDDFuse
from tests.rounding import ChannelsFirst

pytestmark = pytest.mark.usefixtures("compiled_loops")

GOLDEN = authors.arrays("cddfuse")
JOBS = [(letter, skip) for letter in "AB" for skip in ("vis", "sum", "none")]


@pytest.fixture(scope="module")
def network():
    return authors.load(CDDFuse(), "cddfuse")


def raw(network, letter, dtype=torch.float32):
    with torch.inference_mode(), ChannelsFirst():
        ir, vis = (torch.from_numpy(x)[None, None].to(dtype) for x in authors.pair("cddfuse", letter))
        return network.raw(ir, vis)[0, 0].numpy()


def noise():
    """How far the authors' float32 lies from their float64; 1.4e-6, in the crops that were recorded whole."""
    whole = [(letter, skip) for letter, skip in JOBS if GOLDEN[f"{letter}/{skip}"].shape != (32, 27)]
    return max(np.abs(GOLDEN[f"{a}/{s}"][::7, ::7] - GOLDEN[f"{a}/float64/{s}"]).max() for a, s in whole)


def as_recorded(letter, skip, result):
    return result if result.shape == GOLDEN[f"{letter}/{skip}"].shape else result[::3, ::3]


def test_the_noise_is_that_of_float32():
    assert noise() < 2e-6


@pytest.mark.parametrize(("letter", "skip"), JOBS)
def test_float64(letter, skip, network, monkeypatch):
    monkeypatch.setattr(network, "skip", skip)
    found = raw(network.double(), letter, torch.float64)
    network.float()
    np.testing.assert_allclose(found[::7, ::7], GOLDEN[f"{letter}/float64/{skip}"], rtol=0, atol=1e-12)
    # And every pixel of the authors' float32, which is as far from this as it always was.
    assert np.abs(as_recorded(letter, skip, found) - GOLDEN[f"{letter}/{skip}"]).max() < 2e-6


@pytest.mark.parametrize("way", ["plain", "loops", "strips"])
@pytest.mark.parametrize(("letter", "skip"), JOBS)
def test_float32(letter, skip, way, network, monkeypatch):
    monkeypatch.setattr(network, "skip", skip)
    if way == "strips":
        monkeypatch.setattr(bands, "available", lambda: False)
    found = raw(network, letter) if way == "plain" else infer.run(network, *authors.pair("cddfuse", letter))
    assert authors.close(found[::7, ::7], GOLDEN[f"{letter}/float64/{skip}"], noise())
    # The whole, against an array with that noise of its own.
    assert authors.close(as_recorded(letter, skip, found), GOLDEN[f"{letter}/{skip}"], noise())


def features(network, ir, vis):
    """Channels first, without the batch: what the authors' modules hand on."""
    found = {}
    with torch.inference_mode():
        for name, image in (("vis", vis), ("ir", ir)):
            found[f"base_{name}"], found[f"detail_{name}"], found[f"shared_{name}"] = network.encoder(image)
        found["base_fused"] = network.base_fusion(found["base_vis"] + found["base_ir"])
        found["detail_fused"] = network.detail_fusion(found["detail_vis"] + found["detail_ir"])
        found["reduced"] = network.decoder.reduce(torch.cat((found["base_fused"], found["detail_fused"]), dim=-1))
    return {name: x[0].permute(2, 0, 1).numpy() for name, x in found.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_feature(network, dtype):
    ir, vis = (torch.from_numpy(x)[None, None].to(dtype) for x in authors.pair("cddfuse", "B"))
    found = features(network.to(dtype), ir, vis)
    network.float()
    assert len(found) == 9
    for name, x in found.items():
        pixels, moments = (GOLDEN[f"B/features/{name}/{kind}"] for kind in ("pixels", "mean_std"))
        # Recorded in float32, 1.9e-6 of the largest value from the authors' float64.
        tolerance = (4e-6 if dtype == torch.float64 else authors.MARGIN * 2e-6) * np.abs(pixels).max()
        middle, end = ([0, n // 2, n - 1] for n in x.shape[1:])
        np.testing.assert_allclose(x[:, middle][..., end], pixels, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_allclose([x.mean((1, 2)), x.std((1, 2))], moments, rtol=0, atol=tolerance, err_msg=name)
