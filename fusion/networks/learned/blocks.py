"""Parts that several published networks share. (b, c, h, w) in and out, but for Restormer's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from fusion.layers import attend_channels, by_hand, gated_gelu


class LearnedSobel(nn.Module):
    """|x * kx| + |x * ky| per channel, on a border of zeros; the kernels start as Sobel's and are trained."""

    def __init__(self, *, channels: int):
        super().__init__()
        sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.kx, self.ky = (nn.Parameter(kernel.repeat(channels, 1, 1, 1)) for kernel in (sobel, sobel.T))

    def forward(self, x: Tensor) -> Tensor:
        return sum(F.conv2d(x, kernel, padding=1, groups=len(kernel)).abs() for kernel in (self.kx, self.ky))


def gray(picture: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) -> (b, 1, h, w): BT.601's luminance of RGB."""
    if picture.shape[1] == 1:
        return picture
    red, green, blue = picture.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


# --- Restormer (Zamir et al., CVPR 2022): features are (b, h, w, c) --------------------------------------------------


def on_pixels(convolution: nn.Module, x: Tensor) -> Tensor:
    """Apply a 2-D convolution to x (b, h, w, c); the permuted view is what PyTorch calls channels_last."""
    return convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ChannelAttention(nn.Module):
    """Attention over channels (Restormer's MDTA): each head's c/heads x c/heads map is shared by all pixels.

    groups: of the 3x3 convolution that gives q, k and v their neighbourhood: 3 * dim in a Restormer block, 1 in the
    base (Lite-Transformer) block.
    """

    def __init__(self, *, dim: int, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.local = nn.Conv2d(3 * dim, 3 * dim, 3, padding=1, groups=groups, bias=False)
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """x, residual: (b, h, w, c); returns residual + attention(x)."""
        b, h, w, c = x.shape
        qkv, residual = on_pixels(self.local, self.qkv(x)).reshape(b, h * w, 3 * c), residual.reshape(b, h * w, c)
        if qkv.dtype == torch.bfloat16 and by_hand(qkv):
            return attend_channels(qkv, self.temperature, self.project.weight, residual).view(b, h, w, c)
        q, k, v = qkv.chunk(3, dim=-1)
        # Channels first and normalised before the product, as published: over a picture whose background is constant
        # the float32 rounding of these long sums shows in the result (3e-5 on a scan), and this order repeats theirs.
        q, k = (F.normalize(rearrange(t, "b n (m i) -> b m i n", m=self.heads).contiguous(), dim=-1) for t in (q, k))
        attention = (q @ k.transpose(-1, -2) * self.temperature).softmax(dim=-1)
        weight = rearrange(self.project.weight, "o (m i) -> o m i", m=self.heads)
        matrix = rearrange(einsum(attention, weight, "b m i j, o m i -> b m j o"), "b m j o -> b (m j) o")
        return torch.baddbmm(residual, v, matrix).view(b, h, w, c)


class GatedFeedForward(nn.Module):
    """1x1 up, 3x3 grouped, gelu(one half) * other half, 1x1 down (Restormer's GDFN)."""

    def __init__(self, *, dim: int, hidden: int, groups: int):
        super().__init__()
        self.expand = nn.Linear(dim, 2 * hidden, bias=False)
        self.local = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=groups, bias=False)
        self.project = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, h, w, c) -> (b, h, w, c)"""
        return self.project(gated_gelu(on_pixels(self.local, self.expand(x))))


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); (b, h, w, c) in and out."""

    def __init__(self, *, attention: ChannelAttention, feed_forward: GatedFeedForward, dim: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = attention
        self.norm2 = nn.LayerNorm(dim)
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.norm1(x), residual=x)
        return x + self.feed_forward(self.norm2(x))


def restormer_block(dim: int, heads: int) -> Block:
    """Depth-wise 3x3 convolutions, feed-forward expansion 2."""
    return Block(
        attention=ChannelAttention(dim=dim, heads=heads, groups=3 * dim),
        feed_forward=GatedFeedForward(dim=dim, hidden=2 * dim, groups=4 * dim),
        dim=dim,
    )
