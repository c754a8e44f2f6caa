"""What any network can learn from: the scores of the tables themselves.

Every term is what the picture as it would be saved lacks of a wanted score, in parts of it: max(0, 1 - has / wanted),
by the metrics of `fusion/metrics/smooth.py`. Scores of different pictures cannot be compared, so what is wanted is said
by what the simplest fusion has, the brighter source max(ir, vis): 1.2 times its contrast, 0.9 times its edges. That it
is enough at some point matters: contrast has no best value (noise scores high), and MI at its best is a copy.
Metrics of whole pictures are taken of crops here; the larger the crops, the nearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion.losses import full_precision
from fusion.metrics import smooth
from fusion.networks.base import Network
from fusion.objectives.base import Batch, Objective
from fusion.registry import OBJECTIVES, did_you_mean

DARK, BRIGHT = 20.0, 40.0
"""Grey levels, see `room`: most of MSRS, nights and days, lies below the first, brighter cameras above the second."""

WANTED: dict[str, tuple[float, float]] = {
    "EN": (0.10, 0.45),  # bits more than max(ir, vis) has
    "SD": (1.07, 1.36),
    "SF": (1.11, 1.50),
    "MI": (1.20, 0.74),
    "SCD": (1.62, 1.87),  # as it is: that of max(ir, vis) may be next to nothing
    "VIF": (1.10, 0.84),
    "Qabf": (1.06, 0.88),
    "SSIM": (1.03, 1.045),
}
"""What is enough in dark scenes and in bright ones, times what max(ir, vis) has (EN and SCD: see there).

A dark scene has nowhere to go but black, and MI and VIF to gain; a bright one can show both sources' details and all
the contrast there is. A factor that no picture reaches makes its term a plain reward.
"""

LEAST = {"SD": 4.0, "SF": 2.0, "MI": 0.5, "VIF": 0.1, "Qabf": 0.1, "SSIM": 0.2}
"""Below this in max(ir, vis) a crop has nothing to keep, and is not asked for more than if it had."""


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
    """How bright a scene is, 0 to 1 for each sample (B,): from the mean level of the darker source's pixels."""
    return ((torch.minimum(ir, vis).mean((1, 2, 3)) - DARK) / (BRIGHT - DARK)).clamp(0, 1)


def scores(fused: Tensor, ir: Tensor, vis: Tensor) -> dict[str, Tensor]:
    """The eight scores, (B,) each, of grey levels (B, 1, H, W)."""
    return {
        "EN": smooth.bits(fused),
        "SD": smooth.deviation(fused),
        "SF": smooth.frequency(fused),
        "MI": smooth.mutual_information(fused, ir, vis),
        "SCD": smooth.difference_correlation(fused, ir, vis),
        "VIF": smooth.fidelity(fused, ir, vis),
        "Qabf": smooth.preservation(fused, ir, vis),
        "SSIM": smooth.similarity(fused, ir, vis),
    }


def enough(ir: Tensor, vis: Tensor, wanted: Mapping[str, Sequence[float]]) -> dict[str, Tensor]:
    """The scores (B,) that `wanted` (see `WANTED`) asks of these sources' picture."""
    brightness = room(ir, vis)
    asked = {name: dark + (bright - dark) * brightness for name, (dark, bright) in wanted.items()}
    simplest = scores(torch.maximum(ir, vis), ir, vis)
    return {
        "EN": simplest["EN"] + asked["EN"],
        "SCD": asked["SCD"],
        **{name: asked[name] * simplest[name].clamp(min=least) for name, least in LEAST.items()},
    }


@OBJECTIVES.register("scores")
class ScoresObjective(Objective):
    """One phase of any learned network. Crops need 41x41 pixels or more.

    wanted: score -> (in dark scenes, in bright ones), in place of those of `WANTED`. Raises ValueError for a name that
    is none of its.
    """

    network_class = Network
    published: ClassVar = {**dict.fromkeys(WANTED, 1.0), "outside": 10.0}

    def __init__(
        self, *, network: Network, weights: Mapping[str, float], wanted: Mapping[str, tuple[float, float]] | None = None
    ):
        super().__init__(network=network, weights=weights)
        for name in wanted or {}:
            if name not in WANTED:
                names = ", ".join(WANTED)
                raise ValueError(f"wanted: expected scores out of {names}, got {name}.{did_you_mean(name, WANTED)}")
        self.trains = tuple(name for name, _ in network.named_children())
        self.wanted = {**WANTED, **(wanted or {})}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        raw = self.network.raw(batch["ir"], batch["vis"])
        with torch.autocast(raw.device.type, enabled=False):
            ir, vis = saved(batch["ir"]), saved(batch["vis"])
            with torch.no_grad():
                asked = enough(ir, vis, self.wanted)
            has = scores(saved(raw), ir, vis)
            lacking = {name: F.relu(1 - has[name] / asked[name]).mean() for name in WANTED}
        return {**lacking, "outside": outside(raw)}
