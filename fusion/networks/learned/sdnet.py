"""SDNet: two dense stacks squeeze a pair into one picture.

Zhang and Ma, "SDNet: A Versatile Squeeze-and-Decomposition Network for Real-Time Image Fusion", IJCV 129, 2021. Same
function as the authors' released program, to float32 rounding. The half that takes the picture apart again serves
their training only and is left out.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.registry import NETWORKS
from fusion.tensorflow_checkpoint import as_convolution

CHANNELS = 16


class Squeeze(nn.Module):
    """Picture (b, 1, h, w) in [-1, 1] -> four feature maps (b, 16, h, w), each made of all before it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, CHANNELS, 5, padding=2)
        self.dense = nn.ModuleList(nn.Conv2d(CHANNELS * k, CHANNELS, 3, padding=1) for k in (1, 2, 3))

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [F.leaky_relu(self.first(image), 0.2)]
        for layer in self.dense:
            maps.append(F.leaky_relu(layer(torch.cat(maps, dim=1)), 0.2))
        return maps


@NETWORKS.register("sdnet")
class SDNet(Network):
    """The fusing half, of one size (28,705 parameters)."""

    convention = Convention(stretch=True)
    about = About(
        paper="Zhang, Ma: SDNet: A Versatile Squeeze-and-Decomposition Network for Real-Time Image Fusion, IJCV 129",
        year=2021,
        licence="none stated (VIF-Benchmark as a whole: MIT)",
        weights="Linfeng-Tang/VIF-Benchmark: Checkpoint/SDNet/SDNet.model.data-00000-of-00001",
    )

    def __init__(self):
        super().__init__()
        self.infrared, self.visible = Squeeze(), Squeeze()
        self.fuse = nn.Conv2d(8 * CHANNELS, 1, 1)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        pairs = zip(self.infrared(2 * ir - 1), self.visible(2 * vis - 1), strict=True)
        maps = torch.cat([image for pair in pairs for image in pair], dim=1)
        return (self.fuse(maps).tanh() + 1) / 2

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "fusion_model/layer5_fuse/w5_fuse" not in checkpoint:
            raise ValueError("expected SDNet's variables, as fusion_model/layer5_fuse/w5_fuse")
        fusing = {key: value for key, value in checkpoint.items() if re.match(r"fusion_model/layer[1-5]_", key)}
        return {key: as_convolution(value) for key, value in renamed(fusing, AUTHORS_KEYS).items()}


AUTHORS_KEYS = [
    (r"^fusion_model/layer1_(ir|vi)", r"\1.first"),
    (r"^fusion_model/layer([2-4])_(ir|vi)", lambda match: f"{match[2]}.dense.{int(match[1]) - 2}"),
    (r"^fusion_model/layer5_fuse", "fuse"),
    (r"^ir\.", "infrared."),
    (r"^vi\.", "visible."),
    (r"/w\w+$", ".weight"),
    (r"/b\w+$", ".bias"),
]
