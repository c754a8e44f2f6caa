"""FPDE: a fourth-order partial differential equation splits each source, Karhunen-Loeve weights join the details.

Bavirisetti, Xiao, Liu, "Multi-sensor image fusion based on fourth order partial differential equations", FUSION 2017,
as the benchmark VIFB (CVPR Workshops 2020) ran it; its bases are 8-bit pictures.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import karhunen_loeve, plane_by_plane, whole_levels
from fusion.registry import NETWORKS

STEPS = 15
RATE = 0.9
EDGE = 4.0  # curvature in gray levels


def second(plane: ndarray, axis: int) -> ndarray:
    """The central difference (one-sided at the ends), twice."""
    return np.gradient(np.gradient(plane, axis=axis), axis=axis)


def diffuse(plane: ndarray) -> ndarray:
    """You and Kaveh's diffusion; in whole levels at the end."""
    for _ in range(STEPS):
        x, y = second(plane, 1), second(plane, 0)
        flow = 1 / (1 + (x**2 + y**2) / EDGE**2)
        plane = plane - RATE * (second(flow * x, 1) + second(flow * y, 0))
    return whole_levels(plane)


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    ir_base, vis_base = diffuse(ir), diffuse(vis)
    base = np.minimum(255, whole_levels(ir_base / 2) + whole_levels(vis_base / 2))
    return karhunen_loeve(ir - ir_base, vis - vis_base) + base


@NETWORKS.register("fpde")
class FPDE(Network):
    """Fusion by a fourth-order partial differential equation."""

    learned = False
    about = About(
        paper="Bavirisetti, Xiao, Liu: Multi-sensor image fusion based on fourth order partial differential equations, "
        "FUSION",
        year=2017,
    )
    convention = Convention(rounded_input=True)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
