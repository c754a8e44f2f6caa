"""CDDFuse for pictures of any size: exact, in strips of rows, three feature maps in memory.

The same function as `fusion/networks/cddfuse.py`; what is arranged differently is said in `cddfuse_blocks.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference.cddfuse_blocks import Block, Node, Nodes, through
from fusion.inference.strips import LEAST_ROWS, Window, convolve_whole, kernel, matrix, pixels, rows_of, strips

IMAGE_PLANES = 6
"""One-channel planes that exist at once: two inputs, their copies, output, skip."""


class CDDFuseStream(nn.Module):
    """The whole network.

    network: a `fusion.networks.cddfuse.CDDFuse`, whose weights are copied.
    dtype: of most weights and products; the first, the last and the cheap layers are float32, and sums over the
        picture are wider.
    storage: of the features of the whole picture. None is float32, or `dtype` where only that keeps to `max_memory`.
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
        self.dtype = dtype

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """ir, vis: (b, 1, h, w) in [0, 1]; returns the network's raw output, (b, 1, h, w) float32."""
        rows, storage = self.plan(*ir.shape[-2:], ir.device.type)
        with torch.inference_mode():
            return torch.stack([self.one(i, v, rows, storage) for i, v in zip(ir, vis, strict=True)])

    def memory(self, h: int, w: int, rows: int, storage: torch.dtype = torch.float32) -> int:
        """Bytes of tensors that one pair of h x w needs, in strips of `rows` rows."""
        c, size = self.embed.shape[0], self.dtype.itemsize
        strip = (min(rows, h) + 9) * w
        # The most that stands at once: three nodes' windows and held rows, or a block's windows and temporaries.
        stages = max(len(self.detail) * 5 * c + 6 * c, 16 * c)
        return h * w * (3 * c * storage.itemsize + 4 * IMAGE_PLANES) + strip * stages * max(size, storage.itemsize)

    def plan(self, h: int, w: int, device: str) -> tuple[int, torch.dtype]:
        """Rows of a strip and type of the stored features, within `max_memory`; ValueError where nothing is."""
        rows = rows_of(w, device)
        storages = [self.storage or torch.float32]
        if self.storage is None and self.dtype.itemsize < 4:
            storages.append(self.dtype)
        for storage in storages:
            for n in dict.fromkeys((rows, max(LEAST_ROWS, rows // 4), LEAST_ROWS)):
                least = self.memory(h, w, n, storage)
                if self.max_memory is None or least <= self.max_memory:
                    return n, storage
        half = "" if len(storages) == 2 else "; speed='bf16' needs about half"
        raise ValueError(
            f"a pair of {h}x{w} needs at least {least / 2**20:.1f} MiB, "
            f"but max_memory allows {self.max_memory / 2**20:.1f} MiB{half}"
        )

    def one(self, ir: Tensor, vis: Tensor, rows: int, storage: torch.dtype) -> Tensor:
        """(1, h, w) each -> (1, h, w)."""
        base = self.shared(vis, rows, storage)
        detail = torch.empty_like(base)
        for part, lo, hi in through(self.detail, base, rows):
            detail[lo:hi] = part
        self.base(base, rows)

        other = self.shared(ir, rows, storage)
        for part, lo, hi in through(self.detail, other, rows):
            detail[lo:hi] += part
        self.base(other, rows)
        base += other
        del other

        self.base_fusion(base, rows)
        features, c, reduce = base, base.shape[-1], self.reduce.to(storage)
        for part, lo, hi in through(self.detail_fusion, detail, rows):
            reduced = pixels(base[lo:hi]) @ reduce[:c]
            torch.addmm(reduced, pixels(part), reduce[c:], out=pixels(features[lo:hi]))
        del detail
        for block in self.decoder_blocks:
            block(features, rows)
        image = self.image(features, rows)
        skip = {"vis": vis, "sum": vis + ir, "none": None}[self.skip]
        return torch.sigmoid(image if skip is None else image + skip)

    def shared(self, image: Tensor, rows: int, storage: torch.dtype) -> Tensor:
        """(1, h, w) -> shared features (h, w, c)."""
        _, h, w = image.shape
        x = image.new_empty(h, w, self.embed.shape[0], dtype=storage)
        for a, b in strips(h, rows):
            x[a:b] = convolve_whole(image[None], self.embed, a, b)[0].permute(1, 2, 0)
        for block in self.blocks:
            block(x, rows)
        return x

    def image(self, x: Tensor, rows: int) -> Tensor:
        """The decoder's head: (h, w, c) -> (1, h, w) float32."""
        h, w, _ = x.shape
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
