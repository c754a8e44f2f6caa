"""swift within a bound on memory, by PyTorch: exact, in strips of rows.

All that the fine scale needs of the rest of the picture is the coarse one's features, an eighth as wide and high, which
stand whole. So the coarse scale comes first, its first layer in strips; then strips of the fine one, each with some
cells more above and below, which are thrown away.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fusion.inference import bands
from fusion.inference.readiness import ready

if TYPE_CHECKING:
    from fusion.inference.swift_bands import SwiftInBands


class SwiftInStrips:
    """The whole network.

    network: a `fusion.networks.learned.swift.Swift`, whose weights are copied. max_memory: bytes that one pair's
    tensors may take.
    """

    def __init__(self, network: nn.Module, max_memory: int | None = None):
        self.network, self.max_memory = copy.deepcopy(network).requires_grad_(False), max_memory
        # Rows of half size: a strip's zero padding spoils a row with every convolution, its enlarged cells two, and
        # enlarging the result one.
        self.reach = -(-(len(network.fine.body) + 2 + 2 + 1) * 2 // network.CELL)

    def __call__(self, ir: Tensor, vis: Tensor) -> Tensor:
        """ir, vis: (b, 1, h, w) in [0, 1]; returns the network's raw output, (b, 1, h, w)."""
        if self.max_memory is None and len(ir) > 1:
            return self.network.raw(ir, vis)
        rows = self.rows(*ir.shape[-2:])
        pairs = zip(ir.split(1), vis.split(1), strict=True)
        return torch.cat([self.network.raw(i, v) if rows is None else self.one(i, v, rows) for i, v in pairs])

    def rows(self, h: int, w: int) -> int | None:
        """Cells of a strip's height; None for the whole picture at once. ValueError where not even one keeps to
        `max_memory`."""
        most = -(-h // self.network.CELL)
        if self.max_memory is None or self.memory(h, w, most) <= self.max_memory:
            return None
        least = self.memory(h, w, 1)
        if least > self.max_memory:
            raise ValueError(
                f"a pair of {h}x{w} needs at least {least / 2**20:.1f} MiB, "
                f"but max_memory allows {self.max_memory / 2**20:.1f} MiB"
            )
        return next(n for n in range(most, 0, -1) if self.memory(h, w, n) <= self.max_memory)

    def memory(self, h: int, w: int, rows: int) -> int:
        """Bytes of tensors that one pair of h x w needs in strips of so many rows of cells."""
        net, cell = self.network, self.network.CELL
        height = min(cell * (rows + 2 * self.reach), h + cell)
        coarse = 5 * net.coarse.embed.out_channels * h * w / cell**2
        around, width = net.fine.first.in_channels - 8, net.fine.last.in_channels
        # Numbers a pixel: both pictures twice, and a fourth of the channels that stand at once: cells enlarged, what
        # goes into the first convolution, three maps of features or what is made of the last one's result.
        fine = (4 + (8 + 2 * around + max(3 * width, 90)) / 4) * height * w
        return int(4 * (3 * h * w + max(coarse + 4 * height * w, coarse * 2 / 5 + fine)))

    def one(self, ir: Tensor, vis: Tensor, rows: int) -> Tensor:
        """(1, 1, h, w) each -> the same."""
        net, cell, h = self.network, self.network.CELL, ir.shape[-2]
        strips = [slice(cell * a, cell * (a + rows)) for a in range(0, -(-h // cell), rows)]
        cells = torch.cat([net.coarse.embedded(net.arranged(ir[..., s, :], vis[..., s, :])[1]) for s in strips], dim=2)
        around, tone = net.coarse(cells)
        del cells
        out = torch.empty_like(ir)
        for s in strips:
            top, bottom = max(s.start - cell * self.reach, 0), s.stop + cell * self.reach
            arranged = net.arranged(ir[..., top:bottom, :], vis[..., top:bottom, :])
            fused = net.decide(*arranged, around[:, :, top // cell : bottom // cell], tone)
            given = out[..., s, :]
            given.copy_(fused[..., s.start - top :, :][..., : given.shape[-2], : given.shape[-1]])
        return out


class SwiftForm:
    """By compiled loops where there are such for this network on this device, they are ready and `max_memory` has room
    for a whole picture; else in strips."""

    def __init__(self, network: nn.Module, max_memory: int | None = None):
        self.strips, self.max_memory = SwiftInStrips(network, max_memory), max_memory
        self.loops = loops_of(network)
        self.beside = max_memory is None  # so small that threads wait for each other within one picture

    def __call__(self, ir: Tensor, vis: Tensor) -> Tensor:
        """ir, vis: (b, 1, h, w) in [0, 1]; returns the network's raw output, (b, 1, h, w)."""
        return (self.loops if self.loops_do(*ir.shape[-2:]) else self.strips)(ir, vis)

    def picture(self, ir: np.ndarray, vis: np.ndarray, colours: np.ndarray | None) -> np.ndarray | None:
        """See `Network.picture`."""
        return self.loops.picture(ir, vis, colours) if self.loops_do(*ir.shape[:2]) else None

    def loops_do(self, h: int, w: int) -> bool:
        fits = self.loops and (self.max_memory is None or self.loops.memory(h, w) <= self.max_memory)
        return bool(fits) and ready("swift", self.loops.rehearse)


def loops_of(network: nn.Module) -> SwiftInBands | None:
    if network.fine.last.weight.device.type != "cpu" or not bands.available():
        return None
    from fusion.inference.swift_bands import SwiftInBands

    return SwiftInBands(network) if SwiftInBands.can() else None
