"""What CDDFuse learns from, in its two phases.

Zhao et al., CVPR 2023, section 3.5. Phase I: encoder and decoder reconstruct each image from its own features while the
decomposition loss drives base features together and detail features apart. Phase II: all four parts learn to fuse, and
no picture to compare with exists. Same losses as the authors' program; both images pass the encoder (and in phase I the
decoder) as one batch.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fusion import losses
from fusion.networks.learned.cddfuse import CDDFuse
from fusion.objectives.base import Batch, Objective, averaged_over_processes
from fusion.registry import OBJECTIVES


def as_picture(features: Tensor) -> Tensor:
    """Channel mean, each sample's minimum and maximum mapped to 0 and 1: (b, h, w, c) -> (b, 1, h, w)."""
    plane = features.float().mean(dim=-1)[:, None]
    low, high = plane.amin(dim=(2, 3), keepdim=True), plane.amax(dim=(2, 3), keepdim=True)
    return (plane - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


class CDDFuseObjective(Objective):
    """What the two phases share."""

    network_class = CDDFuse

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Base and detail features, each (2b, h, w, c): those of the visible images, then the infrared ones."""
        base, detail, _ = self.network.encoder(torch.cat((batch["vis"], batch["ir"])))
        return base, detail

    def decomposition(self, base: Tensor, detail: Tensor) -> Tensor:
        (base_vis, base_ir), (detail_vis, detail_ir) = base.chunk(2), detail.chunk(2)
        return losses.decomposition_loss(base_ir, base_vis, detail_ir, detail_vis, across=averaged_over_processes)

    def fuse(self, batch: Batch, base: Tensor, detail: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features of `encode` -> fused image (b, 1, h, w), fused base and detail features (b, h, w, c)."""
        network, ir, vis = self.network, batch["ir"], batch["vis"]
        (base_vis, base_ir), (detail_vis, detail_ir) = base.chunk(2), detail.chunk(2)
        base, detail = network.base_fusion(base_vis + base_ir), network.detail_fusion(detail_vis + detail_ir)
        skip = {"vis": vis, "sum": vis + ir, "none": None}[network.skip]
        return network.decoder(skip, base, detail), base, detail


@OBJECTIVES.register("cddfuse_reconstruction")
class CDDFuseReconstruction(CDDFuseObjective):
    """Phase I. Each image is rebuilt from its own features, with itself as the decoder's skip image (without one where
    the network has `skip: none`). The gradient term looks at the visible image only, as published."""

    published: ClassVar = {
        "ssim_vis": 5.0,
        "mse_vis": 1.0,
        "ssim_ir": 5.0,
        "mse_ir": 1.0,
        "decomposition": 2.0,
        "gradient": 5.0,
    }
    trains = ("encoder", "decoder")

    def restore(self, batch: Batch, base: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        """The features of `encode` -> each image again, (b, 1, h, w): visible, infrared."""
        skip = None if self.network.skip == "none" else torch.cat((batch["vis"], batch["ir"]))
        vis_hat, ir_hat = self.network.decoder(skip, base, detail).chunk(2)
        return vis_hat, ir_hat

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        ir, vis = batch["ir"], batch["vis"]
        base, detail = self.encode(batch)
        vis_hat, ir_hat = self.restore(batch, base, detail)
        return {
            "ssim_vis": losses.ssim_loss(vis, vis_hat),
            "mse_vis": losses.mse_loss(vis, vis_hat),
            "ssim_ir": losses.ssim_loss(ir, ir_hat),
            "mse_ir": losses.mse_loss(ir, ir_hat),
            "decomposition": self.decomposition(base, detail),
            "gradient": losses.spatial_gradient_loss(vis, vis_hat),
        }

    def views(self, batch: Batch) -> dict[str, Tensor]:
        """`base` and `detail` are the visible image's own features here; `fused` comes from fusion layers that have not
        been trained yet."""
        base, detail = self.encode(batch)
        vis_hat, ir_hat = self.restore(batch, base, detail)
        (base_vis, base_ir), (detail_vis, detail_ir) = base.chunk(2), detail.chunk(2)
        return {
            "fused": self.fuse(batch, base, detail)[0],
            "vis_hat": vis_hat,
            "ir_hat": ir_hat,
            "base": as_picture(base_vis),
            "detail": as_picture(detail_vis),
            "base_ir": as_picture(base_ir),
            "detail_ir": as_picture(detail_ir),
        }


@OBJECTIVES.register("cddfuse_fusion")
class CDDFuseFusion(CDDFuseObjective):
    """Phase II. The fused picture is held to the brighter pixel and the stronger gradient of the two sources."""

    published: ClassVar = {"intensity": 1.0, "gradient": 10.0, "decomposition": 2.0}
    trains = ("encoder", "decoder", "base_fusion", "detail_fusion")

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        ir, vis = batch["ir"], batch["vis"]
        base, detail = self.encode(batch)
        fused, _, _ = self.fuse(batch, base, detail)
        return {
            "intensity": losses.intensity_loss(fused, ir, vis),
            "gradient": losses.gradient_loss(fused, ir, vis),
            "decomposition": self.decomposition(base, detail),
        }

    def views(self, batch: Batch) -> dict[str, Tensor]:
        """`base` and `detail` are the fused features that the decoder sees."""
        fused, base, detail = self.fuse(batch, *self.encode(batch))
        return {"fused": fused, "base": as_picture(base), "detail": as_picture(detail)}
