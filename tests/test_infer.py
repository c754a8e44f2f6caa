"""Fusing a pair: every form of input gives one picture, colour comes back, what cannot be fused is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import fusion.networks  # noqa: F401 -- registers the networks
from fusion import build, images, infer
from fusion.networks import Average, Convention, Network
from fusion.registry import NETWORKS


@pytest.fixture
def average() -> Network:
    return build.network("average")


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def network(request) -> Network:
    """Every registered network, untrained."""
    torch.manual_seed(0)
    built = build.network(request.param)
    built.has_weights = True  # and does not say that it has none
    return built


def noise(*shape, seed=0, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def mild(*shape, seed=0) -> np.ndarray:
    """Values of the middle, whose colour survives a change of luminance unclipped."""
    return (100 + noise(*shape, seed=seed) // 5).astype(np.uint8)


class Spy(Network):
    """Keeps what it was given and answers with the infrared plane."""

    learned = False

    def __init__(self, convention: Convention):
        super().__init__()
        self.convention = convention

    def raw(self, ir, vis):
        self.seen = ir[0, 0].numpy().copy(), vis[0, 0].numpy().copy()
        self.mode = self.training
        return ir


# --- input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coloured", [False, True])
def test_paths_arrays_and_tensors_give_one_picture(tmp_path, average, coloured):
    ir, vis = noise(20, 30), noise(20, 30, 3, seed=1) if coloured else noise(20, 30, seed=1)
    images.write(tmp_path / "ir.png", ir)
    images.write(tmp_path / "vis.png", vis)
    expected = infer.fuse(average, ir, vis)
    assert expected.dtype == np.uint8
    assert expected.shape == vis.shape

    as_float = [x.astype(np.float32) / np.float32(255) for x in (ir, vis)]
    planes = [torch.from_numpy(x if x.ndim == 2 else x.transpose(2, 0, 1)) for x in as_float]
    forms = {
        "path": (tmp_path / "ir.png", tmp_path / "vis.png"),
        "name": (str(tmp_path / "ir.png"), str(tmp_path / "vis.png")),
        "mixed": (ir, tmp_path / "vis.png"),
        "float32": as_float,
        "float64": [x / 255 for x in (ir, vis)],
        "uint16": [x.astype(np.uint16) * 257 for x in (ir, vis)],
        "fortran": [np.asfortranarray(x) for x in (ir, vis)],
        "strided": [np.repeat(x, 2, axis=1)[:, ::2] for x in (ir, vis)],
        "lists": [x.astype(float).tolist() for x in as_float],
        "tensor": planes,
        "tensor with channels": [x if x.ndim == 3 else x[None] for x in planes],
        "tensor with batch": [x[None] if x.ndim == 3 else x[None, None] for x in planes],
        "tensor of bytes": [(x * 255).round().to(torch.uint8) for x in planes],
        "tensor of doubles": [x.double() for x in planes],
        "tensor with gradients": [x.clone().requires_grad_() for x in planes],
    }
    for form, (a, b) in forms.items():
        np.testing.assert_array_equal(infer.fuse(average, a, b), expected, err_msg=form)


def test_half_precision_tensors(average):
    gray = torch.full((5, 6), 0.5)
    for dtype in (torch.float16, torch.bfloat16):
        np.testing.assert_array_equal(infer.fuse(average, gray.to(dtype), gray.to(dtype)), 128)


def test_read_only_and_mirrored_arrays(average):
    ir, vis = noise(20, 30), noise(20, 30, 3, seed=1)
    expected = infer.fuse(average, ir[:, ::-1].copy(), vis[:, ::-1].copy())
    mirrored = ir[:, ::-1], vis[:, ::-1]
    for array in mirrored:
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(infer.fuse(average, *mirrored), expected)


def test_inputs_stay_as_they_are(average):
    for ir, vis in ((noise(9, 9), noise(9, 9, 3)), (noise(9, 9) / 255, noise(9, 9, 3) / 255)):
        before = ir.copy(), vis.copy()
        infer.fuse(average, ir, vis)
        np.testing.assert_array_equal(ir, before[0])
        np.testing.assert_array_equal(vis, before[1])


def test_16_bits_are_not_cut_to_8():
    spy = Spy(Convention())
    ir = noise(9, 9, dtype=np.uint16)
    infer.fuse(spy, ir, noise(9, 9))
    np.testing.assert_allclose(spy.seen[0], ir / 65535, atol=1e-7)  # float32


@pytest.mark.parametrize("bad", [-0.01, 1.01, 200.0, np.nan])
def test_floats_out_of_range_are_refused(average, bad):
    wrong = np.full((9, 9), 0.5)
    wrong[3, 4] = bad
    for ir, vis in ((wrong, noise(9, 9)), (noise(9, 9), wrong), (torch.from_numpy(wrong), noise(9, 9))):
        with pytest.raises(ValueError, match=r"expected float samples in \[0, 1\], got .*: scale them first"):
            infer.fuse(average, ir, vis)


@pytest.mark.parametrize(
    "wrong", [np.zeros((9, 9, 4), np.uint8), np.zeros((1, 9, 9), np.uint8), np.zeros(9, np.uint8), np.zeros((0, 9)), 3]
)
def test_other_shapes_are_refused_by_name(average, wrong):
    for ir, vis, name in ((wrong, noise(9, 9), "ir"), (noise(9, 9), wrong, "vis")):
        with pytest.raises(ValueError, match=rf"^{name} has the shape .*: expected \(H, W\) or \(H, W, 3\) RGB$"):
            infer.fuse(average, ir, vis)


@pytest.mark.parametrize("shape", [(2, 9, 9), (2, 1, 9, 9), (1, 4, 9, 9), (1, 1, 1, 9, 9), (9,)])
def test_other_tensors_are_refused_by_name(average, shape):
    with pytest.raises(ValueError, match=r"^vis is a tensor of shape .*: expected \(H, W\) or "):
        infer.fuse(average, noise(9, 9), torch.zeros(shape))


def test_two_sizes_are_named_with_the_remedy(average):
    with pytest.raises(ValueError, match=r"^ir is 480x640 but vis is 960x1280 ") as caught:
        infer.fuse(average, np.zeros((480, 640), np.uint8), np.zeros((960, 1280, 3), np.uint8))
    assert str(caught.value).endswith("bring the pair to one size first (scripts/fuse.py --resize)")


def test_too_small_a_pair_names_the_smallest_size(network):
    n = network.min_size
    for h, w in ((n - 1, n + 5), (n + 5, n - 1), (1, 300)):
        expected = rf"^the pair is {h}x{w}: {type(network).__name__} needs at least {n}x{n} pixels$"
        with pytest.raises(ValueError, match=expected):
            infer.fuse(network, np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8))
    assert infer.fuse(network, noise(n, n), noise(n, n, seed=1)).shape == (n, n)


@pytest.mark.parametrize("option", [{"output": "color"}, {"output": ""}, {"task": "Medical"}, {"task": None}])
def test_unknown_choices_are_refused(average, option):
    with pytest.raises(ValueError, match=rf"^{next(iter(option))} must be one of .*, .*; got "):
        infer.fuse(average, noise(9, 9), noise(9, 9), **option)


# --- what the network sees ------------------------------------------------------------------------------------------


def test_colours_become_luminance():
    ir, vis = noise(9, 9, 3), noise(9, 9, 3, seed=1)
    spy = Spy(Convention())
    infer.fuse(spy, ir, vis)
    np.testing.assert_array_equal(spy.seen, [images.luminance(ir), images.luminance(vis)])

    rounded = Spy(Convention(rounded_input=True))
    infer.fuse(rounded, ir, vis)
    np.testing.assert_allclose(rounded.seen, [images.grey_levels(x) / 255 for x in (ir, vis)], atol=1e-7)  # float32

    first = Spy(Convention(infrared="first"))
    infer.fuse(first, ir, vis)
    np.testing.assert_array_equal(first.seen, [images.luminance(ir[..., 0]), images.luminance(vis)])
    infer.fuse(first, ir, vis, task="medical")  # a PET image's first channel would drop most of it
    np.testing.assert_array_equal(first.seen[0], images.luminance(ir))


def test_modes_and_device_stay_as_they_were(average):
    network = Spy(Convention())
    network.frozen, network.learning = nn.Dropout(0.5), nn.Linear(2, 2)
    for training in (True, False):
        network.train(training)
        network.frozen.eval()
        infer.fuse(network, noise(9, 9), noise(9, 9))
        assert network.mode is False
        assert [m.training for m in (network, network.frozen, network.learning)] == [training, False, training]
    assert network.learning.weight.device == torch.device("cpu")
    assert network.learning.weight.grad is None
    assert torch.is_grad_enabled()


def test_a_method_without_weights_stands_on_a_device_too():
    """`meta` computes nothing: that it is asked to shows that the pair was taken there."""
    network = Average().to("meta")
    assert network.place.device.type == network.form().place.device.type == "meta"
    with pytest.raises(NotImplementedError, match="meta tensor"):
        infer.fuse(network, *np.zeros((2, 8, 8), np.uint8))


def test_modes_are_restored_after_a_failure():
    class Broken(Spy):
        def raw(self, ir, vis):
            raise RuntimeError("broken")

    network = Broken(Convention()).train()
    with pytest.raises(RuntimeError, match="broken"):
        infer.fuse(network, noise(9, 9), noise(9, 9))
    assert network.training


# --- colour ---------------------------------------------------------------------------------------------------------


def test_gray_in_gray_out_and_gray_on_request(average):
    ir, gray, colour = noise(9, 11), noise(9, 11, seed=1), noise(9, 11, 3, seed=2)
    assert infer.fuse(average, ir, gray).shape == (9, 11)
    assert infer.fuse(average, ir, np.stack([gray] * 3, -1)).shape == (9, 11)  # no colour in it
    assert infer.fuse(average, ir, colour).shape == (9, 11, 3)
    assert infer.fuse(average, ir, colour, output="gray").shape == (9, 11)
    assert infer.fuse(average, colour, gray).shape == (9, 11)  # false colours of an infrared camera are no colour


CHROMA = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])  # Cb, Cr of BT.601


def test_the_result_has_the_sources_chroma_and_the_fused_luminance(network):
    n = max(network.min_size, 24)
    ir, vis = mild(n, n), mild(n, n, 3, seed=1)
    # The stretch of a whole coloured picture is there to change it.
    network.convention = replace(network.convention, stretch_picture=False)
    gray, colour = infer.fuse(network, ir, vis, output="gray"), infer.fuse(network, ir, vis)
    whole = ((colour > 0) & (colour < 255)).all(axis=-1)  # nothing clipped there
    assert whole.sum() > 20  # an untrained network clips much
    # Two roundings to whole levels, and OpenCV's constants of three digits.
    assert np.abs(images.grey_levels(colour) - gray)[whole].max() <= 2
    assert np.abs((colour.astype(float) - vis) @ CHROMA.T)[whole].max() <= 2


def test_a_medical_pair_takes_the_colour_of_the_functional_image(average):
    pet, mri = mild(9, 11, 3), mild(9, 11, seed=1)
    result = infer.fuse(average, pet, mri, task="medical")
    assert np.abs((result.astype(float) - pet) @ CHROMA.T).max() <= 2
    stacked = infer.fuse(average, pet, np.stack([mri] * 3, -1), task="medical")
    np.testing.assert_array_equal(stacked, result)
    assert infer.fuse(average, pet, mri).ndim == 2
    assert infer.fuse(average, pet, mri, task="medical", output="gray").ndim == 2
    assert infer.fuse(average, mri, mri, task="medical").ndim == 2


def test_which_image_of_a_medical_pair_comes_first():
    """U2Fusion's authors put PET where the visible image of other pairs is."""
    pet, mri = noise(9, 11), noise(9, 11, seed=1)
    for first, task, swapped in [("ir", "medical", True), ("ir", "infrared-visible", False), ("vis", "medical", False)]:
        spy = Spy(Convention(medical_first=first))
        infer.fuse(spy, pet, mri, task=task)
        seen = spy.seen[::-1] if swapped else spy.seen
        for plane, picture in zip(seen, (pet, mri), strict=True):
            np.testing.assert_array_equal(plane, np.float32(picture) / 255)


