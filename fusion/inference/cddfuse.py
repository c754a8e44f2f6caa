"""CDDFuse for pictures of any size: exact, in bands or strips of rows, two or three feature maps in memory.

The same function as `fusion/networks/learned/cddfuse.py`; what is arranged differently is said in `cddfuse_blocks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference import bands
from fusion.inference.bands import Spare
from fusion.inference.cddfuse_blocks import Block, InStrips, Node, Nodes
from fusion.inference.readiness import ready
from fusion.inference.strips import LEAST_ROWS, Window, convolve_whole, kernel, matrix, rows_of, strips

if TYPE_CHECKING:
    from fusion.inference.cddfuse_bands import InBands

IMAGE_PLANES = 6
"""One-channel planes that exist at once: two inputs, their copies, output, skip."""


def fewer(most: int, least: int) -> list[int]:
    """Numbers to try where memory is short."""
    return list(dict.fromkeys((most, max(least, most // 4), least)))


class CDDFuseStream(nn.Module):
    """The whole network.

    network: a `fusion.networks.learned.cddfuse.CDDFuse`, whose weights are copied.
    dtype: of most weights and products; the first, the last and the cheap layers are float32, and sums over the
        picture are wider.
    storage: of the features of the whole picture. None is float32, or `dtype` where only that keeps to `max_memory`,
        and on a GPU.
    max_memory: bytes that one pair's tensors may take.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dtype: torch.dtype = torch.float32,
        storage: torch.dtype | None = None,
        max_memory: int | None = None,
    ):
        super().__init__()
        self.skip, self.max_memory, self.storage = network.skip, max_memory, storage
        encoder, decoder = network.encoder, network.decoder
        self.register_buffer("embed", kernel(encoder.embed.weight))
        self.blocks = nn.ModuleList(Block(block) for block in encoder.blocks)
        self.base, self.base_fusion = Block(encoder.base), Block(network.base_fusion)
        self.detail = Nodes(Node(node) for node in encoder.detail.nodes)
        self.detail_fusion = Nodes(Node(node) for node in network.detail_fusion.nodes)
        self.register_buffer("reduce", matrix(decoder.reduce.weight))
        self.decoder_blocks = nn.ModuleList(Block(block) for block in decoder.blocks)
        self.slope = decoder.head[1].negative_slope
        self.register_buffer("head", kernel(decoder.head[0].weight))
        self.register_buffer("last", kernel(decoder.head[2].weight))
        for module in self.modules():
            for name in module.__dict__.get("narrow", ()):
                setattr(module, name, getattr(module, name).to(dtype))
        self.dtype, self.spare = dtype, Spare()

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """ir, vis: (b, 1, h, w) in [0, 1]; returns the network's raw output, (b, 1, h, w) float32."""
        (h, w), device = ir.shape[-2:], ir.device
        way, storage = self.plan(h, w, device.type)
        with torch.inference_mode(), self.spare.room((2, h, w, self.embed.shape[0]), storage, device) as maps:
            return torch.stack([self.one(i, v, way, maps) for i, v in zip(ir, vis, strict=True)])

    def plan(self, h: int, w: int, device: str) -> tuple[InStrips | InBands, torch.dtype]:
        """How to pass over a picture and in which type to store features, within `max_memory`; ValueError where
        nothing is."""
        for way, storage in self.ways(w, device):
            least = self.memory(h, w, way, storage)
            if self.max_memory is None or least <= self.max_memory:
                return way, storage
        half = "" if self.dtype.itemsize < 4 else "; speed='bf16' needs about half"
        raise ValueError(
            f"a pair of {h}x{w} needs at least {least / 2**20:.1f} MiB, "
            f"but max_memory allows {self.max_memory / 2**20:.1f} MiB{half}"
        )

    def ways(self, w: int, device: str) -> Iterator[tuple[InStrips | InBands, torch.dtype]]:
        """The faster and more exact ones first."""
        storages = [self.storage or torch.float32]
        if self.storage is None and self.dtype.itemsize < 4:
            # A GPU is bound by what it moves: half as much there.
            storages = [torch.float32, self.dtype] if device == "cpu" else [self.dtype]
        in_bands = self.in_bands(device)
        for storage in storages:
            fit = [way for way in in_bands if storage == torch.float32 or way.bfloat16]
            if fit and ready(self.kind(fit[0], storage), partial(self.rehearse, fit[0], storage)):
                yield from ((way, storage) for way in fit)
            size = max(self.dtype.itemsize, storage.itemsize)
            yield from ((InStrips(rows, size), storage) for rows in fewer(rows_of(w, device), LEAST_ROWS))

    def kind(self, way: InBands, storage: torch.dtype) -> tuple:
        """Of loops, by the types of their arguments."""
        return "cddfuse", way.bfloat16, storage, self.base.attention.full

    def rehearse(self, way: InBands, storage: torch.dtype) -> None:
        """All loops, on a small picture."""
        with torch.inference_mode():
            maps = torch.zeros(2, 16, 16, self.embed.shape[0], dtype=storage)
            self.one(*torch.zeros(2, 1, 16, 16), way, maps)

    def in_bands(self, device: str) -> list[InBands]:
        """Where there are compiled loops for this network."""
        c, heads = self.embed.shape[0], self.base.attention.heads
        if device != "cpu" or not bands.available():
            return []
        from fusion.inference.cddfuse_bands import InBands
        from fusion.inference.loops.compiler import BFLOAT16

        threads, bfloat16 = torch.get_num_threads(), self.dtype == torch.bfloat16 and BFLOAT16
        return [InBands(n, bfloat16) for n in fewer(threads, 1)] if InBands.can(c, heads) else []

    def memory(self, h: int, w: int, way: InStrips | InBands, storage: torch.dtype = torch.float32) -> int:
        """Bytes of tensors that one pair of h x w needs."""
        c = self.embed.shape[0]
        rooms = way.memory(h, w, c, len(self.detail))
        return h * w * (way.MAPS * c * storage.itemsize + 4 * IMAGE_PLANES) + rooms

    def one(self, ir: Tensor, vis: Tensor, way: InStrips | InBands, maps: Tensor) -> Tensor:
        """(1, h, w) each -> (1, h, w). maps: room for two maps of features, (2, h, w, c)."""
        for image, features in zip((vis, ir), maps, strict=True):
            self.share(image, features, way)
        way.encode(self.base, self.detail, maps)
        base, detail = maps
        way.block(self.base_fusion, base)
        way.nodes(self.detail_fusion, detail)
        way.reduce(maps, self.reduce)
        for block in self.decoder_blocks:
            way.block(block, base)
        image = self.image(base)
        skip = {"vis": vis, "sum": vis + ir, "none": None}[self.skip]
        return torch.sigmoid(image if skip is None else image + skip)

    def share(self, image: Tensor, x: Tensor, way: InStrips | InBands) -> None:
        """(1, h, w) -> shared features x (h, w, c)."""
        h, w, _ = x.shape
        for a, b in strips(h, rows_of(w, image.device.type)):
            x[a:b] = convolve_whole(image[None], self.embed, a, b)[0].permute(1, 2, 0)
        for block in self.blocks:
            way.block(block, x)

    def image(self, x: Tensor) -> Tensor:
        """The decoder's head: (h, w, c) -> (1, h, w) float32."""
        h, w, _ = x.shape
        rows = rows_of(w, x.device.type)
        image = torch.empty(1, h, w, device=x.device)
        x = x[None].permute(0, 3, 1, 2)
        window = Window(rows=rows, h=h, w=w, c=len(self.head), like=x)
        for a, b in strips(h, rows):
            middle = convolve_whole(x, self.head.to(x.dtype), a, b).permute(0, 2, 3, 1)[0]
            window.room(a, b).copy_(F.leaky_relu(middle, self.slope))
            y = window.convolve(self.last.to(x.dtype))
            lo, hi = window.given()
            image[0, lo:hi] = y[..., 0]
        return image


class WhatFits(nn.Module):
    """exact, or what stores features in half of the memory, where only that keeps to `max_memory`."""

    def __init__(self, exact: CDDFuseStream, narrow: CDDFuseStream):
        super().__init__()
        self.exact, self.narrow = exact, narrow

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        try:
            self.exact.plan(*ir.shape[-2:], ir.device.type)
        except ValueError:
            return self.narrow(ir, vis)
        return self.exact(ir, vis)
