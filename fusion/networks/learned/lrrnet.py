"""LRRNet: a low-rank representation model whose iterations are layers.

Li, Xu, Wu, Lu, Kittler, "LRRNet: A Novel Representation Learning Guided Fusion Framework for Infrared and Visible
Images", IEEE TPAMI 45(9), 2023. Same function as the authors' released program, to float32 rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.registry import NETWORKS

CHANNELS, ITERATIONS = 256, 4


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


class Iteration(nn.Module):
    """What the codes do not explain of the picture yet, as codes."""

    def __init__(self):
        super().__init__()
        self.picture, self.codes = conv3x3(CHANNELS, 1), conv3x3(1, CHANNELS)

    def forward(self, image: Tensor, codes: Tensor) -> Tensor:
        return self.codes(image - self.picture(codes))


class Stream(nn.Module):
    """Learned iterative soft thresholding of one image: (b, 1, h, w) -> low-rank and salient codes, (b, 128, h, w)."""

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.full((CHANNELS,), 0.01))
        self.scale = nn.Parameter(torch.ones(()))
        self.start = conv3x3(1, CHANNELS)
        self.iterations = nn.ModuleList(Iteration() for _ in range(ITERATIONS))

    def shrink(self, x: Tensor) -> Tensor:
        """A negative threshold, of which the authors' file has one, enlarges: no library's soft shrinkage does so."""
        return x.sign() * (x.abs() - self.threshold[:, None, None]).relu()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        codes = self.shrink(self.start(image))
        for iteration in self.iterations:
            codes = self.shrink(self.scale * codes + iteration(image, codes))
        return codes.chunk(2, dim=1)


class Merge(nn.Module):
    """The same half of both images' codes -> its part of the picture, (b, 1, h, w)."""

    def __init__(self):
        super().__init__()
        self.infrared, self.visible = conv3x3(CHANNELS // 2, 1), conv3x3(CHANNELS // 2, 1)
        self.both = conv3x3(2, 1)

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        return self.both(torch.cat((self.infrared(ir), self.visible(vis)), dim=1))


@NETWORKS.register("lrrnet")
class LRRNet(Network):
    """The whole network, of one size (49,204 parameters)."""

    convention = Convention(
        rounded_input=True, stretched_input=1e-5 / 255, stretch=True, stretch_epsilon=1e-5, quantise="truncate"
    )
    about = About(
        paper="Li, Xu, Wu, Lu, Kittler: LRRNet: A Novel Representation Learning Guided Fusion Framework, TPAMI 45(9)",
        year=2023,
        licence="none stated",
        weights="hli1221/imagefusion-LRRNet: model/final_lrr_net_lam2_1.5_wir_3.0_lam3_gram_2000_epoch_4_block_4.model",
    )

    def __init__(self):
        super().__init__()
        self.infrared, self.visible = Stream(), Stream()
        self.low, self.high = Merge(), Merge()

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        (ir_low, ir_high), (vis_low, vis_high) = self.infrared(ir), self.visible(vis)
        return self.low(ir_low, vis_low) + self.high(ir_high, vis_high)

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "get_ls1.lamj" not in checkpoint:
            raise ValueError("expected LRRNet's keys, as get_ls1.lamj")
        ours = renamed(checkpoint, AUTHORS_KEYS)
        for key, value in ours.items():
            if key.endswith((".threshold", ".scale")):  # theirs have a first axis of 1
                ours[key] = value[0] if key.endswith(".threshold") else value.reshape(())
        return ours


AUTHORS_KEYS = [
    (r"^get_ls1\.", "infrared."),
    (r"^get_ls2\.", "visible."),
    (r"\.lamj$", ".threshold"),
    (r"\.lamz$", ".scale"),
    (r"conv_W00\.conv2d", "start"),
    (r"lrrblock(\d)\.conv_Wdz\.conv2d", r"iterations.\1.picture"),
    (r"lrrblock(\d)\.conv_Wdtz\.conv2d", r"iterations.\1.codes"),
    (r"^decoder\.conv_ReZ([xy])\.conv2d", r"low.\1"),
    (r"^decoder\.conv_ReU([xy])\.conv2d", r"high.\1"),
    (r"^(low|high)\.x", r"\1.infrared"),
    (r"^(low|high)\.y", r"\1.visible"),
    (r"^decoder\.conv_ReL\.conv2d", "low.both"),
    (r"^decoder\.conv_ReH\.conv2d", "high.both"),
]
