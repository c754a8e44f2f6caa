"""MGFF: four levels of guided filters, each source guiding the smoothing of the other.

Bavirisetti, Xiao, Zhao, Dhuli, Liu, "Multi-scale guided image and video fusion: a fast and efficient approach",
Circuits, Systems, and Signal Processing 2019, as the benchmark VIFB (CVPR Workshops 2020) ran it. What differs: where
neither source has any detail the result is the base; theirs is black there (0/0).
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import guided_filter, plane_by_plane, ratio
from fusion.registry import NETWORKS

LEVELS = 4
RADIUS = 9  # pixels
EPSILON = 1000.0  # gray levels squared


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    detail = np.zeros_like(ir)
    for _ in range(LEVELS):
        smooth_ir, smooth_vis = guided_filter(ir, vis, RADIUS, EPSILON), guided_filter(vis, ir, RADIUS, EPSILON)
        a, b = ir - smooth_ir, vis - smooth_vis
        detail += ratio(np.abs(a) * a + np.abs(b) * b, np.abs(a) + np.abs(b))
        ir, vis = smooth_ir, smooth_vis
    return detail + (ir + vis) / 2


@NETWORKS.register("mgff")
class MGFF(Network):
    """Multi-scale guided filter fusion."""

    learned = False
    about = About(
        paper="Bavirisetti et al.: Multi-scale guided image and video fusion: a fast and efficient approach, "
        "Circuits, Systems, and Signal Processing",
        year=2019,
    )
    convention = Convention(rounded_input=True)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
