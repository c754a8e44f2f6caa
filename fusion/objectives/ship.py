"""What SHIP learns from: a saliency mask that says whose pixel counts, the brighter source, the stronger gradient.

Zheng et al., CVPR 2024. `mask: program` repeats the authors' program, which the released weights were made with;
`mask: weighted` is the mask-weighted source that the paper describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from fusion import losses
from fusion.networks.learned.ship import SHIP
from fusion.objectives.base import Batch, Objective
from fusion.registry import OBJECTIVES, did_you_mean

MASK_LOSSES = {"program": losses.masked_sources_loss, "weighted": losses.weighted_source_loss}


@OBJECTIVES.register("ship")
class SHIPObjective(Objective):
    """The one phase of SHIP. Batches need `mask` (1: the visible pixel counts), see scripts/make_saliency.py.

    mask: `program` or `weighted`, see above.
    """

    network_class = SHIP
    published: ClassVar = {"mask": 3.0, "intensity": 10.0, "gradient": 10.0}
    batch_keys = ("ir", "vis", "mask")
    trains = ("visible", "infrared", "spatial", "channel", "invertible", "project", "refine")

    def __init__(
        self, *, network: SHIP, weights: Mapping[str, float], mask: Literal["program", "weighted"] = "program"
    ):
        super().__init__(network=network, weights=weights)
        if mask not in MASK_LOSSES:
            raise ValueError(f"mask must be program or weighted, got '{mask}'.{did_you_mean(str(mask), MASK_LOSSES)}")
        self.mask_loss = MASK_LOSSES[mask]

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        if "mask" not in batch:
            raise ValueError(
                "the batch has no 'mask', which SHIP's loss needs: make masks with scripts/make_saliency.py"
            )
        ir, vis = batch["ir"], batch["vis"]
        fused = self.network(ir, vis)
        return {
            "mask": self.mask_loss(fused, ir, vis, batch["mask"]),
            "intensity": losses.intensity_loss(fused, ir, vis),
            "gradient": losses.gradient_loss(fused, ir, vis),
        }
