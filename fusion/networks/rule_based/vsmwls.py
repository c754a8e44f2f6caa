"""VSMWLS: rolling guidance splits each source; saliency weighs the bases, a weighted least squares rule the details.

Ma, Zhou, Wang, Zong, "Infrared and visible image fusion based on visual saliency map and weighted least square
optimization", Infrared Physics & Technology 2017, as the benchmark VIFB (CVPR Workshops 2020) ran it. The matrix of the
least squares is diagonal, so they are solved in closed form. Planes here are on the scale 0..1.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import gauss, guided_filter, mean, plane_by_plane
from fusion.registry import NETWORKS

SCALES = (2, 4, 8)  # pixels, of the rolling guidance
LEAST_SQUARES = 0.01


def rolling_guidance(plane: ndarray, scale: int) -> ndarray:
    """What is smaller than `scale` goes, larger edges stay (Zhang et al., ECCV 2014; four rounds)."""
    guide = gauss(plane, 6 * scale + 1, scale, "nearest")
    for _ in range(4):
        guide = guided_filter(guide, plane, scale, 0.05**2)
    return guide


def decompose(plane: ndarray) -> tuple[list[ndarray], ndarray]:
    """Four details, finest first, and the base."""
    planes = [plane]
    for scale in SCALES:
        planes.append(rolling_guidance(planes[-1], scale))
    planes.append(gauss(planes[-1], 13, 2, "nearest"))
    return [a - b for a, b in pairwise(planes)], planes[-1]


def saliency(levels: ndarray) -> ndarray:
    """Distance of a pixel's level from all pixels', stretched to 0..1; levels in 0..255."""
    whole = np.rint(levels).astype(int)
    every = np.arange(256)
    distance = np.abs(every[:, None] - every) @ np.bincount(whole.ravel(), minlength=256).astype(np.float64)
    found = distance[whole]
    span = found.max() - found.min()
    return (found - found.min()) / span if span else np.zeros_like(found)


def fuse_detail(ir: ndarray, vis: ndarray) -> ndarray:
    """The stronger of both, pulled to the infrared detail where the visible one is flat."""
    share = gauss((np.abs(ir) < np.abs(vis)).astype(np.float64), 13, 2, "reflect")
    chosen = share * vis + (1 - share) * ir
    pull = LEAST_SQUARES / (np.abs(mean(vis, 7, "nearest")) + 1e-6)
    return (chosen + pull * ir) / (1 + pull)


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    lead = (saliency(ir) - saliency(vis)) / 2
    (ir_details, ir_base), (vis_details, vis_base) = decompose(ir / 255), decompose(vis / 255)
    fused = (0.5 + lead) * ir_base + (0.5 - lead) * vis_base
    fused += np.where(np.abs(ir_details[0]) < np.abs(vis_details[0]), vis_details[0], ir_details[0])
    for a, b in zip(ir_details[1:], vis_details[1:], strict=True):
        fused += fuse_detail(a, b)
    return fused * 255


@NETWORKS.register("vsmwls")
class VSMWLS(Network):
    """Fusion by visual saliency and weighted least squares."""

    learned = False
    about = About(
        paper="Ma, Zhou, Wang, Zong: Infrared and visible image fusion based on visual saliency map and weighted "
        "least square optimization, Infrared Physics & Technology",
        year=2017,
    )
    convention = Convention(rounded_input=True)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
