"""SAGE (student): a three-level U of convolutions, distilled from a network that is led by SAM's masks.

Wu et al., "Every SAM Drop Counts: Embracing Semantic Priors for Multi-Modality Image Fusion and Beyond", CVPR 2025.
Same function as the authors' released program, to float32 rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.registry import NETWORKS

WIDTH = 32


def unit(inputs: int, kernel: int = 3) -> list[nn.Module]:
    return [nn.Conv2d(inputs, WIDTH, kernel, padding=kernel // 2), nn.BatchNorm2d(WIDTH), nn.LeakyReLU(0.01)]


def units(inputs: int) -> nn.Sequential:
    return nn.Sequential(*unit(inputs), *unit(WIDTH), *unit(WIDTH))


class Rise(nn.Module):
    """The coarser features enlarged to the size of the finer ones and mixed with them."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Sequential(*unit(2 * WIDTH, kernel=1))
        self.units = units(WIDTH)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        return self.units(self.mix(torch.cat((coarse, fine), dim=1)))


@NETWORKS.register("sage")
class SAGE(Network):
    """The whole network, of one size (135,617 parameters)."""

    convention = Convention(infrared="rounded", rounded_input=True, colour="ycrcb8")
    about = About(
        paper="Wu et al.: Every SAM Drop Counts: Embracing Semantic Priors for Multi-Modality Image Fusion, CVPR",
        year=2025,
        licence="MIT",
        weights="RollingPlain/SAGE_IVIF: checkpoints/checkpoints.pt",
    )
    min_size = 4

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList((units(2), units(WIDTH), units(WIDTH)))
        self.rises = nn.ModuleList((Rise(), Rise()))
        self.last = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        full = self.levels[0](torch.cat((vis, ir), dim=1))
        half = self.levels[1](F.max_pool2d(full, 2))
        quarter = self.levels[2](F.max_pool2d(half, 2))
        return self.last(self.rises[1](self.rises[0](quarter, half), full)).tanh()

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "adjust_channels4.0.weight" not in checkpoint:
            raise ValueError("expected SAGE's keys, as adjust_channels4.0.weight")
        return renamed(checkpoint, AUTHORS_KEYS)


AUTHORS_KEYS = [
    (r"^module([123])\.", lambda match: f"levels.{int(match[1]) - 1}."),
    (r"^module([45])\.", lambda match: f"rises.{int(match[1]) - 4}.units."),
    (r"^adjust_channels([45])\.", lambda match: f"rises.{int(match[1]) - 4}.mix."),
    (r"^final_decoder\.0\.", "last."),
]
