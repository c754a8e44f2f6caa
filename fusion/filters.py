"""Fixed filters of losses and targets, their kernels made once for each device and type.

A kernel that is made at every call is, on a GPU, a copy that the host waits for and tens of launches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from kornia.filters import filter2d, filter2d_separable, gaussian_blur2d, get_gaussian_kernel1d, get_gaussian_kernel2d
from torch import Tensor


def made_once(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A decorator: make(*arguments, dtype) on the CPU becomes f(like, *arguments), kept for like's device and type."""

    @functools.cache
    def kept(device: torch.device, dtype: torch.dtype, *arguments) -> Tensor:
        with torch.inference_mode(False):  # else no later backward pass could keep it
            return make(*arguments, dtype).to(device)

    return lambda like, *arguments: kept(like.device, like.dtype, *arguments)


@made_once
def sobel_kernels(dtype: torch.dtype) -> Tensor:
    """(2, 1, 3, 3): d/dx and d/dy, not normalised."""
    across = torch.tensor(((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), dtype=dtype)
    return torch.stack((across, across.t()))[:, None]


@made_once
def _sobel_means(dtype: torch.dtype) -> Tensor:
    across = torch.tensor(((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), dtype=dtype) / 8
    return torch.stack((across, across.t()))[:, None]


@made_once
def _gaussian(size: int, sigma: float, dtype: torch.dtype) -> Tensor:
    return get_gaussian_kernel2d((size, size), torch.tensor([(sigma, sigma)], dtype=dtype))


@made_once
def _gaussian_row(size: int, sigma: float, dtype: torch.dtype) -> Tensor:
    return get_gaussian_kernel1d(size, torch.tensor([[sigma]], dtype=dtype))


@made_once
def _pyramid(dtype: torch.dtype) -> Tensor:
    row = torch.tensor((1, 4, 6, 4, 1), dtype=dtype)
    return torch.outer(row, row)[None] / 256


def gaussian(x: Tensor, size: int, sigma: float) -> Tensor:
    """One size x size kernel and not two rows. (B, C, H, W) and back, reflected border."""
    return filter2d(x, _gaussian(x, size, sigma), "reflect")


def gaussian_by_rows(x: Tensor, size: int, sigma: float) -> Tensor:
    """The same by two rows, to rounding, in less time."""
    if x.device.type == "cpu":  # for which kornia has a way of its own
        return gaussian_blur2d(x, (size, size), (sigma, sigma))
    row = _gaussian_row(x, size, sigma)
    return filter2d_separable(x, row, row, "reflect")


def spatial_gradient(x: Tensor) -> Tensor:
    """Sobel's d/dx and d/dy, divided by 8, replicated border: (B, 1, H, W) -> (B, 2, H, W)."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), "replicate"), _sobel_means(x))


def halved(x: Tensor) -> Tensor:
    """The next level of a Gaussian pyramid: (B, C, H, W) -> half the size, rounded down."""
    h, w = x.shape[-2:]
    return F.interpolate(filter2d(x, _pyramid(x), "reflect"), size=(h // 2, w // 2), mode="bilinear")
