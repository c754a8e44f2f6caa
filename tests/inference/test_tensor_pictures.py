"""What a GPU does around a network is what NumPy and OpenCV do: bit for bit as far as OpenCV's own rounding is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion import build, images, infer
from fusion.inference import tensor_pictures
from fusion.networks import Convention, Network

CONVENTIONS = {
    "swift": Convention(),
    "cddfuse": Convention(rounded_input=True, stretch=True),
    "ship": Convention(infrared="first"),
    "cpfusion": Convention(colour="shift", quantise="truncate"),
    "tardal": Convention(clip=True, stretch=True),
    "seafusion": Convention(infrared="rounded", stretch_picture=True, quantise="truncate"),
    "u2fusion": Convention(stretch=True, medical_first="ir"),
    "lrrnet": Convention(stretched_input=1e-3, stretch=True, stretch_epsilon=1e-3),
}
TASKS = ("infrared-visible", "medical")


class Method(Network):
    """Leaves the range on both sides."""

    learned = False

    def __init__(self, convention: Convention):
        super().__init__()
        self.convention = convention

    def raw(self, ir, vis):
        return 1.5 * (0.4 * ir + 0.6 * vis) - 0.2


def noise(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def pairs():
    yield noise(48, 64), noise(48, 64, seed=1)
    yield noise(48, 64), noise(48, 64, 3, seed=1)
    yield noise(48, 64, 3), noise(48, 64, 3, seed=1)
    yield np.full((48, 64), 7, np.uint8), np.full((48, 64), 7, np.uint8)


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
@pytest.mark.parametrize("task", TASKS)
def test_planes_are_numpys(convention, task):
    network = Method(convention)
    for pair in pairs():
        expected = infer.input_planes(network, *pair, task)
        found = infer.input_planes(network, *map(torch.from_numpy, pair), task)
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b.numpy())


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
@pytest.mark.parametrize("task", TASKS)
def test_pictures_are_numpys(convention, task):
    network = Method(convention)
    for ir, vis in pairs():
        colours = infer.colour_source(ir, vis, task)
        expected = infer.picture(network, ir, vis, "colour", task)
        found = infer._picture_on_device(network, ir, vis, colours, task, None)
        assert found.dtype == np.uint8
        assert found.shape == expected.shape
        if colours is None or convention.colour == "shift":
            np.testing.assert_array_equal(found, expected)
            continue
        # OpenCV rounds once or twice, as the processor has it, of numbers up to 2: five times 2^-24 of 255 levels each
        # way, and a value so near to the border between two levels may take the other one.
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 2 * 5 * 2**-23 * 255 + 3 / difference.size


def test_every_colour_has_opencvs_grey_level():
    """The 16,782 colours halfway between two levels among them: all of every fifth red."""
    red, green, blue = np.meshgrid(np.arange(0, 256, 5), np.arange(256), np.arange(256), indexing="ij")
    colours = np.stack((red, green, blue), -1).astype(np.uint8).reshape(1, -1, 3)
    expected = images.rounded_luminance(colours)
    np.testing.assert_array_equal(tensor_pictures.rounded_luminance(torch.from_numpy(colours)).numpy(), expected)


def test_where_it_is_not_done():
    pair = noise(8, 8), noise(8, 8)
    assert infer.on_device(Method(Convention()), *pair)
    assert not infer.on_device(Method(Convention()), pair[0].astype(np.uint16), pair[1])
    assert not infer.on_device(Method(Convention(colour="ycrcb8")), *pair)
    bounded = build.ready("swift", max_memory="1GiB")  # what stands around a network needs room, too
    assert not infer.on_device(bounded, *pair)
    assert not infer.on_device(bounded.form(), *pair)
