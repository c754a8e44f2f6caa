"""RP: Toet's ratio pyramid (Pattern Recognition Letters 1989), four levels.

Details are ratios to what the next level shows; chosen like those of `lp.py`, by the larger ratio around, as
Rockinger's toolbox does (Toet takes the ratio farther from 1). Where the coarser level is black, ratios are huge and
the result is clipped.
"""

from __future__ import annotations

from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import expanded, plane_by_plane, reduced, stronger
from fusion.registry import NETWORKS

LEVELS = 4
TINY = 1e-6  # gray levels


def fuse(ir: ndarray, vis: ndarray, levels: int = LEVELS) -> ndarray:
    if not levels:
        return (ir + vis) / 2
    h, w = ir.shape
    (ir, ir_rest), (vis, vis_rest) = reduced(ir), reduced(vis)
    detail = stronger(ir / (expanded(ir_rest) + TINY), vis / (expanded(vis_rest) + TINY))
    return ((expanded(fuse(ir_rest, vis_rest, levels - 1)) + TINY) * detail)[:h, :w]


@NETWORKS.register("rp")
class RP(Network):
    """Ratio pyramid fusion."""

    learned = False
    about = About(paper="Toet: Image fusion by a ratio of low-pass pyramid, Pattern Recognition Letters", year=1989)
    convention = Convention(rounded_input=True)
    min_size = 9

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
