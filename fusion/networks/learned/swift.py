"""Swift: a small network for video and for training at home; most of its work is at half resolution.

51,481 weights by default, 91,913 in the files that are shipped.

Designed here. Two scales decide together: a fine one sees both pictures at half resolution, pixel by pixel, and a
coarse one sees an eighth of the resolution, about 130 pixels around, and the mean of the whole picture. Each source is
split into three bands: means of 8x8 cells, smoothly joined, what means of 2x2 pixels have beyond, and the rest. What
comes out is the infrared's share of the first band, a gain for each source in the others and something added, then one
gain and offset for the whole picture. A pixel's brightness can so come from one source and its texture from the other,
and where one source takes over the change is gradual: no outline, as a per-pixel maximum draws it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference.swift import SwiftForm
from fusion.networks.base import Network, count
from fusion.registry import NETWORKS

CELL = 8
"""Pixels a side of a cell of the coarse scale; both picture sides are padded to a multiple."""


class Coarse(nn.Module):
    """Features of 8x8 cells in view of their surroundings and of the whole picture."""

    DILATIONS = (1, 2, 4)
    EPSILON = 1e-4
    """Added to variances, whose root has no slope at 0."""

    def __init__(self, *, width: int, outputs: int, spread: bool):
        super().__init__()
        self.spread = spread
        self.embed = nn.Conv2d(8, width, CELL // 2, stride=CELL // 2)
        self.around = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in self.DILATIONS)
        self.whole = nn.Linear(2 * width if spread else width, width)
        self.tone = nn.Linear(width, 2)
        self.project = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.tone.weight)
        nn.init.zeros_(self.tone.bias)

    def embedded(self, pixels: Tensor) -> Tensor:
        """(b, 8, h/2, w/2) -> (b, width, h/8, w/8), each cell by itself."""
        return self.embed(pixels).relu_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What `embedded` gives -> (b, outputs, h/8, w/8), and gain - 1 and offset (b, 2, 1, 1)."""
        for convolution in self.around:
            x = x + convolution(x).relu_()
        whole = self.whole(self.statistics(x)).relu_()
        return self.project(x + whole[:, :, None, None]), self.tone(whole)[:, :, None, None]

    def statistics(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> means of the channels, and with `spread` their standard deviations, (b, c or 2 c)."""
        mean = x.mean((2, 3))
        if not self.spread:
            return mean
        variance = (x * x).mean((2, 3)) - mean * mean
        return torch.cat((mean, (variance.relu() + self.EPSILON).sqrt()), dim=1)


class Fine(nn.Module):
    """What every pixel takes from where, from both pictures and the coarse features around it."""

    def __init__(self, *, width: int, depth: int, around: int):
        super().__init__()
        self.first = nn.Conv2d(8 + around, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.last = nn.Conv2d(width, 3 + 3 * 4, 3, padding=1)

    def forward(self, pixels: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 8, h/2, w/2) and (b, c, h/8, w/8) -> three planes of half the size, three of the full size."""
        around = F.interpolate(around, scale_factor=CELL // 2, mode="bilinear")
        x = self.first(torch.cat((pixels, around), dim=1)).relu_()
        for convolution in self.body:
            x = x + convolution(x).relu_()
        half, full = self.last(x).split((3, 12), dim=1)
        return half, F.pixel_shuffle(full, 2)


@NETWORKS.register("swift")
class Swift(Network):
    """width, depth: channels and inner 3x3 convolutions of the fine scale; coarse_width: channels of the coarse one,
    of which `around` reach the fine one. spread: whether the whole picture counts by its contrast too, not by means
    alone."""

    def __init__(
        self, *, width: int = 32, depth: int = 1, coarse_width: int = 32, around: int = 8, spread: bool = False
    ):
        super().__init__()
        self.coarse = Coarse(width=coarse_width, outputs=around, spread=spread)
        self.fine = Fine(width=width, depth=depth, around=around)
        self.to(memory_format=torch.channels_last)  # else every convolution would reorder its weights

    @classmethod
    def sizes(cls, state: dict[str, Tensor]) -> dict[str, int | bool]:
        around, coarse_width = state["coarse.project.weight"].shape[:2]
        depth = count(state, r"fine\.body\.(\d+)\.")
        return {
            "width": state["fine.last.weight"].shape[1],
            "depth": depth,
            "coarse_width": coarse_width,
            "around": around,
            "spread": state["coarse.whole.weight"].shape[1] > coarse_width,
        }

    CELL = CELL

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        h, w = ir.shape[-2:]
        pictures, pixels = self.arranged(ir, vis)
        around, tone = self.coarse(self.coarse.embedded(pixels))
        return self.decide(pictures, pixels, around, tone)[..., :h, :w]

    bounded = True

    def inference_form(self, dtype: torch.dtype, max_memory: int | None) -> Callable[[Tensor, Tensor], Tensor]:
        """Float32 in every form."""
        return SwiftForm(self, max_memory)

    def arranged(self, ir: Tensor, vis: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 1, h, w) each -> (b, 2, h, w), filled up to whole cells by the last row and column, and its pixels four
        by four, (b, 8, h/2, w/2)."""
        h, w = ir.shape[-2:]
        pictures = F.pad(torch.cat((ir, vis), dim=1), (0, -w % CELL, 0, -h % CELL), mode="replicate")
        return pictures, F.pixel_unshuffle(pictures, 2).contiguous(memory_format=torch.channels_last)

    def decide(self, pictures: Tensor, pixels: Tensor, around: Tensor, tone: Tensor) -> Tensor:
        """What `arranged` gives and the coarse scale's results -> (b, 1, h, w)."""
        half, full = self.fine(pixels, around)

        halved = F.avg_pool2d(pictures, 2)
        smooth = F.interpolate(F.avg_pool2d(halved, CELL // 2), scale_factor=CELL // 2, mode="bilinear")
        share, gains = half[:, :1].sigmoid(), half[:, 1:]
        fused = smooth[:, 1:] + share * (smooth[:, :1] - smooth[:, 1:]) + mixed(halved - smooth, gains)

        detail = pictures - F.interpolate(halved, scale_factor=2, mode="bilinear")
        fused = F.interpolate(fused, scale_factor=2, mode="bilinear") + mixed(detail, full[:, :2]) + full[:, 2:]
        gain, offset = tone.split(1, dim=1)
        return fused * (1 + gain) + offset


def mixed(details: Tensor, gains: Tensor) -> Tensor:
    """The details of both pictures, each times its gain, which is half where the network says nothing."""
    return ((0.5 + gains) * details).sum(1, keepdim=True)
