"""ReFusion and TDFusion: one network of Restormer blocks with an attention across both images in the middle.

Bai et al., "ReFusion: Learning Image Fusion from Reconstruction with Learnable Loss via Meta-Learning", IJCV 2024, and
"Task-driven Image Fusion with Learnable Fusion Loss" (TDFusion), CVPR 2025, which trains the same network otherwise.
Same function as the authors' released programs, to float32 rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.networks.learned.blocks import Block, on_pixels, restormer_block
from fusion.registry import NETWORKS

HEADS = 8


def attend(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Attention over channels: softmax(cos(q, k) * temperature) v; (b, h, w, c) each and back."""
    height = q.shape[1]
    q, k, v = (rearrange(t, "b h w (m i) -> b m i (h w)", m=HEADS) for t in (q, k, v))
    attention = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * temperature).softmax(dim=-1)
    return rearrange(attention @ v, "b m i (h w) -> b h w (m i)", h=height)


class Spread(nn.Module):
    """1x1 convolution, then depth-wise 3x3."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.expand = nn.Linear(inputs, outputs, bias=False)
        self.local = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, h, w, inputs) -> (b, h, w, outputs)"""
        return on_pixels(self.local, self.expand(x))


class Side(nn.Module):
    """One image's weights in the middle."""

    def __init__(self, *, dim: int):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.qkv = Spread(dim, 3 * dim)
        self.attended = nn.Linear(dim, dim, bias=False)
        self.value = Spread(dim, 4 * dim)
        self.project = nn.Linear(4 * dim, 2 * dim, bias=False)


class CrossFusion(nn.Module):
    """Each image is attended with the other's queries; then a feed-forward gated by both."""

    def __init__(self, *, dim: int):
        super().__init__()
        self.infrared, self.visible = Side(dim=dim), Side(dim=dim)
        self.gates = Spread(2 * dim, 8 * dim)

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """(b, h, w, dim) each -> (b, h, w, 2 dim)"""
        sides = self.infrared, self.visible
        (q_ir, k_ir, v_ir), (q_vis, k_vis, v_vis) = (
            side.qkv(x).chunk(3, dim=-1) for side, x in zip(sides, (ir, vis), strict=True)
        )
        ir = ir + self.infrared.attended(attend(q_vis, k_ir, v_ir, self.infrared.temperature))
        vis = vis + self.visible.attended(attend(q_ir, k_vis, v_vis, self.visible.temperature))
        both = torch.cat((ir, vis), dim=-1)
        gates = self.gates(both).chunk(2, dim=-1)
        for side, x, gate in zip(sides, (ir, vis), gates, strict=True):
            both = both + side.project(F.gelu(gate) * side.value(x))
        return both


class Encoder(nn.Module):
    def __init__(self, *, dim: int):
        super().__init__()
        self.embed = nn.Conv2d(1, dim, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(restormer_block(dim, HEADS) for _ in range(2)))

    def forward(self, image: Tensor) -> Tensor:
        """(b, 1, h, w) -> (b, h, w, dim)"""
        return self.blocks(self.embed(image).permute(0, 2, 3, 1).contiguous())


@NETWORKS.register("refusion")
class ReFusion(Network):
    """The whole network, of one size (59,856 parameters). Of a medical pair the anatomical image is `vis`."""

    convention = Convention(stretch=True, stretch_picture=True)
    about = About(
        paper="Bai et al.: ReFusion: Learning Image Fusion from Reconstruction with Learnable Loss, IJCV",
        year=2024,
        licence="none stated",
        weights="HaowenBai/ReFusion: models/ReFusion_IVIF.pth, ReFusion_MIF.pth; HaowenBai/TDFusion: models",
    )
    blocks = (Block, CrossFusion)

    def __init__(self):
        super().__init__()
        dim = 16
        self.infrared, self.visible = Encoder(dim=dim), Encoder(dim=dim)
        self.cross = CrossFusion(dim=dim)
        self.decoder = nn.Sequential(*(restormer_block(2 * dim, HEADS) for _ in range(2)))
        self.head = nn.Sequential(
            nn.Conv2d(2 * dim, dim, 3, padding=1, bias=False),
            nn.LeakyReLU(0.01),
            nn.Conv2d(dim, 1, 3, padding=1, bias=False),
        )

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        features = self.decoder(self.cross(self.infrared(ir), self.visible(vis)))
        return self.head(features.permute(0, 3, 1, 2)).sigmoid()

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "FM.temperature1" not in checkpoint:
            raise ValueError("expected ReFusion's keys, as FM.temperature1")
        # Their files hold every convolution under two names.
        single = {key: value for key, value in checkpoint.items() if not key.endswith(".conv.weight")}
        return {key: _our_shape(value) for key, value in renamed(single, AUTHORS_KEYS).items()}


def _our_shape(tensor: Tensor) -> Tensor:
    """Their 1x1 convolutions are our linear layers."""
    return tensor.flatten(1) if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor


AUTHORS_KEYS = [
    (r"^project_in_1\.", "infrared.embed."),
    (r"^project_in_2\.", "visible.embed."),
    (r"^encoder1\.", "infrared.blocks."),
    (r"^encoder2\.", "visible.blocks."),
    (r"(norm[12])\.body", r"\1"),
    (r"attn\.qkv_dwconv", "attention.local"),
    (r"attn\.project_out", "attention.project"),
    (r"attn\.", "attention."),
    (r"ffn\.project_in", "feed_forward.expand"),
    (r"ffn\.dwconv", "feed_forward.local"),
    (r"ffn\.project_out", "feed_forward.project"),
    (r"^FM\.project_E\.", "cross.gates.expand."),
    (r"^FM\.project_E_d\.", "cross.gates.local."),
    (r"^FM\.(temperature|qkv|project_mid|project_E|project_out)1", r"cross.infrared.\1"),
    (r"^FM\.(temperature|qkv|project_mid|project_E|project_out)2", r"cross.visible.\1"),
    (r"\.qkv\.weight", ".qkv.expand.weight"),
    (r"(attention\.qkv)\.expand", r"\1"),
    (r"\.qkv_dwconv", ".qkv.local"),
    (r"project_mid", "attended"),
    (r"project_E\.", "value.expand."),
    (r"project_E_d", "value.local"),
    (r"(cross\.\w+)\.project_out", r"\1.project"),
    (r"^project_out_0", "head.0"),
    (r"^project_out_1", "head.2"),
]
