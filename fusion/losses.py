"""Loss functions of the learned fusion methods; pure functions of tensors.

Zhao et al., "CDDFuse", CVPR 2023 (SSIM, correlation, decomposition, gradient and intensity losses); Zheng et al.,
"Probing Synergistic High-Order Interaction in Infrared and Visible Image Fusion" (SHIP), CVPR 2024 (masked L1). Values
and gradients equal those of the authors' programs to float32 rounding, with one exception: a feature plane without any
variation has correlation 0 and gradient 0, where the formula gives NaN (MSRS holds all-black patches).

Images are (B, 1, H, W) in [0, 1]. Everything is computed in float32 whatever autocast says (float64 stays float64).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fusion.filters import gaussian, sobel_kernels, spatial_gradient

EPS = torch.finfo(torch.float32).eps


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def full_precision(function):
    """A decorator: positional arguments become float32 (float64 stays) and autocast does not reach inside."""

    @functools.wraps(function)
    def run(*tensors: Tensor, **options):
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(*map(_wide, tensors), **options)

    return run


@full_precision
def mse_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference. Both (B, 1, H, W) in [0, 1]; returns a scalar."""
    return F.mse_loss(x, y)


@full_precision
def l1_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference. Both (B, 1, H, W) in [0, 1]; returns a scalar."""
    return F.l1_loss(x, y)


@full_precision
def ssim_loss_map(x: Tensor, y: Tensor) -> Tensor:
    """clamp(1 - SSIM, 0, 1) / 2 of every pixel. Both (B, 1, H, W) in [0, 1], H, W >= 6; returns the same in [0, 0.5].

    11x11 Gaussian window, sigma 1.5, reflected border. The definition of kornia 0.2.0, which CDDFuse was trained with:
    later releases halve before they clamp; here the loss saturates at 0.5, with no gradient, where SSIM is negative.
    """
    c1, c2 = 0.01**2, 0.03**2
    moments = torch.cat((x, y, x * x, y * y, x * y), dim=1)
    # One 11x11 kernel and not two of 11: variances are small differences of these sums, and the rounding of a separable
    # filter moves the loss by 5e-5 of its value away from the authors'.
    moments = gaussian(moments, 11, 1.5)
    mean_x, mean_y, xx, yy, xy = moments.split(1, dim=1)
    mean_xx, mean_yy, mean_xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    luminance = (2 * mean_xy + c1) / (mean_xx + mean_yy + c1)
    contrast = (2 * (xy - mean_xy) + c2) / ((xx - mean_xx) + (yy - mean_yy) + c2)
    return (1 - luminance * contrast).clamp(0, 1) / 2


def ssim_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean of `ssim_loss_map`. Both (B, 1, H, W) in [0, 1], H, W >= 6; returns a scalar in [0, 0.5]."""
    return ssim_loss_map(x, y).mean()


@full_precision
def spatial_gradient_loss(x: Tensor, y: Tensor) -> Tensor:
    """L1 between the Sobel gradients of x and y, both directions. Both (B, 1, H, W) in [0, 1]; returns a scalar.

    Kernels divided by 8, replicated border. The operator is linear: one gradient of the difference is enough.
    """
    return spatial_gradient(x - y).abs().mean()


@full_precision
def sobel(x: Tensor) -> Tensor:
    """|d/dx| + |d/dy| by 3x3 Sobel kernels, *not* normalised, zero border. (B, 1, H, W) in [0, 1] -> same, >= 0.

    Not the convention of `spatial_gradient_loss`; CDDFuse uses both, SHIP this one.
    """
    return F.conv2d(x, sobel_kernels(x), padding=1).abs().sum(dim=1, keepdim=True)


