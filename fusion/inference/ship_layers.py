"""SHIP's weights in the order that compiled loops want.

What is linear is multiplied out: the first 1x1 convolution into the one after it, the weights of a channel interaction,
which are known before its chain of convolutions begins, and the LU matrix after it into their kernels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from fusion.inference.bands import array
from fusion.inference.loops.winograd import FOUR, GROUP, TWO, Scheme, layer, whole

RELU, LEAKY, DENSE, LINEAR = 0.0, 0.1, 0.2, 1.0
"""Slopes below 0."""


class Unit(NamedTuple):
    """Of a dense block."""

    first: tuple
    norm: nn.InstanceNorm2d
    rest: tuple

    def normed(self, moments: np.ndarray) -> tuple:
        """For `loops.unit_row`: with scale and shift of the first half of the channels, by these statistics."""
        n, mean, squares = moments
        half = self.norm.num_features
        scale, shift = np.ones_like(mean), np.zeros_like(mean)
        scale[:half] = wide(self.norm.weight) / np.sqrt(squares / n + self.norm.eps)[:half]
        shift[:half] = wide(self.norm.bias) - mean[:half] * scale[:half]
        return scale.astype(np.float32), shift.astype(np.float32), *self.rest


class Dense(NamedTuple):
    c: int
    units: tuple[Unit, Unit]
    last: tuple


class Channel(NamedTuple):
    """Of an interaction between channels. refreshes, matrix: what the layers are made of once weights are known."""

    mixers: nn.ModuleList
    refreshes: nn.ModuleList
    matrix: np.ndarray
    coupling: dict[str, Dense]
    project: nn.Conv2d


class ShipLayers:
    """Of the whole network; see `ShipInBands`."""

    def __init__(self, network: nn.Module, *, bears: Callable[[str], object], bfloat16: bool):
        network = copy.deepcopy(network).float().requires_grad_(False)
        self.bear = {part for name, part in network.named_modules() if bears(name)}
        self.bfloat16 = bfloat16
        self.c = network.project.out_channels
        self.visible, self.infrared = (self.extracting(layers) for layers in (network.visible, network.infrared))
        self.spatial = [self.interaction(part) for part in network.spatial]
        self.channel = [
            Channel(p.mixers, p.refreshes, *self.invertible(p.invertible), p.project) for p in network.channel
        ]
        self.matrix, self.coupling = self.invertible(network.invertible)
        self.project = network.project
        dense = self.coupling["f"]
        self.widths = self.c, dense.c, len(dense.units[0].first[1]), len(self.spatial)
        refine, one, two, last = network.refine
        self.refine, self.last = self.layer(refine), self.layer(last)
        self.pooled = [(p, self.layer(p.refresh[0], RELU)) for p in (one, two)]

    def grade(self, part: nn.Module | None) -> tuple[Scheme, bool]:
        """How a part's convolutions are computed: those that bear it in bfloat16 if that is asked for, the others with
        fewer products then; in float32 the other way round."""
        bears = part in self.bear
        return (FOUR if bears != self.bfloat16 else TWO), bears and self.bfloat16

    def layer(self, conv: nn.Conv2d, slope: float = LINEAR, part: nn.Module | None = None) -> tuple:
        return layer(wide(conv.weight), wide(conv.bias), slope, *self.grade(part))

    def extracting(self, layers: nn.Sequential) -> tuple:
        point, one, two = layers
        # Where there is no picture its bias is missing, too: a channel of ones carries it.
        kernel = np.zeros((self.c, GROUP, 3, 3))
        for channel, values in enumerate((point.weight[:, :, 0, 0], point.bias[:, None])):
            kernel[:, channel] = np.einsum("oiyx,i->oyx", wide(one.conv.weight), wide(values)[:, 0])
        first = layer(kernel, wide(one.conv.bias), LINEAR, *self.grade(None))
        edges = []
        for e in (one, two):
            difference = layer(wide(e.difference.kernel()), None, LINEAR, *self.grade(None))
            edges.append((self.layer(e.refresh[0], RELU), self.layer(e.refresh[2]), difference))
        return (first, self.layer(two.conv)), tuple(edges)

    def interaction(self, part: nn.Module) -> tuple:
        norms = tuple((array(n.weight), array(n.bias), np.float32(n.eps)) for n in part.norms)
        chains = []
        for refreshes in (part.fused, part.infrared):
            pairs = ((self.layer(r[0], RELU, refreshes), self.layer(r[2], LINEAR, refreshes)) for r in refreshes)
            chains.append(tuple(pairs))
        return norms, *chains

    def invertible(self, block: nn.Module) -> tuple[np.ndarray, dict[str, Dense]]:
        matrix = wide(block.convolution.matrix())
        return matrix, {name: self.dense(getattr(block, name)) for name in ("f", "h", "g")}

    def dense(self, block: nn.Module) -> Dense:
        c = block.unit1.conv1.in_channels
        units = []
        for unit in (block.unit1, block.unit2):
            skip = padded(wide(unit.skip.weight)[:, :, 0, 0].T)
            rest = self.layer(unit.conv2, LEAKY, block), skip, array(unit.skip.bias)
            units.append(Unit(self.layer(unit.conv1, LINEAR, block), unit.norm, rest))
        return Dense(c, tuple(units), self.layer(block.conv, DENSE, block))

    def chained(self, channel: Channel, mean: Tensor) -> tuple[tuple, tuple]:
        """The layers of an interaction whose channels have these means: five, and the last one's two halves."""
        weights = []
        for mixer in channel.mixers:
            mean = mixer(mean).softmax(dim=1)
            weights.append(wide(mean).flatten())
        grade = self.grade(channel.refreshes)
        kernels, before = [], weights[0]
        for (first, _, second), after in zip(channel.refreshes, weights[1:], strict=True):
            kernels.append((wide(first.weight) * before[:, None, None], wide(first.bias), RELU))
            kernels.append((wide(second.weight) * after[:, None, None, None], wide(second.bias) * after, LINEAR))
            before = np.ones_like(after)
        kernel, bias, _ = kernels.pop()
        kernel, bias = np.tensordot(channel.matrix, kernel, 1), channel.matrix @ bias
        halves = zip(np.split(kernel, 2), np.split(bias, 2), strict=True)
        return tuple(layer(*k, *grade) for k in kernels), tuple(layer(*half, LINEAR, *grade) for half in halves)


def wide(x: Tensor | None) -> np.ndarray | None:
    return None if x is None else x.detach().double().numpy()


def padded(matrix: np.ndarray) -> np.ndarray:
    """With zeros to whole vectors on both sides, float32."""
    rows, columns = matrix.shape
    matrix = np.pad(matrix, ((0, whole(rows) - rows), (0, whole(columns) - columns)))
    return np.ascontiguousarray(matrix, np.float32)
