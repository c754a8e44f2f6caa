"""LP: the Laplacian pyramid of Burt and Adelson (IEEE Trans. Communications 1983), four levels.

Details by the larger magnitude around with a consistency check, the coarsest rest as a mean: the rules of Liu, Liu,
Wang, "A general framework for image fusion based on multi-scale transform and sparse representation", Information
Fusion 2015, and of Rockinger's toolbox.
"""

from __future__ import annotations

from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import expanded, plane_by_plane, reduced, stronger
from fusion.registry import NETWORKS

LEVELS = 4


def fuse(ir: ndarray, vis: ndarray, levels: int = LEVELS) -> ndarray:
    if not levels:
        return (ir + vis) / 2
    h, w = ir.shape
    (ir, ir_rest), (vis, vis_rest) = reduced(ir), reduced(vis)
    detail = stronger(ir - expanded(ir_rest), vis - expanded(vis_rest))
    return (expanded(fuse(ir_rest, vis_rest, levels - 1)) + detail)[:h, :w]


@NETWORKS.register("lp")
class LP(Network):
    """Laplacian pyramid fusion."""

    learned = False
    about = About(
        paper="Burt, Adelson: The Laplacian pyramid as a compact image code, IEEE Trans. Communications", year=1983
    )
    convention = Convention(rounded_input=True)
    min_size = 9

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
