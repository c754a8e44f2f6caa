"""TarDAL: a densely connected generator trained against two discriminators, of targets and of details.

Liu, Fan, Huang, Wu, Liu, Zhong, Luo, "Target-aware Dual Adversarial Learning and a Multi-scenario Multi-Modality
Benchmark to Fuse Infrared and Visible for Object Detection", CVPR 2022. Same function as the authors' released
program, to float32 rounding; their three files (TarDAL, TarDAL+, TarDAL++) are three sets of weights for it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network
from fusion.registry import NETWORKS

CHANNELS = 32


class PictureNorm(nn.BatchNorm2d):
    """Batch norm by each picture's own mean and variance."""

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


NORMS = {"running": nn.BatchNorm2d, "picture": PictureNorm}


def layer(inputs: int, outputs: int, norm: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), norm(outputs), nn.ReLU())


@NETWORKS.register("tardal")
class TarDAL(Network):
    """The generator, of one size (296,577 parameters).

    statistics: what its norms subtract and divide by: `running`, those of training (all published tables), or
        `picture`, each picture's own, as the program released with `tardal.pt` runs it.
    """

    convention = Convention(clip=True, stretch=True)
    about = About(
        paper="Liu et al.: Target-aware Dual Adversarial Learning ... for Object Detection, CVPR",
        year=2022,
        licence="GPL-3.0",
        weights="Linfeng-Tang/VIF-Benchmark: Checkpoint/TarDAL/tardal.pt, tardal+.pt, tardal++.pt",
    )

    def __init__(self, *, statistics: Literal["running", "picture"] = "running"):
        super().__init__()
        if statistics not in NORMS:
            raise ValueError(f"statistics must be {' or '.join(NORMS)}, got {statistics!r}")
        norm = NORMS[statistics]
        self.encoder = layer(2, CHANNELS, norm)
        self.dense = nn.ModuleList(layer(CHANNELS * k, CHANNELS, norm) for k in (1, 2, 3))
        self.fuse = nn.Sequential(
            nn.Sequential(nn.Conv2d(4 * CHANNELS, 128, 3, padding=1), nn.ReLU()),
            layer(128, 64, norm),
            layer(64, 32, norm),
            nn.Sequential(nn.Conv2d(32, 1, 3, padding=1), nn.Tanh()),
        )

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        x = self.encoder(torch.cat((ir, vis), dim=1))
        for dense in self.dense:
            x = torch.cat((x, dense(x)), dim=1)
        return self.fuse(x)

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "dense.0.0.weight" not in checkpoint:
            raise ValueError("expected TarDAL's keys, as dense.0.0.weight")
        return {key: value for key, value in checkpoint.items() if key != "use_eval"}
