"""Loss functions against the authors' programs, on crops of the sample pairs: no network between."""

import authors
import numpy as np
import pytest
import torch

from fusion import losses

CDDFUSE = authors.numbers("cddfuse_steps")["without_network"]
SHIP = authors.numbers("ship_losses")["without_network"]
# Recorded in float32: means over 8,192 pixels of values up to 1 or so.
RECORDED = {"rel": 1e-6, "abs": 1e-7}


def source(name):
    """(vis, ir, y) in float64, y as the README of the golden numbers says."""
    vis, ir = (authors.batch()[side].numpy() for side in ("vis", "ir"))
    y = {"noisy": lambda: authors.noisy(vis), "ir": lambda: ir, "inverted": lambda: 1 - vis, "itself": lambda: vis}
    return tuple(torch.from_numpy(x).double() for x in (vis, ir, y[name]()))


@pytest.mark.parametrize("name", CDDFUSE)
def test_cddfuse(name):
    vis, ir, y = source(name)
    golden = CDDFUSE[name]
    intensity, gradient = losses.intensity_loss(y, ir, vis), losses.gradient_loss(y, ir, vis)
    found = {
        "ssim_loss": losses.ssim_loss(vis, y),
        "mse": losses.mse_loss(vis, y),
        "spatial_gradient_l1": losses.spatial_gradient_loss(vis, y),
        "intensity": intensity,
        "gradient": gradient,
        "fusion_total": intensity + 10 * gradient,
        "correlation": losses.correlation(vis.movedim(1, -1), y.movedim(1, -1)),
    }
    # SSIM's variances are differences of float32 sums: theirs is 5e-6 off on the decoder's pictures.
    rel = {"ssim_loss": 1e-5}
    wanted = {n: pytest.approx(x, rel=rel.get(n, RECORDED["rel"]), abs=RECORDED["abs"]) for n, x in golden.items()}
    assert {n: x.item() for n, x in found.items()} == wanted


@pytest.mark.parametrize("name", CDDFUSE)
def test_ssim_map(name):
    vis, _, y = source(name)
    found = losses.ssim_loss_map(vis, y)[:, 0, ::3, ::3]
    # Theirs is float32: a window's variance is the difference of two sums near 1, each off by up to 121 units of
    # 2^-24, next to C2 = 9e-4. The mean of the map, above, is closer.
    np.testing.assert_allclose(found, authors.arrays("cddfuse")[f"steps/ssim_loss_map/{name}"], rtol=0, atol=2e-4)


def test_ship():
    vis, ir, mask = (authors.batch()[name] for name in ("vis", "ir", "mask"))
    fused = authors.noisy((vis.numpy().astype(np.float64) + ir.numpy()) / 2)
    authors.check("ship/batch", fused_without_network=fused)
    vis, ir, mask, fused = (x.double() for x in (vis, ir, mask, torch.from_numpy(fused)))
    fused.requires_grad_()
    found = {
        "mask": losses.masked_sources_loss(fused, ir, vis, mask),
        "intensity": losses.intensity_loss(fused, ir, vis),
        "gradient": losses.gradient_loss(fused, ir, vis),
    }
    assert {n: x.item() for n, x in found.items()} == pytest.approx(SHIP["unweighted_losses"], rel=1e-6)
    total = 3 * found["mask"] + 10 * found["intensity"] + 10 * found["gradient"]
    assert total.item() == pytest.approx(SHIP["weighted_total"], rel=1e-6)
    total.backward()
    assert fused.grad.norm().item() == pytest.approx(SHIP["gradient_norm"], rel=1e-6)
    recorded = authors.arrays("ship")["without_network/gradient"]
    # Whole signs, added up: values up to 0.04, where no sign depends on the last bit.
    np.testing.assert_allclose(fused.grad[:, 0, ::3, ::3], recorded, rtol=0, atol=1e-8)
