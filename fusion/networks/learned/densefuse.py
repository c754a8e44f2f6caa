"""DenseFuse: an auto-encoder with a densely connected block, whose features of both images are averaged.

Li and Wu, "DenseFuse: A Fusion Approach to Infrared and Visible Images", IEEE TIP 28(5), 2019. Same function as the
authors' released PyTorch version, to float32 rounding, with its rule `addition`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.networks.learned.blocks import gray
from fusion.registry import NETWORKS


def layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"), nn.ReLU())


@NETWORKS.register("densefuse")
class DenseFuse(Network):
    """The whole network.

    channels: of a picture: 1 (the gray file, 74,193 parameters) or 3 (the RGB file, whose luminance is taken).
    """

    convention = Convention(rounded_input=True, quantise="truncate")
    about = About(
        paper="Li, Wu: DenseFuse: A Fusion Approach to Infrared and Visible Images, IEEE TIP 28(5)",
        year=2019,
        licence="none stated",
        weights="hli1221/densefuse-pytorch: models/densefuse_gray.model, densefuse_rgb.model",
    )

    SCALE = 255
    """The network was trained on 8-bit levels, and its biases are in them."""

    def __init__(self, *, channels: int = 1):
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        self.channels = channels
        self.encoder = nn.ModuleList(layer(n, 16) for n in (channels, 16, 32, 48))
        self.decoder = nn.Sequential(layer(64, 64), layer(64, 32), layer(32, 16), layer(16, channels))
        # Not the authors': the last ReLU may else give black at every pixel of an untrained network, for ever.
        nn.init.constant_(self.decoder[-1][0].bias, 0.5 * self.SCALE)

    def features(self, image: Tensor) -> Tensor:
        """(b, channels, h, w) in levels -> (b, 64, h, w)"""
        found = self.encoder[0](image)
        for dense in self.encoder[1:]:
            found = torch.cat((found, dense(found)), dim=1)
        return found

    def channelwise(self, ir: Tensor, vis: Tensor) -> Tensor:
        """(b, channels, h, w) each in [0, 1] and back, from 0 to about 1."""
        features = (self.features(ir * self.SCALE) + self.features(vis * self.SCALE)) / 2
        return self.decoder(features) / self.SCALE

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return gray(self.channelwise(*(image.expand(-1, self.channels, -1, -1) for image in (ir, vis))))

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "DB1.denseblock.0.dense_conv.conv2d.weight" not in checkpoint:
            raise ValueError("expected DenseFuse's keys, as DB1.denseblock.0.dense_conv.conv2d.weight")
        return renamed(checkpoint, AUTHORS_KEYS)

    @classmethod
    def sizes(cls, state: dict[str, Tensor]) -> dict[str, int]:
        channels = state["encoder.0.0.weight"].shape[1]
        return {} if channels == 1 else {"channels": channels}


AUTHORS_KEYS = [
    (r"^conv1\.conv2d", "encoder.0.0"),
    (r"^DB1\.denseblock\.(\d)\.dense_conv\.conv2d", lambda match: f"encoder.{int(match[1]) + 1}.0"),
    (r"^conv([2-5])\.conv2d", lambda match: f"decoder.{int(match[1]) - 2}.0"),
]
