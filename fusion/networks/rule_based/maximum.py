"""The brighter of the two sources at every pixel: the target of several fusion losses, taken as a method."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion.networks.base import Network
from fusion.registry import NETWORKS


@NETWORKS.register("maximum")
class Maximum(Network):
    """max(ir, vis)"""

    learned = False

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return torch.maximum(ir, vis)
