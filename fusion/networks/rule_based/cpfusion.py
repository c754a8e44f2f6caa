"""CPFusion: rule-based fusion on Laplacian or contrast pyramids; nothing is learned.

The arithmetic of the authors' program (state of September 2025), on the studio-range luminance 16 + 219 Y that it
works on: adaptive pyramids, detail enhancement by a parameter-free attention, details weighted by the spectral
activity of 8x8 blocks, bases by a correlation rule.
What differs in the arithmetic's order only: the authors enlarge every level to the full size by duplicating pixels;
here levels keep their size, and means, variances and spectra count each pixel as often as it would be duplicated.
What differs: every option acts (the authors' command line drops three of the four); a batch is fused image by image
(theirs pools one covariance over the batch); 0/0 where both images lack any detail gives equal weights, not NaN.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.registry import NETWORKS

BLOCK = 8  # pixels; side of the blocks whose spectra weigh the details
UP_TAPS = 5
UP_SIGMA = 1.1


def gaussian_kernel(taps: int, sigma: float, like: Tensor) -> Tensor:
    offsets = torch.arange(taps, device=like.device, dtype=like.dtype) - (taps - 1) / 2
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return kernel / kernel.sum()


def gaussian_blur(x: Tensor, taps: int, sigma: float, stride: int = 1) -> Tensor:
    """Separable Gaussian on a border reflected without repeating the edge, every `stride`-th row and column of it;
    x: (B, 1, H, W)."""
    kernel = gaussian_kernel(taps, sigma, x)
    r = taps // 2
    x = F.conv2d(F.pad(x, (0, 0, r, r), mode="reflect"), kernel[None, None, :, None], stride=(stride, 1))
    return F.conv2d(F.pad(x, (r, r, 0, 0), mode="reflect"), kernel[None, None, None], stride=(1, stride))


def expand(x: Tensor, size: torch.Size) -> Tensor:
    """One pyramid level up: zeros between the samples, blurred, times four, cropped to `size` = (h, w).

    The taps are not the binomial ones, so a constant 1 becomes a checkerboard of 0.956 to 1.045, as in the authors'.
    """
    return _expand_rows(_expand_rows(x).mT).mT[:, :, : size[0], : size[1]]


def _expand_rows(x: Tensor) -> Tensor:
    """(B, 1, h, w) -> (B, 1, 2h, w): three taps meet samples at even rows, two at odd ones.

    Reflected at the border of the doubled array, the row before the first is the second, the one after the last the
    last.
    """
    outer, near, centre = (2 * gaussian_kernel(UP_TAPS, UP_SIGMA, x))[:3].tolist()
    before, after = torch.cat((x[:, :, 1:2], x[:, :, :-1]), dim=2), torch.cat((x[:, :, 1:], x[:, :, -1:]), dim=2)
    even = (before + after).mul_(outer).add_(x, alpha=centre)
    odd = (x + after).mul_(near)
    return torch.stack((even, odd), dim=3).flatten(2, 3)


# --- statistics over the full size, from a level's own pixels -------------------------------------------------------


class Counts:
    """How often the full size H x W holds each pixel of level i: 2^i x 2^i times, but for the last row and column."""

    def __init__(self, i: int, height: int, width: int, like: Tensor):
        self.n = height * width
        self.rows, self.columns = (
            (side - 2**i * torch.arange(-(-side // 2**i), device=like.device)).clamp(max=2**i).to(like.dtype)
            for side in (height, width)
        )
        self.once = i == 0

    def sum(self, x: Tensor) -> Tensor:
        """(B, 1, h_i, w_i) -> (B, 1, 1, 1)"""
        if not self.once:
            x = x * self.rows[:, None] * self.columns
        return x.sum(dim=(2, 3), keepdim=True)

    def mean(self, x: Tensor) -> Tensor:
        return self.sum(x) / self.n


# --- attention: details of a level (B, 1, h, w) -> the same, enhanced -----------------------------------------------


def dsimam(d: Tensor, counts: Counts) -> Tensor:
    """Gain 1 to 1.5, by the squared distance from the mean; not scale-free: made for the 0..255 scale."""
    return (d - counts.mean(d)).square_().sigmoid_().add_(0.5).mul_(d)


def simam(d: Tensor, counts: Counts) -> Tensor:
    """SimAM (Yang et al., ICML 2021): gain by the squared distance from the mean relative to the variance."""
    square = (d - counts.mean(d)).square_()
    variance = counts.sum(square) / (counts.n - 1)
    return square.div_(4 * (variance + 1e-4)).add_(0.5).sigmoid_().mul_(d)


ATTENTION = {"DSimAM": dsimam, "SimAM": simam, "none": lambda d, counts: d}

# --- details --------------------------------------------------------------------------------------------------------


def spectrum_of_pixels(b: int, rows: int, columns: int, like: Tensor) -> Tensor:
    """(b * b, 80): the 8x8 spectrum's half (40 bins, real and imaginary parts) of each pixel of a block of b x b that
    is enlarged to 8x8, of which the first `rows` and `columns` lie in the picture and the others are zero."""
    index = torch.arange(BLOCK, device=like.device)
    enlarged = (index[:, None] * b // BLOCK == torch.arange(b, device=like.device)).to(torch.float64)
    pixels = torch.einsum("yp,xq->pqyx", enlarged * (index < rows)[:, None], enlarged * (index < columns)[:, None])
    spectrum = torch.fft.rfft2(pixels).flatten(2).flatten(0, 1)
    return torch.cat((spectrum.real, spectrum.imag), dim=1).to(like.dtype)


def block_activity(d: Tensor, i: int, height: int, width: int) -> Tensor:
    """Mean magnitude of the spectrum of each 8x8 block of the full size, for details (B, 1, h, w) of level i <= 2:
    (B, m, n, 1)."""
    b = BLOCK >> i
    m, n = -(-height // BLOCK), -(-width // BLOCK)
    padded = F.pad(d, (0, n * b - d.shape[3], 0, m * b - d.shape[2]))
    blocks = rearrange(padded, "s 1 (m y) (n x) -> s m n (y x)", y=b, x=b)
    # The spectrum of a real block is symmetric: the inner columns of the half stand for two bins each.
    twice = d.new_tensor([1.0, 2.0, 2.0, 2.0, 1.0]).repeat(BLOCK)[:, None] / BLOCK**2

    def activity(blocks: Tensor, rows: int, columns: int) -> Tensor:
        real, imaginary = (blocks @ spectrum_of_pixels(b, rows, columns, d)).chunk(2, dim=-1)
        return torch.hypot(real, imaginary) @ twice

    result = activity(blocks, BLOCK, BLOCK)
    # Pixels that the border cuts fill their blocks less.
    bottom, right = (side - BLOCK * (k - 1) if side % 2**i else BLOCK for side, k in ((height, m), (width, n)))
    if bottom < BLOCK:
        result[:, -1] = activity(blocks[:, -1], bottom, BLOCK)
    if right < BLOCK:
        result[:, :, -1] = activity(blocks[:, :, -1], BLOCK, right)
    if bottom < BLOCK and right < BLOCK:
        result[:, -1, -1] = activity(blocks[:, -1, -1], bottom, right)
    return result


def fuse_details(ir: Tensor, vis: Tensor, i: int, height: int, width: int) -> Tensor:
    """Weigh each 8x8 block of the full size, for details (B, 1, h, w) of level i, by its share of activity."""
    if i < 3:
        activity = (block_activity(d, i, height, width).permute(0, 3, 1, 2) for d in (ir, vis))
    else:  # a block lies within one pixel: its spectrum is the pixel's value times one of the block's shape
        activity = ir.abs(), vis.abs()
    ir_activity, vis_activity = activity
    total = ir_activity + vis_activity
    share = torch.where(total > 0, ir_activity / total, 0.5)
    if i < 3:
        b, (h, w) = BLOCK >> i, ir.shape[2:]
        share = share.repeat_interleave(b, dim=2).repeat_interleave(b, dim=3)[:, :, :h, :w]
    return torch.lerp(vis, ir, share)


# --- bases ----------------------------------------------------------------------------------------------------------


def correlation_weights(ir: list[Tensor], vis: list[Tensor], counts: list[Counts]) -> list[Tensor]:
    """Of the infrared base, per level (B, 1, 1, 1), in (-1, 1]: by how far the two bases agree.

    The covariance is pooled over all levels, so v is no true correlation and may exceed 1; as in the authors'.
    """
    covariance, variances = 0.0, []
    for x, y, count in zip(ir, vis, counts, strict=True):
        x, y = x - count.mean(x), y - count.mean(y)
        covariance = covariance + count.mean(x * y) / len(ir)
        variances.append(count.sum(x.square_()) * count.sum(y.square_()) / (count.n - 1) ** 2)
    weights = []
    for variance in variances:
        v = covariance / variance.sqrt()
        v = torch.where(v.isnan(), 0.0, v)  # 0/0: constant images neither agree nor disagree
        weights.append(torch.where(v > 0, 1 - torch.exp(-v), torch.exp(v) - 1))
    return weights


def fuse_base(x: Tensor, y: Tensor, level: int, rule: str, weight: Tensor | None) -> Tensor:
    """Fuse samples of a base level of infrared x and visible y by `CC+MAX`, `CC` or `MAX`."""
    if rule == "MAX" or (rule == "CC+MAX" and level % 2 == 0):
        return torch.maximum(x, y)
    if rule == "CC":
        return weight * x + (1 - weight) * y
    p = 1.5 ** ((weight + 1) / 2)
    return (p * x + (2 - p) * y) / 2


@NETWORKS.register("cpfusion")
class CPFusion(Network):
    """The whole method.

    levels: of the pyramids; a side must have at least 2^(levels + 2) pixels.
    decomposition: `Laplacian` (details are differences) or `contrast` (ratios less one).
    base: how base levels are fused: `CC+MAX` (maximum on even levels, correlation rule on odd), `CC`, `MAX`.
    attention: enhancement of the details: `DSimAM`, `SimAM`, `none`.
    merge: replace the coarsest base by the mean of the first four, as the authors' program does since September 2025;
        false is the rule of their paper and of their published sample.
    """

    learned = False
    about = About(paper="The authors of CPFusion: their program as of September 2025", year=2025, licence="MIT")
    convention = Convention(colour="shift", quantise="truncate")

    def __init__(
        self,
        *,
        levels: int = 4,
        decomposition: Literal["Laplacian", "contrast"] = "Laplacian",
        base: Literal["CC+MAX", "CC", "MAX"] = "CC+MAX",
        attention: Literal["DSimAM", "SimAM", "none"] = "DSimAM",
        merge: bool = True,
    ):
        super().__init__()
        if not 1 <= levels <= 10:
            raise ValueError(f"levels must be 1 to 10, got {levels}")
        for what, value, known in (
            ("decomposition", decomposition, ("Laplacian", "contrast")),
            ("base", base, ("CC+MAX", "CC", "MAX")),
            ("attention", attention, tuple(ATTENTION)),
        ):
            if value not in known:
                raise ValueError(f"{what} must be one of {', '.join(known)}; got '{value}'")
        self.levels = levels
        self.min_size = 2 ** (levels + 2)
        self.decomposition = decomposition
        self.base = base
        self.enhance = ATTENTION[attention]
        self.merge = merge

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """G_0 .. G_L. The finest step gets the widest blur; the last is hardly blurred and aliases, as published."""
        levels = [image]
        for step in range(1, self.levels + 1):
            taps = 2 * (self.levels - step + 1) + 1
            levels.append(gaussian_blur(levels[-1], taps, (taps - 1) / 6, stride=2))
        return levels

    def details(self, pyramid: list[Tensor]) -> list[Tensor]:
        """D_0 .. D_(L-1), each of the size of its level."""
        details = []
        for level, coarser in pairwise(pyramid):
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

    def base_of(self, ir: list[Tensor], vis: list[Tensor], counts: list[Counts]) -> Tensor:
        """The fused coarsest base; of the merged levels only the samples that the inverse pyramid sees."""
        levels = range(min(4, self.levels + 1)) if self.merge else [self.levels]
        weights = None
        if self.base == "CC" or (self.base == "CC+MAX" and any(c % 2 for c in levels)):
            weights = correlation_weights(ir, vis, counts)
        bases = []
        for c in levels:
            step = 2 ** (self.levels - c)
            x, y = ir[c][:, :, ::step, ::step], vis[c][:, :, ::step, ::step]
            bases.append(fuse_base(x, y, c, self.base, weights and weights[c]))
        return sum(bases) / len(bases)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        height, width = ir.shape[2:]
        counts = [Counts(i, height, width, ir) for i in range(self.levels + 1)]
        both = self.pyramid(torch.cat((ir, vis)).mul_(219).add_(16))
        details = []
        for i, detail in enumerate(self.details(both)):
            ir_detail, vis_detail = self.enhance(detail, counts[i]).chunk(2)
            details.append(fuse_details(ir_detail, vis_detail, i, height, width))
        ir_pyramid, vis_pyramid = zip(*(level.chunk(2) for level in both), strict=True)
        base = self.base_of(ir_pyramid, vis_pyramid, counts)
        return (self.rebuild(base, details) - 16) / 219
