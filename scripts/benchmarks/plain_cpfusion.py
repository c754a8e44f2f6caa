"""CPFusion as its specification reads, levels enlarged to the full size throughout: the baseline of the benchmark.

Options as ours. Only `scripts/benchmark.py infer` uses this file.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from einops import rearrange
from kornia.filters import filter2d_separable
from torch import Tensor, nn

BLOCK, UP_TAPS, UP_SIGMA = 8, 5, 1.1


def gaussian_blur(x: Tensor, taps: int, sigma: float) -> Tensor:
    """Separable Gaussian on a border reflected without repeating the edge; x: (B, 1, H, W)."""
    offsets = torch.arange(taps, device=x.device, dtype=x.dtype) - (taps - 1) / 2
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None]
    return filter2d_separable(x, kernel, kernel, border_type="reflect")


def expand(x: Tensor, size: torch.Size) -> Tensor:
    """One pyramid level up: zeros between the samples, blurred, times four, cropped to `size` = (h, w).

    The taps are not the binomial ones, so a constant 1 becomes a checkerboard of 0.956 to 1.045, as in the authors'.
    """
    doubled = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    doubled[:, :, ::2, ::2] = x
    return 4 * gaussian_blur(doubled, UP_TAPS, UP_SIGMA)[:, :, : size[0], : size[1]]


def align(levels: list[Tensor], sizes: list[torch.Size]) -> Tensor:
    """Duplicate pixels until every level has the full size: levels of (B, 1, h_i, w_i) with h_i, w_i in `sizes`
    -> (B, len(levels), H, W)."""
    aligned = []
    for level in levels:
        i = sizes.index(level.shape[-2:])
        for size in reversed(sizes[:i]):
            level = level.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)[:, :, : size[0], : size[1]]
        aligned.append(level)
    return torch.cat(aligned, dim=1)


# --- attention: aligned details (B, C, H, W) -> the same, enhanced -------------------------------------------------


def dsimam(d: Tensor) -> Tensor:
    """Gain 1 to 1.5, by the squared distance from the mean; not scale-free: made for the 0..255 scale."""
    return d * (torch.sigmoid((d - d.mean(dim=(2, 3), keepdim=True)) ** 2) + 0.5)


def simam(d: Tensor) -> Tensor:
    """SimAM (Yang et al., ICML 2021): gain by the squared distance from the mean relative to the variance."""
    square = (d - d.mean(dim=(2, 3), keepdim=True)) ** 2
    variance = square.sum(dim=(2, 3), keepdim=True) / (d.shape[2] * d.shape[3] - 1)
    return d * torch.sigmoid(square / (4 * (variance + 1e-4)) + 0.5)


ATTENTION = {"DSimAM": dsimam, "SimAM": simam, "none": lambda d: d}

# --- details --------------------------------------------------------------------------------------------------------


def block_activity(d: Tensor) -> Tensor:
    """Mean magnitude of the 8x8 spectrum of each block: (B, C, 8m, 8n) -> (B, C, m, n)."""
    blocks = rearrange(d, "b c (m y) (n x) -> b c m n y x", y=BLOCK, x=BLOCK)
    spectrum = torch.fft.rfft2(blocks).abs()
    # The spectrum of a real block is symmetric: the inner columns of the half stand for two bins each.
    twice = torch.tensor([1.0, 2.0, 2.0, 2.0, 1.0], device=d.device, dtype=d.dtype)
    return (spectrum * twice).sum(dim=(-2, -1)) / BLOCK**2


def fuse_details(ir: Tensor, vis: Tensor) -> Tensor:
    """Weigh each 8x8 block of the aligned details (B, C, H, W) by its share of spectral activity."""
    h, w = ir.shape[-2:]
    ir_padded, vis_padded = (F.pad(d, (0, -w % BLOCK, 0, -h % BLOCK)) for d in (ir, vis))
    ir_activity, vis_activity = block_activity(ir_padded), block_activity(vis_padded)
    total = ir_activity + vis_activity
    share = torch.where(total > 0, ir_activity / total, 0.5)
    share = share.repeat_interleave(BLOCK, dim=2).repeat_interleave(BLOCK, dim=3)[:, :, :h, :w]
    return share * ir + (1 - share) * vis


# --- bases ----------------------------------------------------------------------------------------------------------


def correlation_weight(x: Tensor, y: Tensor) -> Tensor:
    """(B, C, H, W) twice -> (B, C, 1, 1), in (-1, 1]: of the infrared base, by how far the two bases agree.

    The covariance is pooled over all levels, so v is no true correlation and may exceed 1; as in the authors'.
    """
    x_mean, y_mean = (t.mean(dim=(2, 3), keepdim=True) for t in (x, y))
    covariance = ((x - x_mean) * (y - y_mean)).mean(dim=(1, 2, 3), keepdim=True)
    v = covariance / (x.var(dim=(2, 3), keepdim=True) * y.var(dim=(2, 3), keepdim=True)).sqrt()
    v = torch.where(v.isnan(), 0.0, v)  # 0/0: constant images neither agree nor disagree
    return torch.where(v > 0, 1 - torch.exp(-v), torch.exp(v) - 1)


def fuse_bases(x: Tensor, y: Tensor, rule: str) -> Tensor:
    """Fuse aligned base levels of infrared x and visible y, (B, C, H, W), by `CC+MAX`, `CC` or `MAX`."""
    if rule == "MAX":
        return torch.maximum(x, y)
    weight = correlation_weight(x, y)
    if rule == "CC":
        return weight * x + (1 - weight) * y
    p = 1.5 ** ((weight + 1) / 2)
    odd = torch.arange(x.shape[1], device=x.device)[:, None, None] % 2 == 1
    return torch.where(odd, (p * x + (2 - p) * y) / 2, torch.maximum(x, y))


class CPFusion(nn.Module):
    """levels, decomposition, base, attention, merge: as of `fusion.networks.rule_based.cpfusion.CPFusion`."""

    def __init__(self, levels=4, decomposition="Laplacian", base="CC+MAX", attention="DSimAM", merge=True):
        super().__init__()
        self.levels, self.decomposition, self.base, self.merge = levels, decomposition, base, merge
        self.enhance = ATTENTION[attention]

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """G_0 .. G_L. The finest step gets the widest blur; the last is hardly blurred and aliases, as published."""
        levels = [image]
        for step in range(1, self.levels + 1):
            taps = 2 * (self.levels - step + 1) + 1
            levels.append(gaussian_blur(levels[-1], taps, (taps - 1) / 6)[:, :, ::2, ::2])
        return levels

    def details(self, pyramid: list[Tensor]) -> list[Tensor]:
        """D_0 .. D_(L-1), each of the size of its level."""
        details = []
        for level, coarser in itertools.pairwise(pyramid):
            smooth = expand(coarser, level.shape[-2:])
            if self.decomposition == "Laplacian":
                details.append(level - smooth)
            else:
                details.append(torch.where(smooth == 0, 0.0, level / smooth - 1))
        return details

    def rebuild(self, base: Tensor, details: list[Tensor]) -> Tensor:
        """The inverse pyramid."""
        for detail in reversed(details):
            smooth = expand(base, detail.shape[-2:])
            base = detail + smooth if self.decomposition == "Laplacian" else (detail + 1) * smooth
        return base

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        ir_pyramid, vis_pyramid = (self.pyramid(16 + 219 * image) for image in (ir, vis))
        sizes = [level.shape[-2:] for level in ir_pyramid]
        ir_details, vis_details = (self.enhance(align(self.details(p), sizes)) for p in (ir_pyramid, vis_pyramid))
        aligned = fuse_details(ir_details, vis_details)
        # Sub-sampling undoes the duplication of `align` exactly.
        details = [aligned[:, i : i + 1, :: 2**i, :: 2**i] for i in range(self.levels)]
        bases = fuse_bases(align(ir_pyramid, sizes), align(vis_pyramid, sizes), self.base)
        base = bases[:, :4].mean(dim=1, keepdim=True) if self.merge else bases[:, -1:]
        base = base[:, :, :: 2**self.levels, :: 2**self.levels]
        return (self.rebuild(base, details) - 16) / 219
