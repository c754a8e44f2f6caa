"""CDDFuse: a dual-branch Transformer-CNN that splits each image into base and detail features and fuses them apart.

Zhao et al., "CDDFuse: Correlation-Driven Dual-Branch Feature Decomposition for Multi-Modality Image Fusion",
CVPR 2023. Same function as the authors' released program, to float32 rounding. What differs is the arrangement:

* pixels are rows: features are (b, h, w, c), so layer norm and 1x1 convolutions act on the last axis without copies;
* channel attention is linear in v, so softmax(q k^T) and the output projection are multiplied into one c x c matrix
  per image before any pixel is touched;
* both images pass the shared encoder as one batch.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from fusion.inference.cddfuse import CDDFuseStream
from fusion.layers import attend_channels, by_hand, gated_gelu, reflected
from fusion.networks.base import Convention, Network, count
from fusion.registry import NETWORKS


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


class PairedFeedForward(GatedFeedForward):
    """The same with `hidden` groups of two channels (Lite-Transformer's MLP). Trained on a CPU as two depth-wise
    convolutions: in bfloat16 the gradient of PyTorch's grouped one takes more than half of the time of all this."""

    def __init__(self, *, dim: int, hidden: int):
        super().__init__(dim=dim, hidden=hidden, groups=hidden)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not by_hand(x):
            return super().forward(x)
        # Within each half of the channels first all pairs' first, then all pairs' second: to swap is to copy blocks.
        channels = torch.arange(self.local.out_channels)
        order = channels.view(2, -1, 2).mT.flatten()
        kernels = self.local.weight[order]
        own, other = kernels[channels, order % 2], kernels[channels, 1 - order % 2]

        def depth_wise(t: Tensor, kernel: Tensor) -> Tensor:
            t = F.conv2d(t.permute(0, 3, 1, 2), kernel[:, None], padding=1, groups=len(kernel))
            return t.permute(0, 2, 3, 1)

        x = F.linear(x, self.expand.weight[order])
        swapped = x.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)
        x = gated_gelu(depth_wise(x, own) + depth_wise(swapped, other))
        return F.linear(x, self.project.weight[:, order[: x.shape[-1]]])


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


def base_block(dim: int, heads: int) -> Block:
    """Lite-Transformer block of the base branch: full 3x3 convolution for q, k, v; feed-forward expansion 1 whose
    3x3 convolution has `dim` groups of two channels."""
    return Block(
        attention=ChannelAttention(dim=dim, heads=heads, groups=1),
        feed_forward=PairedFeedForward(dim=dim, hidden=dim),
        dim=dim,
    )


class InvertedResidual(nn.Module):
    """1x1 up, ReLU6, 3x3 depth-wise on a reflected border, ReLU6, 1x1 down; no outer skip."""

    def __init__(self, *, dim: int):
        super().__init__()
        self.expand = nn.Linear(dim, 2 * dim, bias=False)
        self.local = nn.Conv2d(2 * dim, 2 * dim, 3, padding=1, padding_mode="reflect", groups=2 * dim, bias=False)
        self.project = nn.Linear(2 * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.expand(x))
        if x.device.type == "cpu" or torch.compiler.is_compiling():
            x = on_pixels(self.local, x)
        else:  # the border's own kernel would leave channels_last, and has no deterministic gradient
            x = F.conv2d(reflected(x).permute(0, 3, 1, 2), self.local.weight, groups=self.local.groups)
            x = x.permute(0, 2, 3, 1)
        return self.project(F.relu6(x))


class DetailNode(nn.Module):
    """An affine coupling layer: invertible, so the detail branch loses nothing. (b, h, w, c) in and out."""

    def __init__(self, *, dim: int):
        super().__init__()
        self.mix = nn.Linear(dim, dim)
        self.phi, self.rho, self.eta = (InvertedResidual(dim=dim // 2) for _ in range(3))

    def forward(self, z: Tensor) -> Tensor:
        z1, z2 = self.mix(z).chunk(2, dim=-1)
        z2 = z2 + self.phi(z1)
        z1 = z1 * self.rho(z2).exp() + self.eta(z2)
        return torch.cat((z1, z2), dim=-1)


class DetailBranch(nn.Module):
    """Detail nodes in a row; (b, h, w, c) in and out."""

    def __init__(self, *, dim: int, nodes: int):
        super().__init__()
        self.nodes = nn.Sequential(*(DetailNode(dim=dim) for _ in range(nodes)))

    def forward(self, z: Tensor) -> Tensor:
        return self.nodes(z)


class Encoder(nn.Module):
    """Image (b, 1, h, w) -> base, detail, shared features, each (b, h, w, c)."""

    def __init__(self, *, dim: int, heads: int, blocks: int):
        super().__init__()
        self.embed = nn.Conv2d(1, dim, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(restormer_block(dim, heads) for _ in range(blocks)))
        self.base = base_block(dim, heads)
        self.detail = DetailBranch(dim=dim, nodes=3)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shared = self.blocks(self.embed(image).permute(0, 2, 3, 1).contiguous())
        return self.base(shared), self.detail(shared), shared


class Decoder(nn.Module):
    """Base and detail features -> image; the skip image, where there is one, is added before the sigmoid."""

    def __init__(self, *, dim: int, heads: int, blocks: int):
        super().__init__()
        self.reduce = nn.Linear(2 * dim, dim, bias=False)
        self.blocks = nn.Sequential(*(restormer_block(dim, heads) for _ in range(blocks)))
        self.head = nn.Sequential(
            nn.Conv2d(dim, dim // 2, 3, padding=1, bias=False),
            nn.LeakyReLU(0.01),
            nn.Conv2d(dim // 2, 1, 3, padding=1, bias=False),
        )

    def forward(self, skip: Tensor | None, base: Tensor, detail: Tensor) -> Tensor:
        """skip: (b, 1, h, w) in [0, 1] or None; base, detail: (b, h, w, c). Returns (b, 1, h, w) in (0, 1)."""
        features = self.blocks(self.reduce(torch.cat((base, detail), dim=-1)))
        image = self.head(features.permute(0, 3, 1, 2))
        return torch.sigmoid(image if skip is None else image + skip)


@NETWORKS.register("cddfuse")
class CDDFuse(Network):
    """The whole network.

    dim, heads, blocks: channels, attention heads and Restormer blocks of encoder and decoder; the published network
        is 64, 8, 4 (1,188,272 parameters).
    skip: the image added before the last sigmoid: `vis` (the published infrared-visible weights), `sum` = ir + vis
        (the same weights on medical pairs), `none` (the published medical weights).
    """

    convention = Convention(rounded_input=True, stretch=True)
    task_options: ClassVar = {"medical": {"skip": "sum"}}
    blocks = (Block, DetailNode)
    bounded = True

    def __init__(self, *, dim: int = 64, heads: int = 8, blocks: int = 4, skip: Literal["vis", "sum", "none"] = "vis"):
        super().__init__()
        if dim % heads or dim % 2:
            raise ValueError(f"dim must be even and a multiple of heads, got dim={dim}, heads={heads}")
        if skip not in ("vis", "sum", "none"):
            raise ValueError(f"skip must be one of vis, sum, none; got '{skip}'")
        self.skip = skip
        self.encoder = Encoder(dim=dim, heads=heads, blocks=blocks)
        self.decoder = Decoder(dim=dim, heads=heads, blocks=blocks)
        self.base_fusion = base_block(dim, heads)
        self.detail_fusion = DetailBranch(dim=dim, nodes=1)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        base, detail, _ = self.encoder(torch.cat((vis, ir)))
        (base_vis, base_ir), (detail_vis, detail_ir) = base.chunk(2), detail.chunk(2)
        skip = {"vis": vis, "sum": vis + ir, "none": None}[self.skip]
        return self.decoder(skip, self.base_fusion(base_vis + base_ir), self.detail_fusion(detail_vis + detail_ir))

    def inference_form(self, dtype: torch.dtype, max_memory: int | None) -> CDDFuseStream:
        return CDDFuseStream(self, dtype=dtype, max_memory=max_memory)

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if missing := AUTHORS_PARTS.keys() - checkpoint.keys():
            raise ValueError(
                f"expected CDDFuse's keys {', '.join(AUTHORS_PARTS)}; {', '.join(sorted(missing))} missing"
            )
        return {
            f"{part}.{_our_key(key)}": _our_shape(tensor)
            for theirs, part in AUTHORS_PARTS.items()
            for key, tensor in checkpoint[theirs].items()
        }

    @classmethod
    def sizes(cls, state: dict[str, Tensor]) -> dict[str, int]:
        dim, heads = state["encoder.embed.weight"].shape[0], state["encoder.base.attention.temperature"].shape[0]
        return {"dim": dim, "heads": heads, "blocks": count(state, r"encoder\.blocks\.(\d+)\.")}


AUTHORS_PARTS = {
    "DIDF_Encoder": "encoder",
    "DIDF_Decoder": "decoder",
    "BaseFuseLayer": "base_fusion",
    "DetailFuseLayer": "detail_fusion",
}

AUTHORS_KEYS = [
    (r"^module\.", ""),
    (r"patch_embed\.proj", "embed"),
    (r"encoder_level[12]", "blocks"),
    (r"(norm[12])\.body", r"\1"),
    (r"attn\.(temperature|scale)", "attention.temperature"),
    (r"attn\.(qkv_dwconv|qkv2)", "attention.local"),
    (r"attn\.(qkv|qkv1)\b", "attention.qkv"),
    (r"attn\.(project_out|proj)", "attention.project"),
    (r"(ffn|mlp)\.project_in", "feed_forward.expand"),
    (r"(ffn|mlp)\.dwconv", "feed_forward.local"),
    (r"(ffn|mlp)\.project_out", "feed_forward.project"),
    (r"baseFeature", "base"),
    (r"detailFeature", "detail"),
    (r"\bnet\.", "nodes."),
    (r"theta_(phi|rho|eta)\.bottleneckBlock", r"\1"),
    (r"(phi|rho|eta)\.0", r"\1.expand"),
    (r"(phi|rho|eta)\.3", r"\1.local"),
    (r"(phi|rho|eta)\.5", r"\1.project"),
    (r"shffleconv", "mix"),
    (r"reduce_channel", "reduce"),
    (r"^output\.", "head."),
]


def _our_key(key: str) -> str:
    for theirs, ours in AUTHORS_KEYS:
        key = re.sub(theirs, ours, key)
    return key


def _our_shape(tensor: Tensor) -> Tensor:
    """Their 1x1 convolutions are our linear layers."""
    return tensor.flatten(1) if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor
