"""HMSD_GF: a hybrid multi-scale decomposition by guided filters that injects the infrared's perceptible details.

Zhou, Dong, Xie, Gao, "Fusion of infrared and visible images for night-vision context enhancement", Applied Optics
2016, as the benchmark VIFB (CVPR Workshops 2020) ran it, brightening by 275/255 included. Planes are on the scale 0..1
but where said. What differs: identical sources come out as they are (0/0 there), constant pictures take the least
enhancement.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from scipy.ndimage import correlate1d
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import gauss, guided_filter, plane_by_plane, ratio
from fusion.registry import NETWORKS

RADII = (2, 4, 8, 16)  # pixels
EDGES = (0.1, 0.05, 0.025, 0.0125)  # what is kept as an edge at each scale
NO_EDGE = 100.0  # larger than any edge: plain smoothing
BLOCK = 40  # pixels, side of a block whose contrast is judged


def perceptual_saliency(levels: ndarray) -> ndarray:
    """Mean contrast that the eye perceives, blocks with strong gradients counting more; levels in 0..255.

    The contrast sensitivity is Mannos and Sakrison's (IEEE Trans. Information Theory 1974). NaN for constant pictures.
    """
    gradients = (correlate1d(correlate1d(levels, [-1, 0, 1], a), [1, 2, 1], 1 - a)[1:-1, 1:-1] for a in (0, 1))
    energy = sum(g**2 for g in gradients)
    inner, weighted, weights = levels[1:-1, 1:-1], 0.0, 0.0
    for y in range(0, inner.shape[0], BLOCK):
        for x in range(0, inner.shape[1], BLOCK):
            weight = energy[y : y + BLOCK, x : x + BLOCK].sum()
            weighted += weight * perceived_contrast(inner[y : y + BLOCK, x : x + BLOCK])
            weights += weight
    return weighted / weights if weights else np.nan


def perceived_contrast(block: ndarray) -> float:
    m, n = block.shape
    v, u = ((np.arange(side) - side // 2) * 2 / side for side in (m, n))
    frequency = 16 * np.hypot(v[:, None], u)  # cycles per degree
    sensitivity = 2.6 * (0.0192 + 0.114 * frequency) * np.exp(-((0.114 * frequency) ** 1.1))
    return np.linalg.norm(np.fft.fftshift(np.fft.fft2(block)) * sensitivity) / (m * n)


def enhancement(ir: ndarray, vis: ndarray) -> float:
    """100 to 2000: how decidedly infrared details are taken; the more, the more visible they are. Levels 0..255."""
    of_vis = perceptual_saliency(vis)
    relative = perceptual_saliency(ir) / of_vis if of_vis else np.nan
    if np.isnan(relative) or relative < 0.8:
        return 100.0
    return 2000.0 if relative > 1.6 else 2500 * relative - 1900


def decompose(plane: ndarray) -> list[tuple[ndarray, ndarray, ndarray]]:
    """Finest first: texture that an edge-preserving filter removes, edges that it keeps, and the smooth rest."""
    smooth, kept, levels = plane, plane, []
    for radius, edge in zip(RADII, EDGES, strict=True):
        before = smooth
        smooth = guided_filter(smooth, smooth, radius, NO_EDGE**2)
        kept = guided_filter(kept, kept, radius, edge**2)
        levels.append((before - kept, kept - smooth, smooth))
    return levels


def fuse(ir: ndarray, vis: ndarray) -> ndarray:
    strength = enhancement(ir, vis)
    levels = list(zip(decompose(ir / 255), decompose(vis / 255), strict=True))
    fused = None
    for (ir_texture, ir_edges, ir_smooth), (texture, edges, smooth) in reversed(levels[1:]):
        lead = np.maximum(np.abs(ir_edges) - np.abs(edges), 0)
        share = np.arctan(strength * ratio(lead, np.full_like(lead, lead.max()))) / np.arctan(strength)
        if fused is None:
            wide = gauss(share, 385, 64, "reflect")
            fused = wide * ir_smooth + (1 - wide) * smooth
        share = gauss(share, 7, 1, "reflect")
        fused += share * ir_edges + (1 - share) * edges
        fused += share * ir_texture + (1 - share) * texture
    (ir_texture, ir_edges, _), (texture, edges, _) = levels[0]
    share = gauss((np.abs(edges) < np.abs(ir_edges)).astype(np.float64), 7, 1, "reflect")
    fused += share * ir_edges + (1 - share) * edges
    fused += np.where(np.abs(texture) < np.abs(ir_texture), ir_texture, texture)
    return 275 * fused


@NETWORKS.register("hmsd_gf")
class HMSDGF(Network):
    """Hybrid multi-scale decomposition with guided filters."""

    learned = False
    about = About(
        paper="Zhou, Dong, Xie, Gao: Fusion of infrared and visible images for night-vision context enhancement, "
        "Applied Optics",
        year=2016,
    )
    convention = Convention(rounded_input=True)
    min_size = 3

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
