"""DIDFuse: an auto-encoder that splits each image into base and detail features, which are added up.

Zhao, Xu, Zhang, Liu, Zhang, Li, "DIDFuse: Deep Image Decomposition for Infrared and Visible Image Fusion", IJCAI 2020.
Same function as the authors' released program, to float32 rounding. Both images pass the encoder as one batch.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.registry import NETWORKS

CHANNELS = 64


def layer(inputs: int, outputs: int, activation: nn.Module, padding: str = "zeros") -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=padding)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), activation)


class Encoder(nn.Module):
    """Picture (b, 1, h, w) -> two shallow maps, base and detail, (b, 64, h, w) each."""

    def __init__(self):
        super().__init__()
        self.first = layer(1, CHANNELS, nn.PReLU(), "reflect")
        self.second = layer(CHANNELS, CHANNELS, nn.PReLU())
        self.base = layer(CHANNELS, CHANNELS, nn.Tanh())
        self.detail = layer(CHANNELS, CHANNELS, nn.Tanh())

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        first = self.first(image)
        second = self.second(first)
        return first, second, self.base(second), self.detail(second)


class Decoder(nn.Module):
    """What the encoder gives -> picture (b, 1, h, w) in (0, 1)"""

    def __init__(self):
        super().__init__()
        both = 2 * CHANNELS
        self.first = layer(both, CHANNELS, nn.PReLU())
        self.second = layer(both, CHANNELS, nn.PReLU())
        self.last = layer(both, 1, nn.Sigmoid(), "reflect")

    def forward(self, first: Tensor, second: Tensor, base: Tensor, detail: Tensor) -> Tensor:
        x = self.first(torch.cat((base, detail), dim=1))
        x = self.second(torch.cat((x, second), dim=1))
        return self.last(torch.cat((x, first), dim=1))


def by_activity(ir: Tensor, vis: Tensor) -> Tensor:
    """Weighted by the magnitude around each pixel, summed over the channels; alike where both are 0."""
    ir_activity, vis_activity = (F.avg_pool2d(x.abs().sum(1, keepdim=True), 3, 1, 1) for x in (ir, vis))
    total = ir_activity + vis_activity
    weight = torch.where(total > 0, ir_activity / total.where(total > 0, 1), 0.5)
    return weight * ir + (1 - weight) * vis


MERGE = {"sum": torch.add, "average": lambda ir, vis: (ir + vis) / 2, "l1": by_activity}


@NETWORKS.register("didfuse")
class DIDFuse(Network):
    """The whole network, of one size (260,935 parameters).

    merge: of both images' features: `sum` (the published tables), `average`, or `l1`, by their activity.
    """

    convention = Convention(stretch=True)
    about = About(
        paper="Zhao et al.: DIDFuse: Deep Image Decomposition for Infrared and Visible Image Fusion, IJCAI",
        year=2020,
        licence="none stated (VIF-Benchmark as a whole: MIT)",
        weights="Linfeng-Tang/VIF-Benchmark: Checkpoint/DIDFuse/Encoder.pkl, Decoder.pkl",
    )

    def __init__(self, *, merge: Literal["sum", "average", "l1"] = "sum"):
        super().__init__()
        if merge not in MERGE:
            raise ValueError(f"merge must be one of {', '.join(MERGE)}; got {merge!r}")
        self.merge = merge
        self.encoder, self.decoder = Encoder(), Decoder()

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        maps = self.encoder(torch.cat((ir, vis)))
        return self.decoder(*(MERGE[self.merge](*x.chunk(2)) for x in maps))

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        """checkpoint: `{"Encoder": ..., "Decoder": ...}` of their two files, as `weight_files.py` reads them."""
        if missing := [part for part in ("Encoder", "Decoder") if part not in checkpoint]:
            raise ValueError(f"expected both of DIDFuse's files; {' and '.join(missing)} missing")
        both = (checkpoint[part].get("weight", checkpoint[part]) for part in ("Encoder", "Decoder"))
        return renamed({key: value for part in both for key, value in part.items()}, AUTHORS_KEYS)


def _less_one(match) -> str:
    """The layers with padding of their own count it as 0."""
    return f"{match[1]}.{int(match[2]) - 1}."


AUTHORS_KEYS = [
    (r"^cov(\d)\.cov\d\.", r"cov\1."),
    (r"^cov1\.", "encoder.first."),
    (r"^cov2\.", "encoder.second."),
    (r"^cov3\.", "encoder.base."),
    (r"^cov4\.", "encoder.detail."),
    (r"^cov5\.", "decoder.first."),
    (r"^cov6\.", "decoder.second."),
    (r"^cov7\.", "decoder.last."),
    (r"^(encoder\.first|decoder\.last)\.(\d)\.", _less_one),
]