# --- the final step -------------------------------------------------------------------------------------------------


def test_final_steps():
    ir = np.array([[0.2, 0.3], [0.6, 0.6]])
    gray = np.zeros((2, 2))
    levels = 255 * ir
    np.testing.assert_array_equal(infer.fuse(Spy(Convention()), ir, gray), np.rint(levels))
    np.testing.assert_array_equal(infer.fuse(Spy(Convention(stretch=True)), ir, gray), [[0, 64], [255, 255]])
    truncated = infer.fuse(Spy(Convention(quantise="truncate")), ir + 1e-4, gray)
    np.testing.assert_array_equal(truncated, np.floor(levels + 0.0255))


def test_output_beyond_the_range_is_clipped():
    class Wild(Spy):
        def raw(self, ir, vis):
            return 4 * ir - 1

    ir = np.array([[0.0, 0.5], [1.0, 0.25]])
    for colour in ("ycrcb", "shift"):
        for quantise in ("round", "truncate"):
            network = Wild(Convention(colour=colour, quantise=quantise))
            np.testing.assert_array_equal(infer.fuse(network, ir, ir), [[0, 255], [255, 0]])
            assert infer.fuse(network, ir, mild(2, 2, 3)).shape == (2, 2, 3)


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")
def test_constant_pictures(network):
    n = max(network.min_size, 16)
    for a, b in ((0, 0), (255, 255), (0, 255), (128, 128), (128, 7)):
        ir, vis = np.full((n, n), a, np.uint8), np.full((n, n), b, np.uint8)
        raw = infer.run(network, *infer.input_planes(network, ir, vis, "infrared-visible"))
        assert np.isfinite(raw).all()
        assert infer.fuse(network, ir, vis).shape == (n, n)
        assert infer.fuse(network, ir, np.stack([vis, vis, ir], -1)).shape[:2] == (n, n)


def test_a_constant_result_is_not_stretched():
    np.testing.assert_array_equal(infer.stretch(np.full((3, 3), 0.25)), 0.25)
