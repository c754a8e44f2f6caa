"""MMDRFuse (student): two convolutions, 113 parameters, distilled from a large network.

Deng et al., "MMDRFuse: Distilled Mini-Model with Dynamic Refresh for Multi-Modality Image Fusion", ACM Multimedia 2024.
Same function as the authors' released program, to float32 rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.registry import NETWORKS


@NETWORKS.register("mmdrfuse")
class MMDRFuse(Network):
    """The whole network, of one size."""

    convention = Convention(rounded_input=True, infrared="rounded", stretch=True)
    about = About(
        paper="Deng et al.: MMDRFuse: Distilled Mini-Model with Dynamic Refresh, ACM Multimedia",
        year=2024,
        licence="none stated",
        weights="yanglinDeng/MMDRFuse: pretrained_models/student.model",
    )

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")
        self.conv2 = nn.Conv2d(4, 1, 3, padding=1, padding_mode="reflect")

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(torch.cat((ir, vis), dim=1)))).tanh()

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "conv1.1.weight" not in checkpoint:
            raise ValueError("expected MMDRFuse's keys, as conv1.1.weight")
        return renamed(checkpoint, [(r"^(conv[12])\.1\.", r"\1.")])
