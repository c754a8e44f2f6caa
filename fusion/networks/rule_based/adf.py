"""ADF: anisotropic diffusion splits each source, Karhunen-Loeve weights join the details.

Bavirisetti, Dhuli, "Fusion of infrared and visible sensor images based on anisotropic diffusion and Karhunen-Loeve
transform", IEEE Sensors Journal 2016, as the benchmark VIFB (CVPR Workshops 2020) ran it. Of colour pictures VIFB fuses
R, G and B one by one; here it is luminance, as everywhere in this project.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import karhunen_loeve, plane_by_plane
from fusion.registry import NETWORKS

STEPS = 10
RATE = 0.15
EDGE = 30.0  # gray levels; a difference larger than this hardly flows
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def diffuse(plane: ndarray) -> ndarray:
    """Perona and Malik's diffusion with eight neighbours, diagonal ones counted half; outside the picture is 0."""
    h, w = plane.shape
    for _ in range(STEPS):
        padded, flow = np.pad(plane, 1), np.zeros_like(plane)
        for y, x in NEIGHBOURS:
            difference = padded[1 + y : 1 + y + h, 1 + x : 1 + x + w] - plane
            flow += (0.5 if y and x else 1.0) * np.exp(-((difference / EDGE) ** 2)) * difference
        plane = plane + RATE * flow
    return plane


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    ir_base, vis_base = diffuse(ir), diffuse(vis)
    return karhunen_loeve(ir - ir_base, vis - vis_base) + (ir_base + vis_base) / 2


@NETWORKS.register("adf")
class ADF(Network):
    """Anisotropic diffusion fusion."""

    learned = False
    about = About(
        paper="Bavirisetti, Dhuli: Fusion of infrared and visible sensor images based on anisotropic diffusion and "
        "Karhunen-Loeve transform, IEEE Sensors Journal",
        year=2016,
    )
    convention = Convention(rounded_input=True)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
