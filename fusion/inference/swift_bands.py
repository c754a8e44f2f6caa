"""swift on a CPU by compiled loops: the same function as the network, in five passes over bands of rows."""

from __future__ import annotations

import copy
import math
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fusion.inference.bands import Spare, array, over_bands
from fusion.inference.loops import swift as loops
from fusion.inference.loops.compiler import USABLE
from fusion.inference.loops.sums import merged
from fusion.inference.loops.winograd import FOUR, GROUP, layer, whole

CELL = 2 * loops.CELL
RELU, LINEAR = 0.0, 1.0
"""Slopes below 0."""


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
        pairs = zip(ir[:, 0].float(), vis[:, 0].float(), strict=True)
        return torch.from_numpy(np.stack([self.one(array(i), array(v)) for i, v in pairs]))[:, None]

    def shapes(self, h: int, w: int) -> list[tuple[int, ...]]:
        """Of what stands whole besides the pictures: both at half size, the cells' means, features for the fine scale,
        features of the coarse one twice."""
        h, w = -(-h // CELL), -(-w // CELL)
        return [(4 * h, 4 * w, 8), (h, w, 2), (h, w, self.m), (h, w, self.c), (h, w, self.c)]

    def one(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """(h, w) each -> (h, w)"""
        shapes = self.shapes(*ir.shape)
        sizes = [math.prod(shape) for shape in shapes]
        with self.spare.room((sum(sizes),), torch.float32, torch.device("cpu")) as memory:
            parts = [part.view(shape).numpy() for part, shape in zip(memory.split(sizes), shapes, strict=True)]
            return self.passes(ir, vis, *parts)

    def passes(self, ir, vis, half, cells, low, x, y) -> np.ndarray:
        run = partial(over_bands, h=len(cells), threads=torch.get_num_threads(), unit=CELL)
        run(lambda a, b: loops.begin(a, b, ir, vis, half, cells, *self.embed, x))
        for dilation, weights in self.around:
            moments = run(lambda a, b: loops.around(a, b, x, dilation, weights, y))  # noqa: B023
            x, y = y, x
        shift, tone = self.whole(moments)
        run(lambda a, b: loops.project(a, b, x, self.project, cells, self.channels, low))
        out = np.empty_like(ir)
        run(lambda a, b: loops.fine(a, b, half, low, shift, self.channels, *self.fine, tone, out), reach=2)
        return out

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
