"""CDDFuse's parts by compiled loops: the weights of `cddfuse_blocks.py` in the order that `loops/` wants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusion.inference.bands import array, in_bands
from fusion.inference.cddfuse_blocks import Attention, Block, Nodes, Norm
from fusion.inference.loops import cddfuse as loops
from fusion.inference.loops.compiler import LANES, USABLE
from fusion.inference.loops.products import factor
from fusion.inference.loops.winograd import FOUR, layer


class InBands(NamedTuple):
    """Blocks and coupling layers of features on a CPU, in place.

    bfloat16: of the factors of matrix products.
    """

    threads: int
    bfloat16: bool = False

    MAPS = 2
    """Of features that stand at once."""

    @staticmethod
    def can(c: int, heads: int) -> bool:
        """Whether there are loops for features of c channels on this processor."""
        return USABLE and not (c // 2 % LANES or loops.BLOCK % (c // heads))

    def memory(self, h: int, w: int, c: int, nodes: int) -> int:
        """Bytes that stand at once besides the maps: the rooms of `loops.encode`, and rows copied for bands."""
        return 4 * self.threads * w * c * (2 * (12 * nodes + 4) + 38 + 8 * nodes)

    def block(self, block: Block, x: Tensor) -> None:
        """x: (h, w, c)"""
        attention, x = block.attention, x[None]
        mixing = self.mixing(attention, x)
        attend = loops.attend_full if attention.full else loops.attend_depth_wise
        self.run(attend, x, self.attend(attention, mixing))
        self.run(loops.feed_forward, x, self.feed_forward(block))

    def nodes(self, nodes: Nodes, x: Tensor) -> None:
        """x: (h, w, c)"""
        self.run(loops.coupling_layers, x[None], self.coupling_layers(nodes), reach=2 * len(nodes))

    def encode(self, base: Block, nodes: Nodes, shared: Tensor) -> None:
        """Shared features of two images, (2, h, w, c) -> the sums of their base and of their detail features."""
        attends = (self.attend(base.attention, self.mixing(base.attention, x[None])) for x in shared)
        weights = *attends, self.feed_forward(base), self.coupling_layers(nodes)
        self.run(loops.encode, shared, *weights, reach=2 * len(nodes))

    def reduce(self, maps: Tensor, matrix: Tensor) -> None:
        """The two maps side by side times matrix (2 c, c), in place of the first."""
        self.run(loops.reduce, maps, tuple(array(half) for half in matrix.chunk(2)))

    def run(self, loop, x: Tensor, *weights: tuple, reach: int = 1) -> list:
        return in_bands(loop, array(x), *weights, threads=self.threads, reach=reach)

    def mixing(self, attention: Attention, x: Tensor) -> Tensor:
        """What v is multiplied with."""
        if attention.full:
            layers = (full(kernel) for kernel in attention.local_qk.chunk(2))
            parts = self.run(loops.sums_full, x, (*norm(attention.norm), *layers))
        else:
            matrices = np.stack([self.factor(matrix) for matrix in attention.qk.chunk(2, dim=1)])
            kernels = np.stack([taps(kernel) for kernel in attention.local_qk.chunk(2)])
            parts = self.run(loops.sums_depth_wise, x, (*norm(attention.norm), matrices, kernels))
        blocks, squares = (torch.from_numpy(sum(part)) for part in zip(*parts, strict=True))
        return attention.mixing(torch.block_diag(*blocks), squares.flatten())

    def attend(self, attention: Attention, mixing: Tensor) -> tuple:
        if attention.full:
            return *norm(attention.norm), full(attention.mixed(mixing))
        return *norm(attention.norm), self.factor(attention.v), taps(attention.local_v), self.factor(mixing)

    def feed_forward(self, block: Block) -> tuple:
        """Of channels in groups of n, first all groups' first ones, then all second ones."""
        n = block.local_gate.shape[1]
        matrices = (np.stack([self.factor(m[:, i::n]) for i in range(n)]) for m in (block.gate, block.value))
        kernels = (block.local_gate, block.local_value)
        local = (array(k.float().unflatten(0, (-1, n)).permute(1, 2, 3, 4, 0)) for k in kernels)
        project = self.factor(block.project.unflatten(0, (-1, n)).transpose(0, 1).flatten(0, 1))
        return *norm(block.norm), *matrices, *local, project

    def coupling_layers(self, nodes: Nodes) -> tuple:
        """Of both halves of the channels; of phi, rho and eta. What mixes the channels is float32 in every form, as in
        `Node`."""
        mix = np.stack([array(half) for node in nodes for half in node.mix.chunk(2, dim=-1)])
        bias = np.stack([array(node.bias.view(2, -1)) for node in nodes])
        expands, locals_, projects = [], [], []
        for node in nodes:
            expands += (self.factor(m) for m in (node.phi_expand, *node.gain_expand.chunk(2, dim=-1)))
            locals_.append(np.stack([taps(k) for k in (node.phi_local, *node.gain_local.chunk(2))]))
            projects += (self.factor(m) for m in (node.phi_project, node.rho_project, node.eta_project))
        return mix, bias, np.stack(expands), np.stack(locals_), np.stack(projects)

    def factor(self, matrix: Tensor) -> np.ndarray:
        return factor(array(matrix.float()), self.bfloat16)


def norm(norm: Norm) -> tuple:
    return array(norm.weight), array(norm.bias), np.float32(norm.eps)


def taps(kernel: Tensor) -> np.ndarray:
    """(c, 1, 3, 3) -> (3, 3, c) float32"""
    return array(kernel.float()[:, 0].permute(1, 2, 0))


def full(kernel: Tensor) -> tuple:
    """(o, c, 3, 3) -> a full 3x3 convolution, float32 in every form: as fast as bfloat16 without half of the products
    saved, and with fewer saved bfloat16 rounds too much here (0.52 gray levels instead of 0.36 in the test)."""
    return layer(array(kernel.double()), None, 1.0, FOUR)
