"""CDDFuse for pictures of any size: exact, in strips of rows, three feature maps in memory.

The same function as `fusion/networks/cddfuse.py`, arranged for inference:

* attention over channels needs of the whole picture one c x c matrix only, so a block is two passes over strips:
  one sums the products of q and k, one computes everything else, in place;
* softmax(q k^T) and the output projection are one matrix per image; in a base block it is multiplied into the
  convolution that makes v;
* a base block's 1x1 and full 3x3 convolution, with nothing between them, are one 3x3 convolution (a third of the
  arithmetic);
* sums over the picture are float32 within a strip and float64 across: closer to the exact result than one long
  float32 sum.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference.strips import LEAST_ROWS, Window, convolve_whole, kernel, matrix, pixels, rows_of, strips

IMAGE_PLANES = 6
"""One-channel planes that exist at once: two inputs, their copies, output, skip."""


def add_product(x: Tensor, a: Tensor, b: Tensor) -> None:
    """x += a b, in place; x may be of a wider type."""
    if x.dtype == a.dtype:
        x.addmm_(a, b)
    else:
        x += a @ b


class Attention(nn.Module):
    """What `x + attention(norm(x))` needs, of one block."""

    def __init__(self, norm: nn.LayerNorm, attention: nn.Module):
        super().__init__()
        c = attention.qkv.in_features
        self.heads = attention.heads
        self.full = attention.local.groups == 1
        self.narrow = ("local_qk", "local_v") if self.full else ("qk", "v", "local_qk", "local_v")
        self.c = c
        self.norm = Norm(norm)
        if self.full:
            local, before = attention.local.weight.detach(), attention.qkv.weight.detach()
            both = torch.einsum("omyx,mi->oiyx", local.double(), before.double()).to(local.dtype)
            self.register_buffer("local_qk", kernel(both[: 2 * c]))
            self.register_buffer("local_v", kernel(both[2 * c :]))
        else:
            self.register_buffer("qk", matrix(attention.qkv.weight[: 2 * c]))
            self.register_buffer("v", matrix(attention.qkv.weight[2 * c :]))
            self.register_buffer("local_qk", kernel(attention.local.weight[: 2 * c]))
            self.register_buffer("local_v", kernel(attention.local.weight[2 * c :]))
        self.register_buffer("temperature", attention.temperature.detach().double().clone())
        self.register_buffer("project", attention.project.weight.detach().double().clone())

    def sums(self, x: Tensor, rows: int) -> Tensor:
        """First pass: x (h, w, c) -> the matrix that v is multiplied with, (c, c) float64."""
        h, w, c = x.shape
        gram, squares = x.new_zeros(c, c, dtype=torch.float64), x.new_zeros(2 * c, dtype=torch.float64)
        window = Window(rows=rows, h=h, w=w, c=c if self.full else 2 * c, like=self.local_qk)
        for a, b in strips(h, rows):
            if self.full:
                window.room(a, b).copy_(self.norm(x[a:b]))
                qk = pixels(window.convolve(self.local_qk))
            else:
                torch.mm(self.norm(pixels(x[a:b])).to(self.qk.dtype), self.qk, out=pixels(window.room(a, b)))
                qk = pixels(window.convolve(self.local_qk, groups=2 * c))
            gram += qk[:, :c].t() @ qk[:, c:]
            squares += qk.square_().sum(0, dtype=torch.promote_types(qk.dtype, torch.float32))
        return self.mixing(gram, squares)

    def mixing(self, gram: Tensor, squares: Tensor) -> Tensor:
        """gram: q^T k, (c, c), of which the heads' diagonal blocks count; squares: |q|^2 and |k|^2, (2c)."""
        c, m = self.c, self.heads
        norm_q, norm_k = squares.clamp(min=1e-24).sqrt().view(2, m, c // m)
        blocks = gram.view(m, c // m, m, c // m).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        attention = (blocks / (norm_q[:, :, None] * norm_k[:, None]) * self.temperature).softmax(dim=-1)
        return torch.einsum("mij,omi->mjo", attention, self.project.view(c, m, c // m)).reshape(c, c)


class Norm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, norm: nn.LayerNorm):
        super().__init__()
        self.eps = norm.eps
        self.register_buffer("weight", norm.weight.detach().clone())
        self.register_buffer("bias", norm.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.eps)


class Block(nn.Module):
    """A Restormer or base block, in place on x (h, w, c)."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.attention = Attention(block.norm1, block.attention)
        self.norm = Norm(block.norm2)
        forward = block.feed_forward
        self.groups = forward.local.groups
        self.narrow = ("expand", "local", "project")
        self.register_buffer("expand", matrix(forward.expand.weight))
        self.register_buffer("local", kernel(forward.local.weight))
        self.register_buffer("project", matrix(forward.project.weight))

    def forward(self, x: Tensor, rows: int) -> None:
        h, w, c = x.shape
        attention = self.attention
        mixing = attention.sums(x, rows)
        if attention.full:
            local_v = torch.einsum("viyx,vo->oiyx", attention.local_v.double(), mixing)
            local_v = kernel(local_v.to(attention.local_v.dtype))
        mixing = mixing.to(self.expand.dtype)
        before = Window(rows=rows, h=h, w=w, c=c, like=self.expand)
        inside = Window(rows=rows, h=h, w=w, c=self.expand.shape[1], like=self.expand)
        for a, b in strips(h, rows):
            # Rows of x are replaced as soon as nothing above or below needs them as they were.
            if attention.full:
                before.room(a, b).copy_(attention.norm(x[a:b]))
                v = before.convolve(local_v)
            else:
                normed = attention.norm(pixels(x[a:b])).to(attention.v.dtype)
                torch.mm(normed, attention.v, out=pixels(before.room(a, b)))
                v = before.convolve(attention.local_v, groups=c)
            lo, hi = before.given()
            if attention.full:
                x[lo:hi] += v
            else:
                add_product(pixels(x[lo:hi]), pixels(v), mixing)
            torch.mm(self.norm(pixels(x[lo:hi])).to(self.expand.dtype), self.expand, out=pixels(inside.room(lo, hi)))
            gate, value = pixels(inside.convolve(self.local, groups=self.groups)).chunk(2, dim=-1)
            lo, hi = inside.given()
            add_product(pixels(x[lo:hi]), F.gelu(gate).mul_(value), self.project)


class Node(nn.Module):
    """An affine coupling layer, as a stage."""

    def __init__(self, node: nn.Module):
        super().__init__()
        self.register_buffer("mix", matrix(node.mix.weight))
        self.register_buffer("bias", node.mix.bias.detach().clone())
        self.narrow = tuple(f"{a}_{b}" for a in ("phi", "gain") for b in ("expand", "local"))
        self.narrow += ("phi_project", "rho_project", "eta_project")
        branches = {"phi": (node.phi,), "gain": (node.rho, node.eta)}
        for name, parts in branches.items():
            self.register_buffer(f"{name}_expand", matrix(torch.cat([p.expand.weight for p in parts])))
            self.register_buffer(f"{name}_local", kernel(torch.cat([p.local.weight for p in parts])))
        self.register_buffer("phi_project", matrix(node.phi.project.weight))
        self.register_buffer("rho_project", matrix(node.rho.project.weight))
        self.register_buffer("eta_project", matrix(node.eta.project.weight))

    def start(self, rows: int, h: int, w: int, like: Tensor) -> None:
        c = len(self.mix)
        self.half = c // 2
        self.held = like.new_empty(min(rows, h) + 9, w, c)  # z1 and z2 of the rows that are not finished
        self.first = Window(rows=rows, h=h, w=w, c=c, like=self.phi_local, border="reflect")
        self.second = Window(rows=rows, h=h, w=w, c=2 * c, like=self.phi_local, border="reflect")
        self.n = 0

    def stop(self) -> None:
        del self.held, self.first, self.second

    def push(self, z: Tensor, a: int, b: int) -> tuple[Tensor, int, int]:
        """Rows [a, b) of the input -> rows [lo, hi) of the output (a view, until the next call), lo, hi."""
        held, half = self.held, self.half
        if a:
            held[:2] = held[self.n : self.n + 2]
        self.n = b - a
        torch.addmm(self.bias.to(z.dtype), pixels(z), self.mix.to(z.dtype), out=pixels(held[2 : 2 + self.n]))

        z1 = pixels(held[2 : 2 + self.n])[:, :half]
        self.expand(z1, self.phi_expand, self.first, a, b)
        t = self.first.convolve(self.phi_local, groups=2 * half).clamp_(0, 6)
        lo, hi = self.first.given()
        z2 = pixels(held[2 + lo - a : 2 + hi - a])[:, half:]
        add_product(z2, pixels(t), self.phi_project)

        self.expand(z2, self.gain_expand, self.second, lo, hi)
        rho, eta = pixels(self.second.convolve(self.gain_local, groups=4 * half).clamp_(0, 6)).chunk(2, dim=-1)
        lo, hi = self.second.given()
        done = held[2 + lo - a : 2 + hi - a]
        z1 = pixels(done)[:, :half]
        add_product(z1.mul_((rho @ self.rho_project).exp_()), eta, self.eta_project)
        return done, lo, hi

    @staticmethod
    def expand(z: Tensor, weight: Tensor, window: Window, a: int, b: int) -> None:
        room = window.room(a, b)
        torch.clamp((z.to(weight.dtype) @ weight).view(room.shape), 0, 6, out=room)


class Nodes(nn.ModuleList):
    """Coupling layers one after the other, as one stage."""

    def start(self, rows: int, h: int, w: int, like: Tensor) -> None:
        for node in self:
            node.start(rows, h, w, like)

    def stop(self) -> None:
        for node in self:
            node.stop()

    def push(self, z: Tensor, a: int, b: int) -> tuple[Tensor, int, int]:
        for node in self:
            z, a, b = node.push(z, a, b)
        return z, a, b


def through(stage: Nodes, z: Tensor, rows: int) -> Iterator[tuple[Tensor, int, int]]:
    """Send z (h, w, c) through a stage; yields (rows, lo, hi) as they come out."""
    h, w, _ = z.shape
    stage.start(rows, h, w, z)
    for a, b in strips(h, rows):
        yield stage.push(z[a:b], a, b)
    stage.stop()


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
