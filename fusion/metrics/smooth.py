"""The metrics of the `cddfuse` tables as functions to learn from: of batches, differentiable, on any device.

All take (B, 1, H, W) tensors of grey levels 0..255 and give one value for each sample, (B,), in the metric's own unit.
They are the metrics of `fusion/metrics` of the same pictures but for three: mutual information and entropy come from
48 linear bins in place of 256 levels, and edge preservation folds angles and leaves the frame of zeros away (see
there). tests/metrics/test_smooth.py says by how much that differs. No paper here; sources stand with each metric.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion.metrics.arrays import gaussian
from fusion.metrics.edges import HALF_PI, sigmoids
from fusion.metrics.structure import UNIFORM, constants
from fusion.metrics.vif import NOISE, WINDOWS

PEAK = 255.0
BINS = 48
FLAT = 1e-2  # grey levels squared; float32 cannot tell smaller variances of pictures of 0..255 from none


def pooled(x: Tensor, down: Tensor, across: Tensor, step: int = 1) -> Tensor:
    """Weighted sums over the windows inside (..., H, W), of every `step`-th row and column.

    As products with band matrices: of crops, five times as fast as convolutions of one channel, backwards too.
    """
    h, w = x.shape[-2:]
    return band(down, h, step) @ x @ band(across, w, step).mT


def band(taps: Tensor, length: int, step: int = 1) -> Tensor:
    """(windows, length): each row holds `taps` (n,) where its window lies."""
    first = torch.arange(0, length - len(taps) + 1, step, device=taps.device)
    places = torch.arange(length, device=taps.device) - first[:, None]
    inside = (places >= 0) & (places < len(taps))
    return torch.where(inside, taps[places.clamp(0, len(taps) - 1)], 0)


def samples_mean(x: Tensor) -> Tensor:
    """(B, ...) -> (B,)"""
    return x.flatten(1).mean(1)


# --- of the fused picture alone -------------------------------------------------------------------------------------


def deviation(x: Tensor) -> Tensor:
    """SD, in grey levels."""
    return (x.flatten(1).var(1, correction=0) + FLAT).sqrt()


def frequency(x: Tensor) -> Tensor:
    """SF, in grey levels."""
    down, across = x.diff(dim=2), x.diff(dim=3)
    return (samples_mean(down * down) + samples_mean(across * across) + FLAT).sqrt()


def memberships(x: Tensor, bins: int = BINS, pixels: int = 6000) -> Tensor:
    """(B, P, bins): each pixel's share in the two bins nearest to its level, of about so many pixels on a grid."""
    step = max(1, int(math.sqrt(x.shape[-2] * x.shape[-1] / pixels)))
    place = x[..., ::step, ::step].flatten(1) * ((bins - 1) / PEAK)
    centres = torch.arange(bins, dtype=x.dtype, device=x.device)
    return F.relu(1 - (place[..., None] - centres).abs())


def entropy(p: Tensor) -> Tensor:
    """-sum p log p in nats of (B, ...) probabilities."""
    return torch.special.entr(p.clamp(min=1e-12)).flatten(1).sum(1)


def bits(x: Tensor) -> Tensor:
    """EN: entropy of the grey levels in bits, as if each bin's pixels were spread evenly over its 256 / bins levels."""
    return entropy(memberships(x).mean(1)) / math.log(2.0) + math.log2((PEAK + 1) / BINS)


# --- with both sources ----------------------------------------------------------------------------------------------


def mutual_information(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """MI in nats."""
    f = memberships(fused)
    total = 0
    for source in (ir, vis):
        s = memberships(source)
        joint = s.mT @ f / f.shape[1]
        total = total + entropy(joint.sum(1)) + entropy(joint.sum(2)) - entropy(joint)
    return total


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson correlation over the pixels of each sample; about 0 where one does not vary."""
    x, y = (z.flatten(1) - z.flatten(1).mean(1, keepdim=True) for z in (x, y))
    x2, y2 = ((z * z).mean(1) + FLAT for z in (x, y))
    return (x * y).mean(1) / (x2 * y2).sqrt()


def difference_correlation(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """SCD: what the picture has beyond one source, correlated with the other source."""
    return correlation(fused - vis, ir) + correlation(fused - ir, vis)


def fidelity(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """VIF, of pictures of 41x41 pixels or more."""
    pictures = torch.cat((fused, ir, vis), dim=1)
    carried, held = 0, 0
    for scale, size in enumerate(WINDOWS):
        taps = torch.from_numpy(gaussian(size, size / 5.0).copy()).to(pictures)
        if scale > 0:
            pictures = pooled(pictures, taps, taps, step=2)
        # Covariances do not depend on the mean, but their digits do.
        x = pictures - pictures.mean((2, 3), keepdim=True).detach()
        products = torch.cat((x, x * x, x[:, :1] * x[:, 1:]), dim=1)
        means, squares, crossed = pooled(products, taps, taps).split((3, 3, 2), dim=1)
        v2, v1 = (squares - means * means).clamp(min=0).split((1, 2), dim=1)
        covariance = (crossed - means[:, :1] * means[:, 1:]).clamp(min=0)
        gain = covariance / (v1 + FLAT)
        rest = (v2 - gain * covariance).clamp(min=0)
        carried = carried + torch.log1p(gain * gain * v1 / (rest + NOISE)).sum((2, 3))
        held = held + torch.log1p(v1 / NOISE).sum((2, 3))
    return (carried / held.clamp(min=1e-3)).sum(1)


def edges(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sobel differences across and down, and strength, in the 3x3 windows inside (B, 1, H, W)."""
    smooth, step = x.new_tensor((1, 2, 1)), x.new_tensor((-1, 0, 1))
    sx, sy = pooled(x, smooth, step), pooled(x, step, smooth)
    return sx, sy, (sx * sx + sy * sy + FLAT).sqrt()


def preservation(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """Qabf, with orientations half a turn apart as equal and edges of equal strength as kept (as in the paper).

    The tables' convention differs: it counts the first as opposite, the second by raw magnitude, and the frame.
    """
    fx, fy, f = edges(fused)
    kept, total = 0, 0
    for source in (ir, vis):
        sx, sy, s = edges(source)
        along, across = (fx * sx + fy * sy).abs() + FLAT, fx * sy - fy * sx
        turn = torch.atan2(across.abs(), along)
        kept = kept + (sigmoids(torch.minimum(f, s) / torch.maximum(f, s), 1 - turn / HALF_PI) * s).sum((1, 2, 3))
        total = total + s.sum((1, 2, 3))
    return kept / total


def similarity(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """SSIM: the sum of both, uniform 7x7 windows, data range 2."""
    c1, c2 = constants(2.0)
    n = UNIFORM * UNIFORM
    ones = fused.new_ones(UNIFORM)
    # Levels around 0 square to fewer digits, which float32 needs next to constants this small.
    x = torch.cat((fused, ir, vis), dim=1) - 128.0
    sums, squares, crossed = pooled(torch.cat((x, x * x, x[:, :1] * x[:, 1:]), dim=1), ones, ones).split((3, 3, 2), 1)
    means = sums / n
    variances = ((squares - sums * means) / (n - 1)).clamp(min=0)
    covariance = (crossed - sums[:, :1] * means[:, 1:]) / (n - 1)
    means = means + 128.0
    mf, ms, vf, vs = means[:, :1], means[:, 1:], variances[:, :1], variances[:, 1:]
    luminance = (2 * mf * ms + c1) / (mf * mf + ms * ms + c1)
    return (luminance * (2 * covariance + c2) / (vf + vs + c2)).mean((2, 3)).sum(1)
