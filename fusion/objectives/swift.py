"""What swift learns from: a target picture built of both sources' pyramids, and the structure of each source.

The target is what rule-based fusion does well where a per-pixel maximum fails: every scale of detail comes from the
source that has more of it there, weighed softly by local energy, so that no outline is drawn where one source takes
over from the other; the coarse brightness left over lies between the brighter source and the sum of both. Then contrast
is raised around the picture's mean. The network learns to give that picture in one pass; the structural term keeps it
close to both sources where the target would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion import losses
from fusion.filters import gaussian_by_rows, halved
from fusion.networks.learned.swift import Swift
from fusion.objectives.base import Batch, Objective
from fusion.registry import OBJECTIVES

LEAST_SIDE = 12
"""Pixels; a picture smaller than this is not halved again."""


def pyramid(image: Tensor, levels: int) -> tuple[list[Tensor], Tensor]:
    """Laplacian pyramid of (B, 1, H, W): up to `levels` details, finest first, and the coarse rest.

    Enlarging the rest onto the coarsest detail, adding it, and so on to the finest gives the image again.
    """
    details = []
    while len(details) < levels and min(image.shape[-2:]) >= LEAST_SIDE:
        smaller = halved(image)
        details.append(image - enlarge(smaller, image))
        image = smaller
    return details, image


def enlarge(image: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(image, size=like.shape[-2:], mode="bilinear")


def stronger(a: Tensor, b: Tensor, sharpness: float) -> Tensor:
    """The mean of two details (B, 1, H, W), each weighing its local energy (sigma 1) to the power sharpness / 2."""
    weight_a, weight_b = (gaussian_by_rows(x * x, 5, 1.0) ** (sharpness / 2) + 1e-8 for x in (a, b))
    return (weight_a * a + weight_b * b) / (weight_a + weight_b)


def brightness(a: Tensor, b: Tensor, sum_share: float) -> Tensor:
    """Between the brighter of two coarse pictures (B, 1, H, W) and their sum less the smaller of their means."""
    together = a + b - torch.minimum(*(x.mean((2, 3), keepdim=True) for x in (a, b)))
    return torch.lerp(torch.maximum(a, b), together, sum_share)


@OBJECTIVES.register("swift")
class SwiftObjective(Objective):
    """The one phase of swift.

    levels: scales of detail, each half the one before. sharpness: how decidedly the stronger source is chosen (see
    `stronger`). sum_share: of the sum of both sources in the coarse brightness, 0 to 1. detail: gain of every detail.
    contrast: gain around the picture's mean, after that. darker: what the mean is lowered by, to leave headroom.
    """

    network_class = Swift
    published: ClassVar = {"target": 10.0, "gradient": 20.0, "structure": 0.3}
    trains = ("coarse", "fine")

    def __init__(
        self,
        *,
        network: Swift,
        weights: Mapping[str, float],
        levels: int = 2,
        sharpness: float = 2.0,
        sum_share: float = 0.12,
        detail: float = 1.15,
        contrast: float = 1.27,
        darker: float = 0.05,
    ):
        super().__init__(network=network, weights=weights)
        self.levels, self.sharpness, self.sum_share = levels, sharpness, sum_share
        self.detail, self.contrast, self.darker = detail, contrast, darker

    @torch.no_grad()
    def target(self, ir: Tensor, vis: Tensor) -> Tensor:
        """(B, 1, H, W) each, in [0, 1]; the target likewise."""
        (ir_details, ir), (vis_details, vis) = pyramid(ir, self.levels), pyramid(vis, self.levels)
        fused = brightness(ir, vis, self.sum_share)
        for a, b in zip(reversed(ir_details), reversed(vis_details), strict=True):
            fused = enlarge(fused, a) + self.detail * stronger(a, b, self.sharpness)
        mean = fused.mean((2, 3), keepdim=True)
        return ((fused - mean) * self.contrast + mean - self.darker).clamp(0, 1)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        ir, vis = batch["ir"], batch["vis"]
        # Not clamped: a pixel beyond the range must still feel the way back.
        fused, target = self.network.raw(ir, vis), self.target(ir, vis)
        return {
            "target": losses.l1_loss(fused, target),
            "gradient": losses.spatial_gradient_loss(fused, target),
            "structure": losses.ssim_loss(fused, ir) + losses.ssim_loss(fused, vis),
        }

    def views(self, batch: Batch) -> dict[str, Tensor]:
        ir, vis = batch["ir"], batch["vis"]
        return {"fused": self.network(ir, vis), "target": self.target(ir, vis)}
