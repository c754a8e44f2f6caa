"""IFCNN: four convolutions, between which the features of both images are fused by maximum, sum or mean.

Zhang et al., "IFCNN: A general image fusion framework based on convolutional neural network", Information Fusion 54,
2020. Same function as the authors' released program for infrared-visible and medical pairs, to float32 rounding.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.networks.learned.blocks import gray
from fusion.registry import NETWORKS

RULES = {"max": torch.maximum, "sum": torch.add, "mean": lambda a, b: (a + b) / 2}


def normed() -> list[nn.Module]:
    convolution = nn.Conv2d(64, 64, 3, padding=1, padding_mode="replicate", bias=False)
    return [convolution, nn.BatchNorm2d(64), nn.ReLU()]


def cut(picture: Tensor) -> Tensor:
    """[0, 1] in the 8-bit levels below, clipped; the gradient is that of `picture` itself."""
    return picture + ((picture.clamp(0, 1) * 255).floor() / 255 - picture).detach()


@NETWORKS.register("ifcnn")
class IFCNN(Network):
    """The whole network, of one size (83,587 parameters).

    rule: how features are fused, `max` (infrared-visible, medical), `sum` or `mean` (multi-exposure). The authors have
        a file for each, alike in every shape; theirs are known by their last biases, any other is taken for `max`.
    """

    convention = Convention(infrared="rounded", rounded_input=True)
    about = About(
        paper="Zhang et al.: IFCNN: A general image fusion framework, Information Fusion 54",
        year=2020,
        licence="none stated",
        weights="uzeful/IFCNN: Code/snapshots/IFCNN-MAX.pth, IFCNN-SUM.pth, IFCNN-MEAN.pth",
    )

    whole_levels = True

    RELEASED: ClassVar[dict[str, tuple[float, ...]]] = {
        "max": (-0.253283, -0.278045, 0.262268),
        "sum": (0.0185455, -0.000126307, 0.0659043),
        "mean": (-0.281915, 0.110775, 0.138684),
    }
    """Rule -> biases of the last convolution in the authors' file."""

    def __init__(self, *, rule: Literal["max", "sum", "mean"] = "max"):
        super().__init__()
        if rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}; got '{rule}'")
        self.rule = rule
        self.encoder = nn.Sequential(nn.Conv2d(3, 64, 7, padding=3, padding_mode="replicate", bias=False), *normed())
        self.decoder = nn.Sequential(*normed(), nn.Conv2d(64, 3, 1))

    def channelwise(self, ir: Tensor, vis: Tensor) -> Tensor:
        """(b, 3, h, w) each in [0, 1] and back, not clipped."""
        return self.decoder(RULES[self.rule](self.encoder(ir), self.encoder(vis)))

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        """The program makes gray of an RGB picture in whole levels, and so does this: without, one pixel in six is
        another."""
        return gray(cut(self.channelwise(*(image.expand(-1, 3, -1, -1) for image in (ir, vis)))))

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "conv2.bn.running_mean" not in checkpoint or "conv4.bias" not in checkpoint:
            raise ValueError("expected IFCNN's keys, as conv2.bn.running_mean")
        # Written before PyTorch counted the batches of a norm.
        counters = {f"{part}.bn.num_batches_tracked": torch.tensor(0) for part in ("conv2", "conv3")}
        return renamed({**counters, **checkpoint}, AUTHORS_KEYS)

    @classmethod
    def sizes(cls, state: dict[str, Tensor]) -> dict[str, str]:
        last = state["decoder.3.bias"]
        known = {rule: last.new_tensor(biases) for rule, biases in cls.RELEASED.items()}
        rule = next((r for r, biases in known.items() if torch.allclose(last, biases, rtol=1e-4, atol=0)), "max")
        return {} if rule == "max" else {"rule": rule}


AUTHORS_KEYS = [
    (r"^conv1\.", "encoder.0."),
    (r"^conv2\.conv\.", "encoder.1."),
    (r"^conv2\.bn\.", "encoder.2."),
    (r"^conv3\.conv\.", "decoder.0."),
    (r"^conv3\.bn\.", "decoder.1."),
    (r"^conv4\.", "decoder.3."),
]
