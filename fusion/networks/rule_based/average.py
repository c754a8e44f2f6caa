"""The mean of the two sources: the baseline that every fusion method must beat."""

from __future__ import annotations

from torch import Tensor

from fusion.networks.base import Network
from fusion.registry import NETWORKS


@NETWORKS.register("average")
class Average(Network):
    """(ir + vis) / 2"""

    learned = False

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return (ir + vis) / 2
