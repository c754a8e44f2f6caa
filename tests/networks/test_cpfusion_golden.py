"""CPFusion against the authors' program on the sample pairs: 72 option sets, both merge rules, whole pictures."""

import itertools

import authors
import numpy as np
import pytest
import torch

from fusion import images, infer
from fusion.networks import CPFusion

GOLDEN = authors.arrays("cpfusion")
RULES = {"merge": True, "nomerge": False}
# The order of the planes in GOLDEN: the last option changes fastest.
CHOICES = {
    "decomposition": ("Laplacian", "contrast"),
    "base": ("CC+MAX", "CC", "MAX"),
    "attention": ("SimAM", "DSimAM", "none"),
}
GRIDS = {  # crop, step between the recorded pixels, levels
    "merge/C/grid": ("C", 5, (3, 4)),
    "merge/E/grid": ("E", 9, (5,)),
    "nomerge/C/grid": ("C", 5, (4,)),
}
NOISE = 6e-7
"""Of the authors' float32 against float64, which is ours, as theirs was not run so (`test_float64`)."""
ROUNDING = authors.MARGIN * NOISE


def rgb(network, ir, vis):
    """(3, H, W), before the 8 bits."""
    raw = infer.run(network, *infer.input_planes(network, ir, vis, "infrared-visible"))
    if vis.ndim == 2:
        return raw[None].clip(0, 1)
    return images.recolour(raw, images.to_float(vis), network.convention.colour).transpose(2, 0, 1)


def sets(levels):
    for n in levels:
        for values in itertools.product(*CHOICES.values()):
            yield {"levels": n, **dict(zip(CHOICES, values, strict=True))}


@pytest.mark.parametrize("grid", GRIDS)
def test_every_option_set(grid):
    letter, step, levels = GRIDS[grid]
    expected, merge = GOLDEN[grid], RULES[grid.partition("/")[0]]
    assert len(expected) == 18 * len(levels)
    for options, plane in zip(sets(levels), expected, strict=True):
        found = rgb(CPFusion(merge=merge, **options), *authors.crop(letter))[1, ::step, ::step]
        np.testing.assert_allclose(found, plane, rtol=0, atol=ROUNDING, err_msg=str(options))


@pytest.mark.parametrize("grid", GRIDS)
def test_float64(grid):
    """No processor moves either side, so that the authors' rounding is all that may lie between."""
    letter, step, levels = GRIDS[grid]
    merge = RULES[grid.partition("/")[0]]
    ir, vis = (torch.from_numpy(images.to_float(x)).double() for x in authors.crop(letter))
    y = vis @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    for options, plane in zip(sets(levels), GOLDEN[grid], strict=True):
        fused = CPFusion(merge=merge, **options).raw(ir[None, None], y[None, None])[0, 0]
        found = (vis[..., 1] + fused - y).clamp(0, 1).numpy()[::step, ::step]
        np.testing.assert_allclose(found, plane, rtol=0, atol=NOISE, err_msg=str(options))


@pytest.mark.parametrize("rule", RULES)
def test_default_options(rule):
    network = CPFusion(merge=RULES[rule])
    whole, odd = (rgb(network, *authors.crop(letter)) for letter in "CD")
    close = {"rtol": 0, "atol": ROUNDING}
    np.testing.assert_allclose(whole[:, ::3, ::3], GOLDEN[f"{rule}/C/rgb"], **close)
    np.testing.assert_allclose(odd[1, ::3, ::3], GOLDEN[f"{rule}/D/green"], **close)
    if rule == "merge":
        np.testing.assert_allclose(whole[1], GOLDEN["merge/C/green"], **close)


def block_means(planes, side=16):
    """(c, H, W) -> means of blocks, cut ones over what is there."""
    h, w = planes.shape[1:]
    rows, columns = np.arange(0, h, side), np.arange(0, w, side)
    sums = np.add.reduceat(np.add.reduceat(planes.astype(np.float64), rows, axis=1), columns, axis=2)
    return sums / (np.diff([*rows, h])[:, None] * np.diff([*columns, w]))


@pytest.mark.parametrize("name", authors.numbers("inputs")["pictures"])
@pytest.mark.parametrize("rule", RULES)
def test_whole_pictures(rule, name):
    expected = GOLDEN[f"{rule}/blocks/{name}"]
    found = block_means(rgb(CPFusion(merge=RULES[rule]), *authors.picture(name)))
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("rule", RULES)
def test_the_picture_is_the_value_cut_to_8_bits(rule):
    network = CPFusion(merge=RULES[rule])
    fused = infer.fuse(network, *authors.crop("C"))[::3, ::3].transpose(2, 0, 1)
    theirs = GOLDEN[f"{rule}/C/rgb"].astype(np.float64) * 255
    # Truncation: a value within rounding of a level may fall either way.
    assert (fused >= np.floor(theirs - 255 * ROUNDING)).all()
    assert (fused <= np.floor(theirs + 255 * ROUNDING)).all()
