"""Losses against independent libraries and finite differences, and on degenerate pictures; `test_losses_golden.py` has
the authors' programs. Values are compared in float64, where no processor's order of summation shows."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from skimage.metrics import structural_similarity

from fusion import losses


def random(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def images(count=3, size=16, dtype=torch.float32):
    return [random(2, 1, size, size, seed=i, dtype=dtype) for i in range(count)]


def value(scalar):
    return scalar.detach().item()


# --- independent witnesses


def test_ssim_agrees_with_scikit_image():
    x, y = (random(1, 1, 40, 50, seed=seed, dtype=torch.float64) for seed in (1, 2))
    y = y * 0.5 + 0.2
    y = (x + y) / 2  # SSIM stays positive, so the clamp does nothing
    _, ssim = structural_similarity(
        x[0, 0].numpy(),
        y[0, 0].numpy(),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    ours = 1 - 2 * losses.ssim_loss_map(x, y)[0, 0].numpy()
    inside = np.s_[5:-5, 5:-5]  # borders are reflected in another way there
    np.testing.assert_allclose(ours[inside], ssim[inside], atol=1e-10)


def test_ssim_loss_saturates_at_a_half_without_gradient():
    x = random(1, 1, 16, 16).requires_grad_()
    loss = losses.ssim_loss_map(x, 1 - x.detach())
    assert loss.max() == 0.5
    (gradient,) = torch.autograd.grad(loss[loss == 0.5].sum(), x)
    assert not gradient.any()


def test_sobel_agrees_with_scipy():
    x = random(1, 1, 9, 12, dtype=torch.float64)
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    plane = x[0, 0].numpy()
    expected = sum(np.abs(correlate(plane, k, mode="constant")) for k in (kernel, kernel.T))
    np.testing.assert_allclose(losses.sobel(x)[0, 0].numpy(), expected, atol=1e-14)


def test_spatial_gradient_agrees_with_scipy():
    x, y = (random(1, 1, 9, 12, seed=seed, dtype=torch.float64) for seed in (1, 2))
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    difference = (x - y)[0, 0].numpy()
    expected = np.mean([np.abs(correlate(difference, k, mode="nearest")) for k in (kernel, kernel.T)])
    assert value(losses.spatial_gradient_loss(x, y)) == pytest.approx(expected, rel=1e-13)


def test_correlation_agrees_with_numpy_plane_by_plane():
    a, b = (random(2, 6, 7, 3, seed=seed, dtype=torch.float64) for seed in (1, 2))
    planes = [np.corrcoef(a[i, ..., c].flatten(), b[i, ..., c].flatten())[0, 1] for i in range(2) for c in range(3)]
    assert value(losses.correlation(a, b)) == pytest.approx(np.mean(planes), abs=2e-7)  # EPS stands in the denominator


def test_correlation_survives_a_large_mean():
    a, b = random(1, 64, 64, 2, seed=1), random(1, 64, 64, 2, seed=2)
    far = losses.correlation(a + 1000, b + 1000)  # float32 keeps 6e-5 of a value near 1000
    assert value(far) == pytest.approx(value(losses.correlation(a, b)), abs=1e-5)


def test_decomposition_prefers_equal_bases_and_unrelated_details():
    x, other = random(1, 32, 32, 4, seed=1), random(1, 32, 32, 4, seed=2)
    good = losses.decomposition_loss(x, x, x, other)
    bad = losses.decomposition_loss(x, other, x, x)
    assert value(good) < 0.01 < 0.9 < value(bad)
    assert value(losses.decomposition_loss(x, -x, other, other)) == pytest.approx(100, rel=1e-3)


def test_the_two_mask_losses_by_hand():
    ir, vis, fused = (torch.full((1, 1, 1, 4), v) for v in (0.8, 0.4, 0.5))
    mask = torch.tensor([[[[0.0, 0.5, 0.9, 1.0]]]])
    program = np.mean([0.5, 0.3, 0.14, 0.1]) + np.mean([0.3, 0.3, 0.3, 0.5])
    weighted = np.mean([0.3, 0.1, 0.06, 0.1])
    assert value(losses.masked_sources_loss(fused, ir, vis, mask)) == pytest.approx(program, rel=1e-6)
    assert value(losses.weighted_source_loss(fused, ir, vis, mask)) == pytest.approx(weighted, rel=1e-6)


# --- gradients


@pytest.mark.parametrize(
    ("loss", "count"),
    [
        (losses.mse_loss, 2),
        (losses.ssim_loss, 2),
        (losses.spatial_gradient_loss, 2),
        (losses.intensity_loss, 3),
        (losses.gradient_loss, 3),
        (losses.masked_sources_loss, 4),
        (losses.weighted_source_loss, 4),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_gradient_by_finite_differences(loss, count):
    first, *others = images(count, size=8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, *others), first.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("shift", [0, 5])
def test_gradient_of_correlation_by_finite_differences(shift):
    a, b = (random(2, 4, 5, 3, seed=i, dtype=torch.float64) + shift for i in range(2))
    assert torch.autograd.gradcheck(losses.correlation, (a.requires_grad_(), b.requires_grad_()))


def test_gradient_of_decomposition_by_finite_differences():
    features = [random(1, 4, 5, 2, seed=i, dtype=torch.float64).requires_grad_() for i in range(4)]
    assert torch.autograd.gradcheck(losses.decomposition_loss, features)


def test_correlation_of_all_samples_at_once(monkeypatch):
    """As on other devices than CPUs."""
    found = []
    for portions in (losses._portions, lambda *tensors: [tensors]):
        monkeypatch.setattr(losses, "_portions", portions)
        a, b = torch.randn(2, 3, 5, 4, 6, generator=torch.manual_seed(0), dtype=torch.float64)
        result = losses.correlation(a.requires_grad_(), b.requires_grad_())
        found.append((result, *torch.autograd.grad(result, (a, b))))
    for one_by_one, at_once in zip(*found, strict=True):
        torch.testing.assert_close(one_by_one, at_once, rtol=0, atol=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0, 1e4, -3.3])
@pytest.mark.parametrize("which", ["both", "one"])
def test_correlation_of_a_constant_plane_is_zero_without_gradient(level, which):
    a = torch.full((1, 16, 16, 2), level)
    b = a.clone() if which == "both" else random(1, 16, 16, 2)
    a[..., 1] = random(1, 16, 16, seed=3)  # a neighbour that varies keeps its value and gradient
    a.requires_grad_()
    b.requires_grad_()
    result = losses.correlation(a, b)
    result.backward()
    expected = (
        0 if which == "both" else np.corrcoef(a[..., 1].detach().flatten(), b[..., 1].detach().flatten())[0, 1] / 2
    )
    assert value(result) == pytest.approx(expected, abs=1e-6)
    assert not a.grad[..., 0].any()
    assert not b.grad[..., 0].any()
    assert bool(a.grad[..., 1].any()) is (which == "one")


def test_correlation_does_not_hide_a_broken_network():
    a, b = random(1, 8, 8, 2, seed=1), random(1, 8, 8, 2, seed=2)
    a[0, 0, 0, 0] = torch.nan
    assert losses.correlation(a, b).isnan()


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_pictures_give_finite_values_and_gradients(level):
    fused = torch.full((2, 1, 16, 16), level, requires_grad=True)
    flat = torch.full_like(fused, level)
    for loss, others in {
        losses.mse_loss: 1,
        losses.ssim_loss: 1,
        losses.spatial_gradient_loss: 1,
        losses.intensity_loss: 2,
        losses.gradient_loss: 2,
        losses.masked_sources_loss: 3,
        losses.weighted_source_loss: 3,
    }.items():
        result = loss(fused, *[flat] * others)
        (gradient,) = torch.autograd.grad(result, fused)
        assert result.isfinite(), loss.__name__
        assert gradient.isfinite().all(), loss.__name__


# --- precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_reach_the_losses(dtype):
    fused, ir, vis, mask = images(4)
    for loss, tensors in {
        losses.ssim_loss: (fused, vis),
        losses.spatial_gradient_loss: (fused, vis),
        losses.gradient_loss: (fused, ir, vis),
        losses.masked_sources_loss: (fused, ir, vis, mask),
        losses.correlation: (fused, vis),
    }.items():
        half = [t.to(dtype) for t in tensors]
        with torch.autocast("cpu", dtype=dtype):
            inside = loss(*half)
        assert inside.dtype == torch.float32
        assert value(inside) == value(loss(*(t.float() for t in half))), loss.__name__


def test_gradient_of_correlation_comes_in_the_features_own_precision():
    a, b = (random(2, 8, 8, 4, seed=i).bfloat16().requires_grad_() for i in range(2))
    wide_a, wide_b = (x.detach().float().requires_grad_() for x in (a, b))
    losses.correlation(a, b).backward()
    losses.correlation(wide_a, wide_b).backward()
    for narrow, wide in ((a, wide_a), (b, wide_b)):
        assert narrow.grad.dtype == torch.bfloat16
        torch.testing.assert_close(narrow.grad, wide.grad.bfloat16())
