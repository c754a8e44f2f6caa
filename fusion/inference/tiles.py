"""Overlapping tiles: a bound on memory for a method that has to see the whole picture, at the price of exactness.

Every tile is fused as a picture of its own and blended into its neighbours along linear ramps. Where two tiles cover
the same pixels they differ as far as the method depends on what lies outside of a tile; that difference is measured
and told.
"""

from __future__ import annotations

import bisect
import itertools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

LEAST_TILE, OVERLAP = 256, 64
"""Pixels along one side."""


class Tiled(nn.Module):
    """A form in tiles where the whole picture needs more than `max_memory`.

    compute: (ir, vis), (b, 1, h, w) each -> (b, 1, h, w). memory: bytes that it takes for h x w at the most.
    disagreement: after pictures in tiles the mean difference between neighbours where they overlap, else None.
    """

    def __init__(
        self, compute: Callable[[Tensor, Tensor], Tensor], *, memory: Callable[[int, int], int], max_memory: int
    ):
        super().__init__()
        self.compute, self.memory, self.max_memory = compute, memory, max_memory
        self.disagreement: float | None = None

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Warns (UserWarning) of a picture in tiles; ValueError where not even one tile is within `max_memory`."""
        self.disagreement = None
        h, w = ir.shape[-2:]
        if self.memory(h, w) <= self.max_memory:
            return self.compute(ir, vis)
        side = self.side(h, w)
        rows, columns = spans(h, side), spans(w, side)
        pairs = [self.one(i[None], v[None], rows, columns) for i, v in zip(ir, vis, strict=True)]
        fused, disagreements = zip(*pairs, strict=True)
        self.disagreement = sum(disagreements) / len(disagreements)
        warnings.warn(
            f"{h}x{w} in {len(rows) * len(columns)} tiles within max_memory, which is not exact: where neighbours "
            f"overlap they differ by {255 * self.disagreement:.2f} gray levels on average",
            stacklevel=2,
        )
        return torch.cat(fused)

    def side(self, h: int, w: int) -> int:
        """Of the largest tiles that fit, in pixels."""
        whole = 3 * 4 * h * w  # the result, its weights, and what the tiles have given so far
        least = whole + self.memory(LEAST_TILE, LEAST_TILE)
        if least > self.max_memory:
            raise ValueError(
                f"a pair of {h}x{w} needs at least {least / 2**20:.1f} MiB (in tiles of {LEAST_TILE}x{LEAST_TILE}), "
                f"but max_memory allows {self.max_memory / 2**20:.1f} MiB"
            )
        sides = range(LEAST_TILE, max(h, w) + 1)
        return sides[bisect.bisect(sides, self.max_memory - whole, key=lambda side: self.memory(side, side)) - 1]

    def one(self, ir: Tensor, vis: Tensor, rows: list[slice], columns: list[slice]) -> tuple[Tensor, float]:
        """(1, 1, h, w) each -> the same, and the mean difference between its tiles where they overlap."""
        total, weights = torch.zeros_like(ir), torch.zeros_like(ir)
        difference = pixels = 0.0
        for row, column in itertools.product(rows, columns):
            tile = self.compute(ir[..., row, column], vis[..., row, column])
            weight = ramp(row, ir.shape[-2], ir.device)[:, None] * ramp(column, ir.shape[-1], ir.device)
            so_far, there = total[..., row, column], weights[..., row, column]
            shared = there > 0
            difference += float((so_far[shared] / there[shared] - tile[shared]).abs().sum())
            pixels += int(shared.sum())
            so_far += weight * tile
            there += weight
        return total.div_(weights), difference / max(pixels, 1)


def spans(length: int, side: int) -> list[slice]:
    """Where tiles of `side` pixels at most lie along `length`, `OVERLAP` or more over each other."""
    if length <= side:
        return [slice(0, length)]
    n = -(-(length - OVERLAP) // (side - OVERLAP))
    starts = [round(i * (length - side) / (n - 1)) for i in range(n)]
    return [slice(start, start + side) for start in starts]


def ramp(span: slice, length: int, device: torch.device) -> Tensor:
    """A tile's weight along one side: down to almost nothing over `OVERLAP` pixels, but not at the picture's border."""
    n = span.stop - span.start
    up = ((torch.arange(n, device=device) + 1) / (OVERLAP + 1)).clamp(max=1)
    return (up if span.start else torch.ones_like(up)) * (up.flip(0) if span.stop < length else 1)
