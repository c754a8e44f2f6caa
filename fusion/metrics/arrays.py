"""Filters and counts for arrays of numpy and tensors of torch, so that a formula is written once for both.

numpy is the fast way on a processor (its filters are OpenCV's), torch the way onto a GPU. Both compute in float64;
torch is imported only by who hands in tensors. No paper here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

Array = Any  # numpy.ndarray or torch.Tensor, (H, W) float64 where nothing else is said
ROWS = 96


def is_tensor(x: Any) -> bool:
    return type(x).__module__.split(".")[0] == "torch"


def library(x: Array):
    """numpy or torch: whose array `x` is. Only names that both have are used of it."""
    if is_tensor(x):
        import torch

        return torch
    return np


def bands(*images: Array, window: int, rows: int = ROWS) -> Iterator[tuple[Array, ...]]:
    """Views of the same rows of all `images` (H, W), such that every `window` rows in a row lie in exactly one band.

    Full-size intermediate arrays cost more than the arithmetic on them (fresh memory is mapped page by page); bands
    fit the processor's cache. A tensor is one band: a GPU wants it whole.
    """
    h = images[0].shape[0]
    rows = h if is_tensor(images[0]) else rows
    for top in range(0, h - window + 1, rows):
        yield tuple(image[top : top + rows + window - 1] for image in images)


def windowed(image: Array, down: np.ndarray, across: np.ndarray) -> Array:
    """Weighted sum over every window that lies inside (H, W), weights down[y] * across[x], not mirrored.

    Returns (H - len(down) + 1, W - len(across) + 1).
    """
    if is_tensor(image):
        import torch

        down, across = (torch.from_numpy(np.array(k)).to(image) for k in (down, across))
        rows = torch.nn.functional.conv2d(image[None, None], down[None, None, :, None])
        return torch.nn.functional.conv2d(rows, across[None, None, None])[0, 0]
    return _inside(cv2.sepFilter2D(image, cv2.CV_64F, across, down), len(down), len(across))


def window_sums(image: Array, size: int) -> Array:
    """Sum over every size x size square that lies inside (H, W); exact for whole grey levels."""
    if is_tensor(image):
        return windowed(image, np.ones(size), np.ones(size))
    return _inside(cv2.boxFilter(image, cv2.CV_64F, (size, size), normalize=False), size, size)


def _inside(filtered: np.ndarray, down: int, across: int) -> np.ndarray:
    """Of OpenCV's output (H, W) those pixels whose window lay inside the picture, a view."""
    (h, w), top, left = filtered.shape, down // 2, across // 2
    return filtered[top : top + h - down + 1, left : left + w - across + 1]


@functools.cache
def gaussian(size: int, sigma: float) -> np.ndarray:
    """`size` taps of a Gaussian, of sum 1."""
    t = np.arange(size) - size // 2
    taps = np.exp(-0.5 * (t / sigma) ** 2)
    taps /= taps.sum()
    taps.flags.writeable = False  # it is everybody's
    return taps


def padded(image: Array, n: int, mode: str) -> Array:
    """(H + 2 n, W + 2 n): `image` in a frame of zeros (`constant`) or of its own border pixels (`edge`)."""
    if is_tensor(image):
        import torch

        mode = {"constant": "constant", "edge": "replicate"}[mode]
        return torch.nn.functional.pad(image[None, None], (n, n, n, n), mode=mode)[0, 0]
    return np.pad(image, n, mode=mode)


def ratio(a: Array, b: Array, otherwise: float) -> Array:
    """a / b, and `otherwise` where b is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return library(b).where(b != 0, a / b, otherwise)


def dot(x: Array, y: Array) -> float:
    """Sum of x * y over all pixels."""
    return float(x.ravel() @ y.ravel())


def grey_levels(image: Array) -> Array | None:
    """The flat uint8 levels of a picture that holds whole grey levels 0..255 only; None for any other."""
    if is_tensor(image):
        levels = image.byte()
    else:
        with np.errstate(invalid="ignore"):  # what lies outside 0..255 becomes anything, which the comparison sees
            levels = image.astype(np.uint8)
    return levels.ravel() if bool((levels == image).all()) else None


def counted(levels: Array, bins: int) -> Array:
    """How often each of 0..bins-1 occurs in flat integers, as float64."""
    return _float64(library(levels).bincount(levels, minlength=bins))


def counted_distinct(values: Array) -> Array:
    """How often each distinct value occurs, as float64."""
    return _float64(library(values).unique(values, return_counts=True)[1])


def labelled(image: Array) -> tuple[Array, int]:
    """Every pixel's rank among the distinct values of (H, W) as flat int64, and how many values there are."""
    values, ranks = library(image).unique(image.ravel(), return_inverse=True)
    return ranks.ravel(), len(values)


def paired(a: Array, b: Array) -> Array:
    """256 a + b of two flat uint8 arrays, in a type that holds it."""
    return a.int() * 256 + b if is_tensor(a) else (a.astype(np.uint16) << 8) | b


def _float64(x: Array) -> Array:
    return x.double() if is_tensor(x) else x.astype(np.float64)
