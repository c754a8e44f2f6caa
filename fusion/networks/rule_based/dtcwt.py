"""DTCWT: the dual-tree complex wavelet transform, four levels; coefficients by the larger modulus around.

Selesnick, Baraniuk, Kingsbury, IEEE Signal Processing Magazine 2005; filters LeGall 5/3 on the first level, Kingsbury's
q-shift filters of 10 taps (6 not zero) on the others. The textbook method: rules as in `lp.py`, the coarsest rest as a
mean. Written out, because no kept library offers it. Every one-dimensional step is a sparse matrix; sides are extended
by mirroring with the edge sample twice.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy import ndarray
from scipy.sparse import csr_matrix
from torch import Tensor

from fusion.networks.base import About, Convention, Network
from fusion.networks.rule_based.planes import plane_by_plane, stronger
from fusion.registry import NETWORKS

LEVELS = 4

LOW, HIGH = np.array([-1, 2, 6, 2, -1]) / 8, np.array([-1, 2, -1]) / 4
LOW_BACK, HIGH_BACK = np.array([1, 2, 1]) / 4, np.array([-1, -2, 6, -2, -1]) / 8

# Tree a and tree b are each other's reverse; high-pass filters are low-pass ones with alternating signs.
LOW_A = np.array(
    [
        *(0.03516383657149474, 0.0, -0.08832942445107285, 0.23389032060723564, 0.7602723690661257),
        *(0.5875182977235605, 0.0, -0.11430183714424873, 0.0, 0.0),
    ]
)
LOW_B = LOW_A[::-1]
HIGH_B = LOW_A * (-1.0) ** (np.arange(10) + 1)
HIGH_A = HIGH_B[::-1]


def matrix(n: int, rows: int, entries: list[tuple[int, int, int, ndarray]]) -> csr_matrix:
    """(rows, n). Each entry (first row, step of rows, first sample, taps) puts taps into every step-th row: the taps
    go back by two samples each, and the samples go on by n / rows a row."""
    y, x, value = [], [], []
    for first_row, step, first_sample, taps in entries:
        index = np.arange(first_row, rows, step)
        samples = first_sample + (index - first_row)[:, None] * n // rows - 2 * np.arange(len(taps))
        samples = samples % (2 * n)
        y.append(np.repeat(index, len(taps)))
        x.append(np.where(samples < n, samples, 2 * n - 1 - samples).ravel())
        value.append(np.tile(taps, len(index)))
    return csr_matrix((np.concatenate(value), (np.concatenate(y), np.concatenate(x))), shape=(rows, n))


def centred(n: int, taps: ndarray) -> csr_matrix:
    """(n, n): a convolution; the taps are symmetric."""
    half = len(taps) // 2
    samples = (np.arange(n)[:, None] + np.arange(-half, half + 1)) % (2 * n)
    columns = np.where(samples < n, samples, 2 * n - 1 - samples)
    return csr_matrix((np.tile(taps, n), (np.repeat(np.arange(n), len(taps)), columns.ravel())), shape=(n, n))


@cache
def analysis(n: int, level: int) -> tuple[csr_matrix, csr_matrix]:
    """Low and high pass of n samples: (n, n) on the first level, (n / 2, n) on the others, n a multiple of 4."""
    if level == 1:
        return centred(n, LOW), centred(n, HIGH)
    low = matrix(n, n // 2, [(0, 2, 10, LOW_B), (1, 2, 11, LOW_A)])
    high = matrix(n, n // 2, [(1, 2, 10, HIGH_B), (0, 2, 11, HIGH_A)])
    return low, high


@cache
def synthesis(n: int, level: int) -> tuple[csr_matrix, csr_matrix]:
    """What brings low and high pass of n samples back: (n, n) on the first level, (2 n, n) on the others."""
    if level == 1:
        return centred(n, LOW_BACK), centred(n, HIGH_BACK)
    # Tree b comes back by tree a's filter.
    low = [(0, 4, 4, LOW_A[::2]), (2, 4, 4, LOW_A[1::2]), (1, 4, 5, LOW_B[::2]), (3, 4, 5, LOW_B[1::2])]
    high = [(0, 4, 5, HIGH_A[::2]), (2, 4, 5, HIGH_A[1::2]), (1, 4, 4, HIGH_B[::2]), (3, 4, 4, HIGH_B[1::2])]
    return matrix(n, 2 * n, low), matrix(n, 2 * n, high)


def to_complex(band: ndarray) -> ndarray:
    """(2 h, 2 w) real -> (2, h, w) complex: two directions."""
    a, b, c, d = band[::2, ::2], band[::2, 1::2], band[1::2, ::2], band[1::2, 1::2]
    return np.stack((a - d + 1j * (b + c), a + d + 1j * (b - c))) / np.sqrt(2)


def to_real(pair: ndarray) -> ndarray:
    plus, minus = (pair[0] + pair[1]) / np.sqrt(2), (pair[1] - pair[0]) / np.sqrt(2)
    band = np.empty((2 * pair.shape[1], 2 * pair.shape[2]))
    band[::2, ::2], band[::2, 1::2], band[1::2, ::2], band[1::2, 1::2] = plus.real, plus.imag, -minus.imag, minus.real
    return band


def forward(plane: ndarray, level: int) -> tuple[ndarray, list[ndarray]]:
    """The rest, and three bands of two directions each."""
    if level == 1:
        plane = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
    else:
        plane = np.pad(plane, [(1, 1) if side % 4 else (0, 0) for side in plane.shape], mode="edge")
    (low_y, high_y), (low_x, high_x) = (analysis(side, level) for side in plane.shape)
    low, high = low_y @ plane, high_y @ plane
    bands = (low @ high_x.T, high @ low_x.T, high @ high_x.T)
    return low @ low_x.T, [to_complex(band) for band in bands]


def inverse(rest: ndarray, bands: list[ndarray], level: int, shape: tuple[int, int]) -> ndarray:
    """`shape`: of the plane that `forward` took, which it may have extended."""
    (low_y, high_y), (low_x, high_x) = (synthesis(side, level) for side in rest.shape)
    low_high, high_low, high_high = (to_real(band) for band in bands)
    plane = low_y @ (rest @ low_x.T + low_high @ high_x.T) + high_y @ (high_low @ low_x.T + high_high @ high_x.T)
    top, left = ((extended - side) // 2 for extended, side in zip(plane.shape, shape, strict=True))
    return plane[top : top + shape[0], left : left + shape[1]]


def fuse(ir: ndarray, vis: ndarray, level: int = 1) -> ndarray:
    if level > LEVELS:
        return (ir + vis) / 2
    (ir_rest, ir_bands), (vis_rest, vis_bands) = forward(ir, level), forward(vis, level)
    bands = [
        np.stack([stronger(a, b) for a, b in zip(ir_band, vis_band, strict=True)])
        for ir_band, vis_band in zip(ir_bands, vis_bands, strict=True)
    ]
    return inverse(fuse(ir_rest, vis_rest, level + 1), bands, level, ir.shape)


@NETWORKS.register("dtcwt")
class DTCWT(Network):
    """Dual-tree complex wavelet fusion."""

    learned = False
    about = About(
        paper="Selesnick, Baraniuk, Kingsbury: The dual-tree complex wavelet transform, "
        "IEEE Signal Processing Magazine",
        year=2005,
    )
    convention = Convention(rounded_input=True)
    min_size = 17

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        return plane_by_plane(fuse, ir, vis)
