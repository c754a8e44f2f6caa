"""Parts that several published networks share. (b, c, h, w) in and out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LearnedSobel(nn.Module):
    """|x * kx| + |x * ky| per channel, on a border of zeros; the kernels start as Sobel's and are trained."""

    def __init__(self, *, channels: int):
        super().__init__()
        sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.kx, self.ky = (nn.Parameter(kernel.repeat(channels, 1, 1, 1)) for kernel in (sobel, sobel.T))

    def forward(self, x: Tensor) -> Tensor:
        return sum(F.conv2d(x, kernel, padding=1, groups=len(kernel)).abs() for kernel in (self.kx, self.ky))


def gray(picture: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) -> (b, 1, h, w): BT.601's luminance of RGB."""
    if picture.shape[1] == 1:
        return picture
    red, green, blue = picture.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue
