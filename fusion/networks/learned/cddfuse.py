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
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference import choice
from fusion.inference.cddfuse import CDDFuseStream, WhatFits
from fusion.layers import by_hand, gated_gelu, reflected
from fusion.networks.base import About, Convention, Network, count
from fusion.networks.learned.blocks import Block, ChannelAttention, GatedFeedForward, on_pixels, restormer_block
from fusion.registry import NETWORKS


class PairedFeedForward(GatedFeedForward):
    """The same with `hidden` groups of two channels (Lite-Transformer's MLP). Trained on a CPU as two depth-wise
    convolutions: in bfloat16 the gradient of PyTorch's grouped one takes more than half of the time of all this."""

    def __init__(self, *, dim: int, hidden: int):
        super().__init__(dim=dim, hidden=hidden, groups=hidden)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not by_hand(x):
            return super().forward(x)
        return self.by_depth_wise(x)

    def by_depth_wise(self, x: Tensor) -> Tensor:
        """(b, h, w, c) -> (b, h, w, c)"""
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
    about = About(
        paper="Zhao et al.: CDDFuse: Correlation-Driven Dual-Branch Feature Decomposition, CVPR",
        year=2023,
        licence="none stated",
        weights="Zhaozixiang1228/MMIF-CDDFuse: CDDFuse_IVF.pth, CDDFuse_MIF.pth",
    )
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

    def bf16_pays(self) -> bool:
        return choice.bf16_pays("cddfuse")

    def inference_form(self, dtype: torch.dtype, max_memory: int | None) -> CDDFuseStream | WhatFits:
        form = partial(CDDFuseStream, self, max_memory=max_memory)
        if dtype == torch.float32 or self.place.is_cuda or self.bf16_pays():
            return form(dtype=dtype)
        exact = form(dtype=torch.float32)
        return WhatFits(exact, form(dtype=dtype)) if max_memory else exact

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
