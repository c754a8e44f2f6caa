"""The differentiable forms against the metrics themselves, on scenes with texture, and their gradients."""

import numpy as np
import pytest
import torch

from fusion.metrics import evaluate, smooth

PAIRS = ("MI", "SCD", "VIF", "Qabf", "SSIM")
FORMS = {
    "EN": smooth.bits,
    "SD": smooth.deviation,
    "SF": smooth.frequency,
    "MI": smooth.mutual_information,
    "SCD": smooth.difference_correlation,
    "VIF": smooth.fidelity,
    "Qabf": smooth.preservation,
    "SSIM": smooth.similarity,
}


def pictures(seed, h=121, w=150):
    """Fused, ir, vis: whole grey levels, with texture of several scales, dark and bright parts and a saturated one."""
    random = np.random.default_rng(seed)
    planes = []
    for _ in range(2):
        plane = np.zeros((h, w))
        for cell in (1, 4, 16, 48):
            noise = random.standard_normal((h // cell + 1, w // cell + 1)) * (4 + cell)
            plane += np.kron(noise, np.ones((cell, cell)))[:h, :w]
        planes.append(np.clip(plane + 110, 0, 255))
    planes[0][:30, :30], planes[1][:20, 100:] = 255, 0
    ir, vis = (plane.round() for plane in planes)
    share = 0.3 + 0.4 * (np.arange(w) / w)
    fused = np.clip(share * ir + (1 - share) * vis * 1.2, 0, 255).round()
    return fused, ir, vis


def batch(*seeds, dtype=torch.float32, **size):
    scenes = [pictures(seed, **size) for seed in seeds]
    return [torch.from_numpy(np.stack(planes))[:, None].to(dtype) for planes in zip(*scenes, strict=True)]


def values(name, fused, ir, vis):
    return FORMS[name](fused, ir, vis) if name in PAIRS else FORMS[name](fused)


# float32, and terms that keep formulas finite where nothing varies: variances of 0.01 (SD, SF, SCD: relative 1e-5 of
# variances of 1000; SF's squares are nearer 100), noise 2 (VIF, where a flat window's 0.01 counts for 0.005).
EXACT = {"SD": 1e-5, "SF": 1e-4, "SCD": 1e-4, "VIF": 0.005, "SSIM": 5e-4}


@pytest.mark.parametrize("name", EXACT)
def test_is_the_metric_of_the_tables(name):
    given = batch(0, 1, 2)
    for i, value in enumerate(values(name, *given).tolist()):
        expected = evaluate(*(plane[i, 0].numpy() for plane in given), names=[name])[name]
        assert value == pytest.approx(expected, rel=EXACT[name])


def test_edge_preservation_is_the_papers_inside_the_frame():
    """Profile `strict` folds angles too; it counts the frame, where the border is repeated: 542 of 18,150 pixels, each
    off by less than 1."""
    given = batch(0, 1, 2)
    for i, value in enumerate(smooth.preservation(*given).tolist()):
        expected = evaluate(*(plane[i, 0].numpy() for plane in given), "strict", ["Qabf"])["Qabf"]
        assert value == pytest.approx(expected, abs=542 / 18150)


def test_mutual_information_is_that_of_48_levels():
    """Of pictures that have the bins' 48 levels alone, linear bins are a histogram; all pixels are counted here."""
    levels = np.linspace(0, 255, smooth.BINS)
    planes = [levels[(plane / 255 * (smooth.BINS - 1)).round().astype(int)] for plane in pictures(3, 60, 80)]
    expected = evaluate(*planes, names=["MI"])["MI"]
    value = smooth.mutual_information(*(torch.from_numpy(plane)[None, None] for plane in planes)).item()
    assert value == pytest.approx(expected, rel=1e-5)


def test_mutual_information_and_entropy_rank_pictures_as_the_metrics_do():
    """They differ from 256 levels by a factor, but agree on which picture is better. (An exact copy of a source stands
    out in 256 levels only.)"""
    _, ir, vis = pictures(4, 200, 200)
    fused = [np.round(ir * share + vis * (1 - share)) for share in (0.5, 0.6, 0.7, 0.8, 0.9)]
    exact = [evaluate(f, ir, vis, names=["MI", "EN"]) for f in fused]
    tensors = [[torch.from_numpy(p)[None, None] for p in (f, ir, vis)] for f in fused]
    for name in ("MI", "EN"):
        mine = [values(name, *t).item() for t in tensors]
        assert np.argsort(mine).tolist() == np.argsort([e[name] for e in exact]).tolist()


def test_entropy_is_near_the_metric():
    """Levels within a bin taken as alike: at most 0.1 bits from the 256 levels of pictures without gaps."""
    given = batch(0, 1, 2, h=200, w=200)
    for i, value in enumerate(smooth.bits(given[0]).tolist()):
        expected = evaluate(*(plane[i, 0].numpy() for plane in given), names=["EN"])["EN"]
        assert value == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("name", FORMS)
def test_a_batch_is_its_samples(name):
    together = values(name, *batch(0, 1, dtype=torch.float64))
    alone = torch.cat([values(name, *batch(seed, dtype=torch.float64)) for seed in (0, 1)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_gradients_point_the_way(name):
    """A small step along the gradient changes the value by what the gradient says (float64, unrounded pictures)."""
    fused, ir, vis = batch(5, dtype=torch.float64, h=48, w=56)
    # Neither flat nor parallel to a source anywhere, where edges have kinks.
    noise = torch.randn(fused.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fused = (0.8 * ir + 0.4 * vis + noise).requires_grad_()
    before = values(name, fused, ir, vis).sum()
    (gradient,) = torch.autograd.grad(before, fused)
    step = 1e-7 * gradient / gradient.abs().max()
    after = values(name, (fused + step).detach(), ir, vis).sum()
    assert (after - before).item() == pytest.approx((gradient * step).sum().item(), rel=2e-3)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("level", [0.0, 255.0])
def test_flat_pictures_have_finite_values_and_gradients(name, level):
    fused, ir, vis = (torch.full((2, 1, 48, 48), level, requires_grad=True) for _ in range(3))
    value = values(name, fused, ir, vis)
    value.sum().backward()
    assert value.isfinite().all()
    assert fused.grad.isfinite().all()
