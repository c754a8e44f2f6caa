"""ReCoNet: a tiny recurrent network that corrects its own fused picture three times.

Huang, Liu, Fan, Liu, Zhong, Luo, "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022. Same function as the authors' released program ("v0", which is the paper's), to float32 rounding;
the fusion only, without registration.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.registry import NETWORKS


class Attention(nn.Module):
    """Where an image matters, (b, 1, h, w) in (0, 1), by it and by what is fused so far."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, image: Tensor, fused: Tensor) -> Tensor:
        return self.conv(torch.cat((torch.maximum(image, fused), (image + fused) / 2), dim=1)).sigmoid()


def layer(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


@NETWORKS.register("reconet")
class ReCoNet(Network):
    """The fusion network, of one size (7,527 parameters).

    loops: how often the picture is corrected, with the same weights; published: 3.
    """

    convention = Convention(stretch=True)
    about = About(
        paper="Huang et al.: ReCoNet: Recurrent Correction Network for ... Multi-modality Image Fusion, ECCV",
        year=2022,
        licence="MIT",
        weights="dlut-dimt/ReCoNet: archive/params.pth",
    )

    def __init__(self, *, loops: int = 3):
        super().__init__()
        if loops < 1:
            raise ValueError(f"loops must be at least 1, got {loops}")
        self.loops = loops
        self.attend_ir, self.attend_vis = Attention(), Attention()
        self.dilated = nn.ModuleList(layer(3, 64, dilation) for dilation in (1, 2, 3))
        self.fuse = layer(3 * 64, 1)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        fused = torch.maximum(ir, vis)
        for _ in range(self.loops):
            x = torch.cat((ir * self.attend_ir(ir, fused), fused, vis * self.attend_vis(vis, fused)), dim=1)
            fused = self.fuse(torch.cat([dilated(x).relu() for dilated in self.dilated], dim=1)).tanh()
        return fused

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "att_a_conv.weight" not in checkpoint:
            raise ValueError("expected ReCoNet's keys, as att_a_conv.weight")
        return renamed(checkpoint, AUTHORS_KEYS)


AUTHORS_KEYS = [
    (r"^att_a_conv", "attend_ir.conv"),
    (r"^att_b_conv", "attend_vis.conv"),
    (r"^dil_conv_([123])", lambda match: f"dilated.{int(match[1]) - 1}"),
    (r"^fus_conv", "fuse"),
]
