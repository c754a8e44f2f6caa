"""What any network can learn from: the scores of the tables themselves.

Every term is a metric of `fusion/metrics/smooth.py` of the picture as it would be saved, turned so that less is better.
Contrast (SD, SF, EN) has no best value: noise scores high. Those terms are hinges that ask the picture for a factor of
what the sources have together, and are silent beyond. Metrics of whole pictures are taken of crops here; the larger the
crops, the nearer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion.losses import full_precision
from fusion.metrics import smooth
from fusion.networks.base import Network
from fusion.objectives.base import Batch, Objective
from fusion.registry import OBJECTIVES

LEAST = 4.0
"""Grey levels; a crop whose sources have less contrast is not asked for more."""

DARK, BRIGHT = 15.0, 50.0
"""Grey levels, see `room`: about those of MSRS's nights, and of days in other cameras."""


@full_precision
def saved(raw: Tensor) -> Tensor:
    """Raw output (B, 1, H, W) -> the whole grey levels 0..255 of a saved picture; rounding lets gradients pass."""
    levels = raw.clamp(0, 1) * smooth.PEAK
    return levels + (levels.round() - levels).detach()


@full_precision
def outside(raw: Tensor) -> Tensor:
    """Mean distance of (B, 1, H, W) to [0, 1], a scalar: the way back for a pixel that clamping leaves without one."""
    return (raw - raw.clamp(0, 1)).abs().mean()


def room(ir: Tensor, vis: Tensor) -> Tensor:
    """How far contrast may be raised, 0 to 1 for each sample (B,): from the mean level of the darker source's pixels.

    What is dark in both sources (a night) has nowhere to go but black.
    """
    return ((torch.minimum(ir, vis).mean((1, 2, 3)) - DARK) / (BRIGHT - DARK)).clamp(0, 1)


def lacking(has: Tensor, wanted: Tensor) -> Tensor:
    """Mean of max(0, 1 - has / wanted) over samples (B,)."""
    return F.relu(1 - has / wanted.clamp(min=LEAST)).mean()


@OBJECTIVES.register("scores")
class ScoresObjective(Objective):
    """One phase of any learned network. Crops need 41x41 pixels or more.

    contrast, frequency: the factors of SD and SF of the brighter source, max(ir, vis), that a bright picture is asked
    for; a dark one is asked for SD and SF as they are. entropy: bits more than max(ir, vis) has, likewise.
    """

    network_class = Network
    published: ClassVar = {
        "MI": 0.8,
        "SCD": 2.5,
        "VIF": 1.2,
        "Qabf": 1.2,
        "SSIM": 2.5,
        "SD": 1.5,
        "SF": 0.3,
        "EN": 0.0,
        "outside": 20.0,
    }

    def __init__(
        self,
        *,
        network: Network,
        weights: Mapping[str, float],
        contrast: float = 1.15,
        frequency: float = 1.1,
        entropy: float = 0.2,
    ):
        super().__init__(network=network, weights=weights)
        self.trains = tuple(name for name, _ in network.named_children())
        self.contrast, self.frequency, self.entropy = contrast, frequency, entropy

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        raw = self.network.raw(batch["ir"], batch["vis"])
        scores = self.scores(saved(raw), saved(batch["ir"]), saved(batch["vis"]))
        return {**scores, "outside": outside(raw)}

    def scores(self, fused: Tensor, ir: Tensor, vis: Tensor) -> dict[str, Tensor]:
        """All terms of grey levels (B, 1, H, W) but `outside`."""
        with torch.autocast(fused.device.type, enabled=False):
            brighter, more = torch.maximum(ir, vis), room(ir, vis)
            contrast, frequency = 1 + (self.contrast - 1) * more, 1 + (self.frequency - 1) * more
            return {
                "MI": -smooth.mutual_information(fused, ir, vis).mean(),
                "SCD": 2 - smooth.difference_correlation(fused, ir, vis).mean(),
                "VIF": 2 - smooth.fidelity(fused, ir, vis).mean(),
                "Qabf": 1 - smooth.preservation(fused, ir, vis).mean(),
                "SSIM": 2 - smooth.similarity(fused, ir, vis).mean(),
                "SD": lacking(smooth.deviation(fused), contrast * smooth.deviation(brighter)),
                "SF": lacking(smooth.frequency(fused), frequency * smooth.frequency(brighter)),
                "EN": F.relu(smooth.bits(brighter) + self.entropy * more - smooth.bits(fused)).mean(),
            }
