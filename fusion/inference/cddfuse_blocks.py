"""The parts of CDDFuse in strips of rows: blocks in place, coupling layers as stages.

* attention over channels needs of the whole picture one c x c matrix only, so a block is two passes over strips:
  one sums the products of q and k, one computes everything else, in place;
* softmax(q k^T) and the output projection are one matrix per image; in a base block it is multiplied into the
  convolution that makes v;
* a base block's 1x1 and full 3x3 convolution, with nothing between them, are one 3x3 convolution (a third of the
  arithmetic);
* the feed-forward's gate and value are computed apart: each fits the cache better, and gelu runs in place on
  contiguous memory (that part takes 0.6 times as long);
* sums over the picture are float32 within a strip and float64 across: closer to the exact result than one long
  float32 sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference.strips import Window, kernel, matrix, pixels, strips


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

    def mixed(self, mixing: Tensor) -> Tensor:
        """A base block's v and what it is multiplied with, as one convolution."""
        return kernel(torch.einsum("viyx,vo->oiyx", self.local_v.double(), mixing).to(self.local_v.dtype))


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
        self.groups = forward.local.groups // 2
        self.narrow = ("gate", "value", "local_gate", "local_value", "project")
        (gate, value), (local_gate, local_value) = forward.expand.weight.chunk(2), forward.local.weight.chunk(2)
        self.register_buffer("gate", matrix(gate))
        self.register_buffer("value", matrix(value))
        self.register_buffer("local_gate", kernel(local_gate))
        self.register_buffer("local_value", kernel(local_value))
        self.register_buffer("project", matrix(forward.project.weight))

    def forward(self, x: Tensor, rows: int) -> None:
        h, w, c = x.shape
        attention = self.attention
        mixing = attention.sums(x, rows)
        if attention.full:
            local_v = attention.mixed(mixing)
        mixing = mixing.to(self.gate.dtype)
        before = Window(rows=rows, h=h, w=w, c=c, like=self.gate)
        gates, values = (Window(rows=rows, h=h, w=w, c=self.gate.shape[1], like=self.gate) for _ in range(2))
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
            normed = self.norm(pixels(x[lo:hi])).to(self.gate.dtype)
            torch.mm(normed, self.gate, out=pixels(gates.room(lo, hi)))
            torch.mm(normed, self.value, out=pixels(values.room(lo, hi)))
            gated = torch.ops.aten.gelu_(pixels(gates.convolve(self.local_gate, groups=self.groups)))
            gated.mul_(pixels(values.convolve(self.local_value, groups=self.groups)))
            lo, hi = gates.given()
            add_product(pixels(x[lo:hi]), gated, self.project)


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


class InStrips(NamedTuple):
    """Blocks and coupling layers of features of any type on any device; size: bytes of a number."""

    rows: int
    size: int = 4

    MAPS = 3
    """Of features that stand at once."""

    def memory(self, h: int, w: int, c: int, nodes: int) -> int:
        """Bytes that stand at once besides the maps: nodes' windows and held rows, or a block's windows and
        temporaries."""
        return self.size * (min(self.rows, h) + 9) * w * max(nodes * 5 * c + 6 * c, 16 * c)

    def block(self, block: Block, x: Tensor) -> None:
        """In place on x (h, w, c)."""
        block(x, self.rows)

    def nodes(self, nodes: Nodes, x: Tensor) -> None:
        """In place on x (h, w, c)."""
        for part, lo, hi in self.through(nodes, x):
            x[lo:hi] = part

    def encode(self, base: Block, nodes: Nodes, shared: Tensor) -> None:
        """Shared features of two images, (2, h, w, c) -> the sums of their base and of their detail features."""
        vis, ir = shared
        detail = torch.empty_like(vis)
        for part, lo, hi in self.through(nodes, vis):
            detail[lo:hi] = part
        for part, lo, hi in self.through(nodes, ir):
            detail[lo:hi] += part
        for x in shared:
            base(x, self.rows)
        vis += ir
        ir.copy_(detail)

    def reduce(self, maps: Tensor, matrix: Tensor) -> None:
        """The two maps side by side times matrix (2 c, c), in place of the first."""
        c, matrix = len(matrix) // 2, matrix.to(maps.dtype)
        for a, b in strips(maps.shape[1], self.rows):
            base, detail = (pixels(x[a:b]) for x in maps)
            torch.addmm(base @ matrix[:c], detail, matrix[c:], out=base)

    def through(self, nodes: Nodes, x: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """(rows, lo, hi) as they come out."""
        h, w, _ = x.shape
        nodes.start(self.rows, h, w, x)
        for a, b in strips(h, self.rows):
            yield nodes.push(x[a:b], a, b)
        nodes.stop()
