"""swift on a CPU by compiled loops: the same function as the network, in five passes over bands of rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from fusion.inference.bands import Spare, array, over_bands
from fusion.inference.loops import pictures
from fusion.inference.loops import swift as loops
from fusion.inference.loops.compiler import USABLE
from fusion.inference.loops.sums import merged
from fusion.inference.loops.winograd import FOUR, GROUP, layer, whole

CELL = 2 * loops.CELL
RELU, LINEAR = 0.0, 1.0
"""Slopes below 0."""

Rows = Callable[[int, int], None]


def nothing(a: int, b: int) -> None:
    pass


class SwiftInBands:
    """The whole network.

    network: a `fusion.networks.learned.swift.Swift`, whose weights are copied. It may have any widths: channels are
    filled up with zeros to what the loops want.
    """

    @staticmethod
    def can() -> bool:
        """Whether there are loops on this processor."""
        return USABLE

    def __init__(self, network: nn.Module):
        network = copy.deepcopy(network).double().requires_grad_(False)
        coarse, fine = network.coarse, network.fine
        self.coarse, self.spare = coarse, Spare()
        self.c, self.channels = whole(coarse.embed.out_channels), -(-coarse.project.out_channels // GROUP) * GROUP
        self.m = whole(self.channels + 2)
        embed = coarse.embed.weight.permute(2, 3, 1, 0).flatten(0, 2)
        self.embed = filled(embed, len(embed), self.c), filled(coarse.embed.bias, self.c)
        self.around = [(conv.dilation[0], convolution(conv, self.c, self.c, RELU)) for conv in coarse.around]
        self.project = filled(coarse.project.weight.flatten(1).T, self.c, self.m)
        n = whole(fine.last.in_channels)
        body = [convolution(conv, n, n, RELU) for conv in fine.body]
        self.fine = (
            convolution(fine.first, 8 + self.channels, n, RELU),
            stacked(body) if body else tuple(part[None][:0] for part in convolution(fine.first, n, n, RELU)),
            convolution(fine.last, n, whole(fine.last.out_channels), LINEAR),
        )

    def __call__(self, ir: Tensor, vis: Tensor) -> Tensor:
        """ir, vis: (b, 1, h, w) in [0, 1]; returns the network's raw output, (b, 1, h, w) float32."""
        out = torch.empty(ir.shape, dtype=torch.float32)
        for i, v, o in zip(ir[:, 0].float(), vis[:, 0].float(), out[:, 0], strict=True):
            with self.rooms(*o.shape) as rooms:
                self.passes(array(i), array(v), o.numpy(), rooms)
        return out

    def picture(self, ir: np.ndarray, vis: np.ndarray, colours: np.ndarray | None) -> np.ndarray:
        """uint8 pictures (h, w) or (h, w, 3) RGB -> the fused one, gray or with the chroma of `colours`."""
        ir, vis, colours = plain(ir), plain(vis), None if colours is None else plain(colours)
        h, w = ir.shape[:2]
        fused = np.empty((h, w) if colours is None else colours.shape, np.uint8)
        with self.rooms(h, w, 3) as (*rooms, planes):
            one, two, out = planes

            def before(a: int, b: int) -> None:
                pictures.luminance(ir)(a, b, ir, one)
                pictures.luminance(vis)(a, b, vis, two)

            def after(a: int, b: int) -> None:
                if colours is None:
                    pictures.gray(a, b, out, fused)
                else:
                    pictures.colour(a, b, out, colours, fused)

            self.passes(one, two, out, rooms, before, after)
        return fused

    def rehearse(self) -> None:
        """All loops, with every type of arguments."""
        gray, colour = np.zeros((CELL, CELL), np.uint8), np.zeros((CELL, CELL, 3), np.uint8)
        self.picture(gray, colour, colour)
        self.picture(gray, colour, None)

    def shapes(self, h: int, w: int, planes: int = 0) -> list[tuple[int, ...]]:
        """Of what stands whole: both pictures at half size, the cells' means, features for the fine scale, features of
        the coarse one twice, planes."""
        rows, columns = -(-h // CELL), -(-w // CELL)
        cells = [(rows, columns, n) for n in (2, self.m, self.c, self.c)]
        return [(4 * rows, 4 * columns, 8), *cells, (planes, h, w)]

    def memory(self, h: int, w: int) -> int:
        """Bytes of tensors that one pair of h x w needs."""
        depth, n = len(self.fine[1][0]), self.fine[0][1].size
        # Of a thread in `loops.fine`, numbers for each column of half size: rings, where a pixel takes 1.5 numbers a
        # channel, rows of features, of cells enlarged, and of what the network says.
        rings = 3 * 1.5 * (8 + self.channels + (depth + 1) * n)
        rows = 2 * (depth + 1) * n + (depth + 4) * self.m + 2 * self.fine[2][1].size + 15
        return int(4 * (sum(map(math.prod, self.shapes(h, w, 3))) + torch.get_num_threads() * (rings + rows) * w / 2))

    @contextmanager
    def rooms(self, h: int, w: int, planes: int = 0) -> Iterator[list[np.ndarray]]:
        shapes = self.shapes(h, w, planes)
        sizes = [math.prod(shape) for shape in shapes]
        with self.spare.room((sum(sizes),), torch.float32, torch.device("cpu")) as memory:
            yield [part.view(shape).numpy() for part, shape in zip(memory.split(sizes), shapes, strict=True)]

    def passes(self, ir, vis, out, rooms, before: Rows = nothing, after: Rows = nothing) -> None:
        """ir, vis, out: (h, w). before, after: called for rows [a, b) of the picture, that ir and vis may be made and
        out be used while they are in the cache."""
        half, cells, low, x, y, *_ = rooms
        h = len(ir)

        def begin(a: int, b: int) -> None:
            before(CELL * a, min(CELL * b, h))
            loops.begin(a, b, ir, vis, half, cells, *self.embed, x)

        def end(a: int, b: int) -> None:
            loops.fine(a, b, half, low, shift, self.channels, *self.fine, tone, out)
            after(CELL * a, min(CELL * b, h))

        def run(loop, *args, reach: int = 1) -> list:
            return over_bands(loop, len(cells), *args, threads=torch.get_num_threads(), reach=reach, unit=CELL)

        run(begin)
        for dilation, weights in self.around:
            moments = run(loops.around, x, dilation, weights, y)
            x, y = y, x
        shift, tone = self.whole(moments)
        run(loops.project, x, self.project, cells, self.channels, low)
        run(end, reach=2)

    def whole(self, moments: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What the whole picture adds to all features for the fine scale, and its gain and offset."""
        coarse = self.coarse
        n, mean, squares = (part[: coarse.embed.out_channels] for part in merged(moments))
        deviation = np.sqrt(squares / n + coarse.EPSILON)
        statistics = torch.from_numpy(np.concatenate((mean, deviation)) if coarse.spread else mean)
        said = coarse.whole(statistics).relu()
        shift = coarse.project.weight.flatten(1) @ said + coarse.project.bias
        gain, offset = coarse.tone(said).tolist()
        return filled(shift, self.m), np.array([1 + gain, offset], np.float32)


def plain(picture: np.ndarray) -> np.ndarray:
    """As an array of the one kind that loops are compiled for: in one piece, not read-only."""
    return np.require(picture, requirements=("C", "W"))


def convolution(conv: nn.Conv2d, inputs: int, outputs: int, slope: float) -> tuple:
    """A layer for the loops, of so many channels."""
    o, c = conv.weight.shape[:2]
    weight, bias = np.zeros((outputs, inputs, 3, 3)), np.zeros(outputs)
    weight[:o, : min(c, inputs)], bias[:o] = conv.weight[:, :inputs].numpy(), conv.bias.numpy()
    return layer(weight, bias, slope, FOUR)


def stacked(layers: list[tuple]) -> tuple:
    return tuple(np.stack(parts) for parts in zip(*layers, strict=True))


def filled(x: Tensor, *shape: int) -> np.ndarray:
    """float32, with zeros up to a shape."""
    out = np.zeros(shape, np.float32)
    out[tuple(slice(n) for n in x.shape)] = x.numpy()
    return out
