"""swift's target picture, against what its formula must give where that is known."""

import pytest
import torch

from fusion.networks import Swift
from fusion.objectives import SwiftObjective
from fusion.objectives.swift import brightness, enlarge, pyramid, stronger

PLAIN = {"sum_share": 0.0, "detail": 1.0, "contrast": 1.0, "darker": 0.0}


def target(ir, vis, **options):
    objective = SwiftObjective(network=Swift(), weights=SwiftObjective.published, **{**PLAIN, **options})
    return objective.target(ir, vis)


def scene(seed=0, h=64, w=80):
    """Smooth and in the middle of the range, with some texture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 1, h // 16, w // 16, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bicubic")
    return (0.3 + 0.3 * smooth + 0.05 * torch.rand(2, 1, h, w, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("levels", [0, 1, 4, 9])
def test_a_pyramid_adds_up_to_the_picture(levels):
    image = scene(h=48, w=70)
    details, rest = pyramid(image, levels)
    assert len(details) == min(levels, 3)  # 48 -> 24 -> 12 -> 6
    for detail in reversed(details):
        rest = enlarge(rest, detail) + detail
    torch.testing.assert_close(rest, image)


def test_two_equal_sources_are_the_target():
    image = scene()
    torch.testing.assert_close(target(image, image), image, atol=1e-5, rtol=0)


def test_texture_over_a_brighter_plain_is_kept_in_full():
    """What a per-pixel maximum loses: the darker image's texture."""
    bright = torch.full((1, 1, 64, 64), 0.8)
    texture = 0.3 + 0.05 * torch.sign(torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5)
    fused = target(bright, texture)
    assert torch.equal(torch.maximum(bright, texture), bright)
    assert fused.std().item() == pytest.approx(texture.std().item(), rel=0.05)
    assert fused.mean().item() == pytest.approx(0.8, abs=0.01)


def test_both_sources_count_alike():
    ir, vis = scene(1), scene(2)
    torch.testing.assert_close(
        target(ir, vis, sum_share=0.3, contrast=1.3), target(vis, ir, sum_share=0.3, contrast=1.3)
    )


def test_the_sharper_the_choice_the_more_the_stronger_detail_prevails():
    a, b = (s * torch.sign(torch.rand(1, 1, 32, 32) - 0.5) for s in (0.1, 0.02))
    shares = [((stronger(a, b, sharpness) - a).abs().mean() / 0.1).item() for sharpness in (0, 1, 2, 4)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.01
    torch.testing.assert_close(stronger(a, b, 0), (a + b) / 2)


def test_the_sum_keeps_what_both_show():
    a, b = torch.full((1, 1, 8, 8), 0.2), torch.full((1, 1, 8, 8), 0.5)
    a[..., :4], b[..., 2:6] = 0.4, 0.7  # means 0.3 and 0.6
    torch.testing.assert_close(brightness(a, b, 1.0), a + b - 0.3)
    torch.testing.assert_close(brightness(a, b, 0.0), b)
    torch.testing.assert_close(brightness(a, b, 0.25), b + 0.25 * (a - 0.3))


def test_contrast_is_around_the_mean_and_the_range_is_kept():
    ir, vis = scene(1), scene(2)
    before, after = target(ir, vis), target(ir, vis, contrast=1.3, darker=0.02)
    mean = before.mean((2, 3), keepdim=True)
    torch.testing.assert_close(after, ((before - mean) * 1.3 + mean - 0.02).clamp(0, 1), atol=1e-5, rtol=0)
    extreme = target(ir, vis, contrast=20.0)
    assert extreme.min() == 0
    assert extreme.max() == 1


def test_a_pixel_beyond_the_range_still_learns():
    torch.manual_seed(0)
    network = Swift()
    with torch.no_grad():
        network.coarse.tone.bias[1] = -5.0  # black everywhere
    objective = SwiftObjective(network=network, weights=SwiftObjective.published)
    objective({"ir": scene(1), "vis": scene(2)})["total"].backward()
    assert network.coarse.tone.bias.grad[1].abs() > 1
