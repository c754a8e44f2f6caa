"""GFF: the more salient source wins at every pixel; guided filters bring that decision to the pictures' edges.

Li, Kang, Hu, "Image fusion with guided filtering", IEEE Trans. Image Processing 2013, as the benchmark VIFB (CVPR
Workshops 2020) ran it: weights are rounded to 8 bits, ties go to the visible picture. Planes are on the scale 0..1.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import gauss, guided_filter, mean, plane_by_plane, whole_levels
from fusion.registry import NETWORKS

SIDE = 31  # pixels, of the mean that splits base and detail
BASE = (45, 0.3)  # radius in pixels and epsilon of the guided filter of the base's weights
DETAIL = (7, 1e-6)
TINY = 1e-12


def saliency(plane: ndarray) -> ndarray:
    p = np.pad(plane, 1, mode="edge")
    laplacian = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * plane
    return gauss(np.abs(laplacian), 11, 5, "nearest") + TINY


def weight(guide: ndarray, decision: ndarray, radius: int, epsilon: float) -> ndarray:
    return whole_levels(255 * guided_filter(guide, decision, radius, epsilon)) / 255 + TINY


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    ir, vis = ir / 255, vis / 255
    vis_wins = (saliency(vis) >= saliency(ir)).astype(np.float64)
    bases = mean(ir, SIDE, "nearest"), mean(vis, SIDE, "nearest")
    details = ir - bases[0], vis - bases[1]
    fused = np.zeros_like(ir)
    for (a, b), settings in ((bases, BASE), (details, DETAIL)):
        of_ir, of_vis = weight(ir, 1 - vis_wins, *settings), weight(vis, vis_wins, *settings)
        fused += (of_ir * a + of_vis * b) / (of_ir + of_vis)
    return fused * 255


@NETWORKS.register("gff")
class GFF(Network):
    """Guided filter fusion."""

    learned = False
    about = About(paper="Li, Kang, Hu: Image fusion with guided filtering, IEEE Trans. Image Processing", year=2013)
    convention = Convention(rounded_input=True)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
