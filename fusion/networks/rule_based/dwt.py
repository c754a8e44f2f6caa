"""DWT: the Haar wavelet transform, four levels; details by the larger magnitude around, the coarsest rest as a mean.

The textbook method (rules as in `lp.py`). The transform is written out because its sums of whole levels, halved, are
exact: in flat areas both sources' coefficients are then truly equal. With factors of 1/sqrt(2), as wavelet libraries
have them, rounding decides there, and up to a sixth of the pixels comes from the other source.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from torch import Tensor

from fusion.networks.base import Convention, Network
from fusion.networks.rule_based.planes import plane_by_plane, stronger
from fusion.registry import NETWORKS

LEVELS = 4


def forward(plane: ndarray) -> tuple[ndarray, list[ndarray]]:
    """Half the size: the rest, and three details. Of odd sides the last row or column counts twice."""
    h, w = plane.shape
    plane = np.pad(plane, ((0, h % 2), (0, w % 2)), mode="edge")
    p, q, r, t = plane[::2, ::2], plane[::2, 1::2], plane[1::2, ::2], plane[1::2, 1::2]
    return (p + q + r + t) / 2, [(p - q + r - t) / 2, (p + q - r - t) / 2, (p - q - r + t) / 2]


def inverse(rest: ndarray, details: list[ndarray]) -> ndarray:
    a, b, c = details
    plane = np.empty((2 * rest.shape[0], 2 * rest.shape[1]))
    plane[::2, ::2], plane[::2, 1::2] = (rest + a + b + c) / 2, (rest - a + b - c) / 2
    plane[1::2, ::2], plane[1::2, 1::2] = (rest + a - b - c) / 2, (rest - a - b + c) / 2
    return plane


def fuse(ir: ndarray, vis: ndarray, levels: int = LEVELS) -> ndarray:
    if not levels:
        return (ir + vis) / 2
    h, w = ir.shape
    (ir_rest, ir_details), (vis_rest, vis_details) = forward(ir), forward(vis)
    details = [stronger(a, b) for a, b in zip(ir_details, vis_details, strict=True)]
    return inverse(fuse(ir_rest, vis_rest, levels - 1), details)[:h, :w]


@NETWORKS.register("dwt")
class DWT(Network):
    """Haar wavelet fusion."""

    learned = False
    convention = Convention(rounded_input=True)
    min_size = 17

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
