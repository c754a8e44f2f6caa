"""SeAFusion: dense blocks with a learned gradient branch, trained in the loop of a segmentation network.

Tang et al., "Image fusion in the loop of high-level vision tasks: A semantic-aware real-time infrared and visible
image fusion network", Information Fusion 82, 2022. Same function as the authors' released program, to float32
rounding. Their file has batch norms in the decoder that no program ever calls; they are left out.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.networks.learned.blocks import LearnedSobel
from fusion.registry import NETWORKS


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class GradientResidualDenseBlock(nn.Module):
    """Two densely connected convolutions, plus the picture's gradient, each through a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = conv3x3(inputs, inputs)
        self.conv2 = conv3x3(2 * inputs, inputs)
        self.from_dense = nn.Conv2d(3 * inputs, outputs, 1)
        self.gradient = LearnedSobel(channels=inputs)
        self.from_gradient = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        dense = torch.cat((x, F.leaky_relu(self.conv1(x), 0.2)), dim=1)
        dense = torch.cat((dense, F.leaky_relu(self.conv2(dense), 0.2)), dim=1)
        return F.leaky_relu(self.from_dense(dense) + self.from_gradient(self.gradient(x)), 0.1)


def encoder() -> nn.Sequential:
    """Picture (b, 1, h, w) -> features (b, 48, h, w)"""
    blocks = GradientResidualDenseBlock(16, 32), GradientResidualDenseBlock(32, 48)
    return nn.Sequential(conv3x3(1, 16), nn.LeakyReLU(0.2), *blocks)


@NETWORKS.register("seafusion")
class SeAFusion(Network):
    """The whole network, of one size (166,657 parameters)."""

    convention = Convention(infrared="rounded", stretch_picture=True, quantise="truncate")
    about = About(
        paper="Tang, Yuan, Ma: Image fusion in the loop of high-level vision tasks, Information Fusion 82",
        year=2022,
        licence="MIT",
        weights="Linfeng-Tang/VIF-Benchmark: Checkpoint/SeAFusion/SeAFusion.pth",
    )
    blocks = (GradientResidualDenseBlock,)

    def __init__(self):
        super().__init__()
        self.visible, self.infrared = encoder(), encoder()
        widths = (96, 64, 32, 16)
        layers = [(conv3x3(n, m), nn.LeakyReLU(0.2)) for n, m in pairwise(widths)]
        self.decoder = nn.Sequential(*(part for layer in layers for part in layer), conv3x3(16, 1))

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        features = torch.cat((self.visible(vis), self.infrared(ir)), dim=1)
        return self.decoder(features).tanh() / 2 + 0.5

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "vis_rgbd1.sobelconv.convx.weight" not in checkpoint:
            raise ValueError("expected SeAFusion's keys, as vis_rgbd1.sobelconv.convx.weight")
        used = {key: value for key, value in checkpoint.items() if ".bn." not in key}
        return renamed(used, AUTHORS_KEYS)


AUTHORS_KEYS = [
    (r"^vis_", "visible."),
    (r"^inf_", "infrared."),
    (r"\.conv\.conv\.", ".0."),
    (r"\.rgbd1\.", ".2."),
    (r"\.rgbd2\.", ".3."),
    (r"dense\.conv([12])\.conv", r"conv\1"),
    (r"convdown\.conv", "from_dense"),
    (r"convup\.conv", "from_gradient"),
    (r"sobelconv\.conv([xy])\.weight", r"gradient.k\1"),
    (r"^decode([1-4])\.conv", lambda match: f"decoder.{2 * (4 - int(match[1]))}"),
]