@full_precision
def intensity_loss(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """L1 to the brighter source. All (B, 1, H, W) in [0, 1]; returns a scalar."""
    return F.l1_loss(fused, torch.maximum(ir, vis))


@full_precision
def gradient_loss(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """L1 between the Sobel magnitude and that of the stronger source. All (B, 1, H, W) in [0, 1]; returns a scalar."""
    return F.l1_loss(sobel(fused), torch.maximum(sobel(ir), sobel(vis)))


@full_precision
def masked_sources_loss(fused: Tensor, ir: Tensor, vis: Tensor, mask: Tensor) -> Tensor:
    """L1 to mask * vis plus L1 to ir where the mask is not exactly 1, else to 0. All (B, 1, H, W) in [0, 1]; a scalar.

    What SHIP's program computes: two targets that pull `fused` apart, each black where the other counts.
    `weighted_source_loss` is what the paper describes.
    """
    return F.l1_loss(fused, mask * vis) + F.l1_loss(fused, torch.where(mask == 1, 0, ir))


@full_precision
def weighted_source_loss(fused: Tensor, ir: Tensor, vis: Tensor, mask: Tensor) -> Tensor:
    """L1 to mask * vis + (1 - mask) * ir. All (B, 1, H, W) in [0, 1]; returns a scalar."""
    return F.l1_loss(fused, torch.lerp(ir, vis, mask))


class _PlaneCorrelation(torch.autograd.Function):
    """Pearson correlation over pixels of a and b (n, p, c) -> (n, c).

    Written by hand for memory: autograd would keep a centred copy of both and go through five temporaries of their
    size; this keeps the inputs and works on a CPU sample by sample (b = 8, 128x128, 64 channels on two CPU cores,
    forward and backward: 0.28 s -> 0.10 s in float32, 0.29 s -> 0.06 s in bfloat16).

    With x, y the centred planes and D = |x| |y| + EPS: r = x.y / D, dr/dx = y / D - x (x.y) |y| / (D^2 |x|).
    """

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        mean_a, mean_b, ab, aa, bb = torch.cat([_moments(x, y) for x, y in _portions(a, b)], dim=1)
        # Deviations no larger than the rounding of the mean are noise, and their direction means nothing. (Not `>`: NaN
        # must stay NaN.)
        noise = a.shape[1] * (4 * torch.finfo(ab.dtype).eps) ** 2
        varies = ~((aa <= noise * mean_a**2) | (bb <= noise * mean_b**2))
        norm_a, norm_b = aa.sqrt(), bb.sqrt()
        denominator = norm_a * norm_b + EPS
        ctx.save_for_backward(a, b, mean_a, mean_b, ab, norm_a, norm_b, denominator, varies)
        return torch.where(varies, ab / denominator, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, Tensor]:
        a, b, mean_a, mean_b, ab, norm_a, norm_b, denominator, varies = ctx.saved_tensors
        other = torch.where(varies, upstream / denominator, 0)
        own = upstream * ab / denominator**2
        own_a, own_b = (torch.where(varies, own * n, 0) for n in (norm_b / norm_a, norm_a / norm_b))
        grad_a, grad_b = torch.empty_like(a), torch.empty_like(b)
        of_planes = (t[:, None] for t in (mean_a, mean_b, other, own_a, own_b))
        for x, y, to_x, to_y, mean_x, mean_y, both, own_x, own_y in _portions(a, b, grad_a, grad_b, *of_planes):
            x, y = x - mean_x, y - mean_y
            to_x.copy_((y * both).addcmul_(x, own_x, value=-1))
            to_y.copy_((x * both).addcmul_(y, own_y, value=-1))
        return grad_a, grad_b


def _portions(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """On a CPU sample by sample, which fit its cache; elsewhere all at once, in fewer launches."""
    if tensors[0].device.type != "cpu":
        return [tensors]
    return zip(*(t.split(1) for t in tensors), strict=True)


def _moments(x: Tensor, y: Tensor) -> Tensor:
    """Means, and sums of x y, x^2 and y^2 about them: (n, p, c) each -> (5, n, c)."""
    mean_x, mean_y = (_wide(t).mean(1, keepdim=True) for t in (x, y))
    x, y = x - mean_x, y - mean_y
    return torch.stack((mean_x[:, 0], mean_y[:, 0], (x * y).sum(1), x.square_().sum(1), y.square_().sum(1)))


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of each (sample, channel) plane over its pixels, averaged over samples and channels.

    a, b: (b, h, w, c), any range, pixels as rows like CDDFuse's features; images (B, 1, H, W) need `.movedim(1, -1)`.
    Returns a scalar in [-1, 1]. A plane that does not vary counts as 0. Differentiable once.
    """
    return _PlaneCorrelation.apply(a.flatten(1, 2), b.flatten(1, 2)).clamp(-1, 1).mean()


def decomposition_loss(
    base_ir: Tensor,
    base_vis: Tensor,
    detail_ir: Tensor,
    detail_vis: Tensor,
    *,
    across: Callable[[Tensor], Tensor] = lambda share: share,
) -> Tensor:
    """correlation(details)^2 / (1.01 + correlation(bases)): base features shall agree, detail features shall not.

    All (b, h, w, c), any range; returns a scalar in [0, 100]. This is a function of two means over samples and no mean
    itself: where several processes share a batch, `across` makes the mean of all of one process's.
    """
    return across(correlation(detail_ir, detail_vis)) ** 2 / (1.01 + across(correlation(base_ir, base_vis)))
