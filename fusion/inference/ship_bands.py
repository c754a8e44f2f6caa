"""SHIP on a CPU by compiled loops: the same function as `ship.py`, with half or two thirds of the multiplications."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fusion.inference.bands import Spare, array, over_bands
from fusion.inference.loops import ship as loops
from fusion.inference.loops.compiler import LANES, USABLE
from fusion.inference.loops.sums import merged
from fusion.inference.loops.winograd import GROUP, whole
from fusion.inference.ship_layers import Dense, ShipLayers, padded, wide


class ShipInBands:
    """The whole network.

    network: a `fusion.networks.learned.ship.SHIP`, whose weights are copied. bears: of a part's name, whether its
    convolutions bear more rounding than others. bfloat16: whether these multiply bfloat16.
    """

    @staticmethod
    def can(network: nn.Module) -> bool:
        """Whether there are loops for a network as wide as this on this processor."""
        channels, total = network.project.out_channels, network.project.in_channels
        return USABLE and not (channels % LANES or total // 2 % GROUP)

    def __init__(self, network: nn.Module, *, bears: Callable[[str], object], bfloat16: bool):
        self.layers, self.bfloat16 = ShipLayers(network, bears=bears, bfloat16=bfloat16), bfloat16
        self.spare = Spare()

    def __call__(self, ir: Tensor, vis: Tensor) -> Tensor:
        """ir, vis: (b, 1, h, w) in [0, 1]; returns the network's raw output, (b, 1, h, w) float32."""
        h, w = ir.shape[-2:]
        numbers = Maps.channels(*self.layers.widths) * h * w
        with self.spare.room((numbers,), torch.float32, ir.device) as memory:
            maps = Maps(memory, h, w, *self.layers.widths)
            return torch.stack([self.one(i, v, maps) for i, v in zip(ir[:, 0].float(), vis[:, 0].float(), strict=True)])

    def rehearse(self) -> None:
        """All loops, on a small picture."""
        with torch.inference_mode():
            self(*torch.zeros(2, 1, 1, 16, 16))

    def memory(self, h: int, w: int) -> int:
        """Bytes that stand at once."""
        c = self.layers.c
        maps, planes = 4 * Maps.channels(*self.layers.widths) * h * w, 4 * 4 * h * w
        spectra = 3 * 8 * c * h * (w // 2 + 1)  # one of them inside of `irfft2`
        rings = torch.get_num_threads() * 360 * c * w
        return maps + planes + spectra + rings

    def one(self, ir: Tensor, vis: Tensor, maps: Maps) -> Tensor:
        """(h, w) each -> (1, h, w)"""
        layers, both, (x1, x2) = self.layers, maps.both, maps.x
        c = layers.c
        v = x1  # whose place is free until the first coupling
        i, next_i = maps.irs
        run(loops.extract, vis, *layers.visible, v, reach=6)
        run(loops.extract, ir, *layers.infrared, i, reach=6)
        for spatial, channel, order in zip(layers.spatial, layers.channel, maps.orders, strict=True):
            mean = interact(spatial, v, i, maps.planes, both, next_i)
            run(loops.channel, both, *layers.chained(channel, mean), x1, x2, reach=6)
            couple(channel.coupling, x1, x2, maps.units)
            project = wide(channel.project.weight)[:, :, 0, 0].T
            identity = np.eye(2 * c, c)  # of both, the visible features
            combine((x1, x2, both), (project[:c], project[c:], identity), channel.project.bias, order)
            v, i, next_i = order, next_i, i
        for part, out in zip(np.split(layers.matrix, 2), maps.halves, strict=True):
            combine(maps.orders, np.split(part.T, len(maps.orders)), None, out)
        couple(layers.coupling, *maps.halves, maps.units)
        project = np.split(wide(layers.project.weight)[:, :, 0, 0].T, 2)
        combine(maps.halves, project, layers.project.bias, maps.coupled)
        return self.refine(maps.coupled, maps.refined)

    def refine(self, x: Tensor, y: Tensor) -> Tensor:
        """x, y: maps of which y takes what comes of x."""
        layers, (h, w, c) = self.layers, x.shape
        run(loops.begin, x, c, layers.refine, y)
        shift = np.zeros(c, np.float32)
        for part, first in layers.pooled:
            taps = sum(run(loops.pooled, y, shift, first)) / (h * w)
            second = part.refresh[2]
            pooled = np.einsum("yxi,oiyx->o", taps, wide(second.weight)) + wide(second.bias)
            pooled = torch.from_numpy(pooled).float()[None, :, None, None]
            shift = shift + (part.gate(pooled) * pooled).flatten().numpy()
        out = torch.empty(1, h, w)
        run(loops.last, y, shift, layers.last, out[0])
        return out


class Maps:
    """The feature maps of a picture, (h, w, channels) each, in one piece of memory.

    memory: numbers, as many as `channels` says for a pixel. c: features of an image; half: of one half of the last
    coupling; growth: of a dense block's units; n: interactions.
    """

    def __init__(self, memory: Tensor, h: int, w: int, c: int, half: int, growth: int, n: int):
        def after(others: int, channels: int) -> Tensor:
            return memory[others * h * w : (others + channels) * h * w].view(h, w, channels)

        self.x = after(0, c), after(c, c)
        self.orders = [after((2 + k) * c, c) for k in range(n)]
        # What passes between interactions; after the last one, the halves of the last coupling.
        one = (2 + n) * c
        two = one + self.shared(c, half)
        self.both, self.irs = after(one, 2 * c), (after(two, c), after(two + c, c))
        self.halves = after(one, whole(half)), after(two, whole(half))
        # What dense blocks work in; before them, planes of a circular convolution; after them, what they end in.
        work = two + self.shared(c, half)
        self.units = after(work, growth), after(work + growth, growth), after(work + 2 * growth, growth)
        self.planes, self.coupled, self.refined = after(work, c).view(c, h, w), after(work, c), after(work + c, c)

    @staticmethod
    def shared(c: int, half: int) -> int:
        return max(2 * c, whole(half))

    @classmethod
    def channels(cls, c: int, half: int, growth: int, n: int) -> int:
        """Of all maps together."""
        return (2 + n) * c + 2 * cls.shared(c, half) + max(3 * growth, 2 * c)


def interact(spatial: tuple, vis: Tensor, ir: Tensor, planes: Tensor, both: Tensor, next_ir: Tensor) -> Tensor:
    """The new visible and infrared features to `both`, whose means, (1, 2 c, 1, 1), are returned, and the infrared
    ones to a map of their own."""
    spectrum = torch.fft.rfft2(planes.copy_(vis.permute(2, 0, 1)))
    spectrum *= torch.fft.rfft2(planes.copy_(ir.permute(2, 0, 1)))
    torch.fft.irfft2(spectrum, s=planes.shape[-2:], out=planes)
    _, mean, _ = merged(run(loops.spatial, planes, vis, ir, *spatial, both, next_ir, reach=6))
    return torch.from_numpy(mean).float()[None, :, None, None]


def couple(parts: dict[str, Dense], x1: Tensor, x2: Tensor, units: tuple) -> None:
    """The affine coupling, in place."""
    add_dense(parts["f"], x2, x1, units)
    add_dense(parts["h"], x1, x2, units, scales=True)
    add_dense(parts["g"], x1, x2, units)


def add_dense(block: Dense, x: Tensor, total: Tensor, units: tuple, scales: bool = False) -> None:
    """total += block(x), or, where it scales, total *= exp of what is made of it."""
    y, first, next_y = units
    one, two = block.units
    unit = one.normed(merged(run(loops.begin, x, block.c, one.first, y)))
    unit_too = two.normed(merged(run(loops.middle, x, y, unit, two.first, first, next_y, reach=2)))
    run(loops.end, x, block.c, first, next_y, unit_too, block.last, total, scales, reach=2)


def run(loop: Callable, *args, reach: int = 1) -> list:
    """Tensors as arrays, over bands of as many rows as the last one of them has."""
    args = [tuple(map(array, a)) if isinstance(a, tuple) and isinstance(a[0], Tensor) else a for a in args]
    args = [array(a) if isinstance(a, Tensor) else a for a in args]
    h = next(len(a) for a in reversed(args) if isinstance(a, np.ndarray) and a.ndim > 1)
    return over_bands(loop, h, *args, threads=torch.get_num_threads(), reach=reach)


def combine(maps: Sequence[Tensor], matrices: Sequence[np.ndarray], bias: Tensor | None, out: Tensor) -> None:
    """out = the sum of maps times matrices, (channels of the map, of the result) each, and bias."""
    bias = np.zeros(out.shape[2], np.float32) if bias is None else array(bias)
    run(loops.combine, tuple(maps), tuple(padded(matrix) for matrix in matrices), bias, out)
