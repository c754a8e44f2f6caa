"""U2Fusion: one densely connected network for every kind of pair, trained to keep what each image has to say.

Xu, Ma, Jiang, Guo, Ling, "U2Fusion: A Unified Unsupervised Image Fusion Network", IEEE TPAMI 44(1), 2022. Same
function as the authors' released program, to float32 rounding.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.registry import NETWORKS
from fusion.tensorflow_checkpoint import as_convolution

GROWTH = 44


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


@NETWORKS.register("u2fusion")
class U2Fusion(Network):
    """The whole network, of one size (659,217 parameters)."""

    # As the tables were made: the stretch, and the order of the images: visible first, but PET before MRI.
    convention = Convention(stretch=True, medical_first="ir")
    about = About(
        paper="Xu, Ma, Jiang, Guo, Ling: U2Fusion: A Unified Unsupervised Image Fusion Network, IEEE TPAMI 44(1)",
        year=2022,
        licence="none stated (VIF-Benchmark as a whole: MIT)",
        weights="Linfeng-Tang/VIF-Benchmark: Checkpoint/U2Fusion/model.ckpt.data-00000-of-00001",
    )

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList([conv3x3(2, GROWTH), *(conv3x3(GROWTH * k, GROWTH) for k in range(1, 6))])
        self.decoder = nn.ModuleList(conv3x3(n, m) for n, m in pairwise((6 * GROWTH, 128, 64, 32, 1)))

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        x = F.leaky_relu(self.encoder[0](torch.cat((vis, ir), dim=1)), 0.2)
        for dense in self.encoder[1:]:
            x = torch.cat((F.leaky_relu(dense(x), 0.2), x), dim=1)
        for layer in self.decoder[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        return self.decoder[-1](x).tanh() / 2 + 0.5

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "Generator/encoder/conv1_1/kernel" not in checkpoint:
            raise ValueError("expected U2Fusion's variables, as Generator/encoder/conv1_1/kernel")
        return {key: as_convolution(value) for key, value in renamed(checkpoint, AUTHORS_KEYS).items()}


AUTHORS_KEYS = [
    (r"^Generator/encoder/conv1_1", "encoder.0"),
    (r"^Generator/encoder/dense_block_conv(\d)", r"encoder.\1"),
    (r"^Generator_1/decoder/conv2_(\d)", lambda match: f"decoder.{int(match[1]) - 1}"),
    (r"/kernel$", ".weight"),
    (r"/bias$", ".bias"),
]
