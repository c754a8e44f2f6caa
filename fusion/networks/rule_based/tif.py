"""TIF: one mean filter splits each source, the distance between mean and median weighs the details.

Bavirisetti, Dhuli, "Two-scale image fusion of visible and infrared images using saliency detection", Infrared Physics &
Technology 2016 (TSIFVS elsewhere), as the benchmark VIFB (CVPR Workshops 2020) ran it.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from scipy.ndimage import median_filter
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import plane_by_plane, ratio, separable
from fusion.registry import NETWORKS

SIDE = 35  # pixels, of the mean's window; a periodic border

ABOVE = 1 + 2.0**-52
"""Their taps lie a rounding error above 1/35. In flat areas the mean is so never the median itself, and the weights are
those of two equal saliencies rather than 0/0."""


def base_and_saliency(plane: ndarray) -> tuple[ndarray, ndarray]:
    base = separable(plane, np.ones(SIDE), "wrap") / SIDE**2 * ABOVE
    return base, (base - median_filter(plane, 3, mode="constant")) ** 2


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    (ir_base, ir_saliency), (vis_base, vis_saliency) = base_and_saliency(ir), base_and_saliency(vis)
    total = ir_saliency + vis_saliency
    detail = ratio(ir_saliency, total) * (ir - ir_base) + ratio(vis_saliency, total) * (vis - vis_base)
    return detail + (ir_base + vis_base) / 2


@NETWORKS.register("tif")
class TIF(Network):
    """Two-scale image fusion."""

    learned = False
    about = About(
        paper="Bavirisetti, Dhuli: Two-scale image fusion of visible and infrared images using saliency detection, "
        "Infrared Physics & Technology",
        year=2016,
    )
    convention = Convention(rounded_input=True)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
