"""`import fusion`: load, fuse, evaluate, as the README shows them."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

import fusion
from fusion import images, metrics, places, weights
from fusion.networks import CDDFuse, Swift

SMALL = {"dim": 8, "heads": 2, "blocks": 1}


@pytest.fixture
def pair(tmp_path):
    """Paths and arrays of a pair: 16-bit gray infrared, coloured visible."""
    rng = np.random.default_rng(0)
    ir = rng.integers(0, 65536, (64, 72), np.uint16)
    vis = rng.integers(0, 256, (64, 72, 3), np.uint8)
    images.write(tmp_path / "ir.tif", ir)
    images.write(tmp_path / "vis.png", vis)
    return (tmp_path / "ir.tif", tmp_path / "vis.png"), (ir, vis)


def test_load_fuse_evaluate(pair):
    paths, arrays = pair
    network = fusion.load("cpfusion")
    assert not network.training
    picture = fusion.fuse(network, *paths)
    assert (picture.dtype, picture.shape) == (np.uint8, (64, 72, 3))
    np.testing.assert_array_equal(picture, fusion.fuse(network, *map(str, paths)))
    np.testing.assert_array_equal(picture, fusion.fuse(network, *arrays))
    assert fusion.fuse(network, *paths, output="gray").shape == (64, 72)
    scores = fusion.evaluate(picture, *paths)
    assert list(scores) == list(metrics.profile("cddfuse"))
    assert scores == fusion.evaluate(picture, *arrays)
    assert all(np.isfinite(list(scores.values())))


def test_options_and_weights(tmp_path):
    assert fusion.load("cpfusion", levels=3, merge=False).levels == 3
    torch.manual_seed(0)
    network = CDDFuse(**SMALL)
    weights.save(tmp_path / "x.safetensors", network, name="cddfuse", options=SMALL)
    loaded = fusion.load("cddfuse", tmp_path / "x.safetensors")
    assert torch.equal(loaded.encoder.embed.weight, network.encoder.embed.weight)
    assert fusion.load("cddfuse", str(tmp_path / "x.safetensors"), skip="none").skip == "none"


def test_a_network_is_loaded_onto_a_device():
    there = "cuda" if torch.cuda.is_available() else "cpu"
    for name in ("average", "swift"):
        assert fusion.load(name).place.device.type == "cpu"
        assert fusion.load(name, device="auto").place.device.type == there
    with pytest.raises(ValueError, match=r"^device: 'cuda:99' cannot be used here \([^\n]*\); try auto or cpu$"):
        fusion.load("swift", device="cuda:99")


@pytest.mark.parametrize("name", ["swift", "cddfuse", "ship"])
def test_a_name_is_enough(name, recwarn):
    """The shipped weights are in it, and fusing says nothing."""
    network = fusion.load(name)
    expected = safetensors.torch.load_file(places.models() / f"{name}_msrs.safetensors")
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    network.form()
    assert not [w for w in recwarn if "never given weights" in str(w.message)]


@pytest.mark.filterwarnings("always")
def test_an_untrained_network_says_so_once():
    ir, vis = np.random.default_rng(0).integers(0, 256, (2, 40, 48), np.uint8)
    for network in (fusion.load("swift", "none"), Swift()):
        with pytest.warns(UserWarning, match="^Swift was never given weights") as caught:
            [fusion.fuse(network, ir, vis) for _ in range(2)]
        assert len(caught) == 1
    own, trained = Swift(), Swift()
    own.load_state_dict(network.state_dict())
    trained.train()
    for network in (own, trained.eval(), copy.deepcopy(own), fusion.load("average")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fusion.fuse(network, ir, vis)


def test_a_file_is_enough(tmp_path):
    torch.manual_seed(0)
    network = CDDFuse(**SMALL)
    torch.save(network.state_dict(), tmp_path / "x.bin")
    for loaded in (fusion.load(weights=tmp_path / "x.bin"), fusion.load(str(tmp_path / "x.bin"))):
        assert torch.equal(loaded.encoder.embed.weight, network.encoder.embed.weight)
        assert loaded.skip == "vis"
    assert fusion.load(weights=tmp_path / "x.bin", task="medical").skip == "sum"


def test_shipped_weights_of_other_sizes():
    with pytest.raises(ValueError, match=r"with these options: .*: give weights of these sizes, or 'none'"):
        fusion.load("cddfuse", dim=8, heads=2)
    with pytest.raises(ValueError, match="expected a network's name, or a file"):
        fusion.load()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("cdfuse",), {}, LookupError, "No network named 'cdfuse'. Known: .* Did you mean 'cddfuse'"),
        (("cpfusion",), {"levls": 3}, ValueError, "takes no option 'levls'.* Did you mean 'levels'"),
        (("cpfusion",), {"levels": "3"}, ValueError, "network 'cpfusion': levels must be int; got '3'"),
        (("cpfusion",), {"merge": "no"}, ValueError, "network 'cpfusion': merge must be bool; got 'no'"),
        (("cpfusion",), {"base": "max"}, ValueError, r"base must be one of CC\+MAX, CC, MAX; got 'max'"),
        (("cddfuse", "none"), {"dim": -8}, ValueError, "network 'cddfuse' cannot be built with {'dim': -8}"),
        (("cddfuse", "none"), {"heads": 0}, ValueError, "network 'cddfuse' cannot be built with {'heads': 0}"),
        (("cddfuse", "nowhere.pth"), {}, FileNotFoundError, r"nowhere.pth is not there \(looked in "),
        (("average", __file__), {}, ValueError, "average is rule-based and takes no weights"),
    ],
)
def test_load_refuses_in_one_line(arguments, options, error, message):
    with pytest.raises(error, match=f"^.*{message}") as caught:
        fusion.load(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_fuse_refuses(pair, tmp_path):
    paths, (ir, vis) = pair
    network = fusion.load("average")
    with pytest.raises(ValueError, match="ir is 64x72 but vis is 63x72"):
        fusion.fuse(network, ir, vis[1:])
    with pytest.raises(FileNotFoundError):
        fusion.fuse(network, tmp_path / "nowhere.png", paths[1])
    with pytest.raises(ValueError, match="output must be one of gray, colour"):
        fusion.fuse(network, ir, vis, output="color")


def test_evaluate_scores_the_8_bit_luminance(pair):
    _, (ir, vis) = pair
    fused = np.random.default_rng(1).integers(0, 256, (64, 72), np.uint8)
    expected = metrics.evaluate(*map(images.grey_levels, (fused, ir, vis)))
    assert fusion.evaluate(fused, ir, vis) == expected
    assert fusion.evaluate(fused / 255, ir, vis, profile="cddfuse") == expected
    assert fusion.evaluate(torch.from_numpy(fused), ir, vis) == expected


def test_evaluate_refuses(pair):
    _, (ir, vis) = pair
    with pytest.raises(LookupError, match="No metric profile named 'cdfuse'"):
        fusion.evaluate(ir, ir, vis, profile="cdfuse")
    with pytest.raises(ValueError, match="fused is 63x72 but ir is 64x72"):
        fusion.evaluate(ir[1:], ir, vis)
    with pytest.raises(ValueError, match="VIF needs at least 41x41 pixels, got 40x72"):
        fusion.evaluate(ir[:40], ir[:40], vis[:40])
    with pytest.raises(ValueError, match="scale them first"):
        fusion.evaluate(ir.astype(float), ir, vis)


def test_version():
    assert fusion.__version__.count(".") == 2
