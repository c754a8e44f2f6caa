"""Strips of rows: how features of a large picture pass through 3x3 convolutions without ever being whole.

A stage gets rows from the top of the picture to its bottom, some at a time, and gives rows in the same order, one row
later for every 3x3 convolution in it. Rows are tensors (rows, w, c). Temporaries have the size of a strip, so they
stay in the processor's cache and their memory is used again.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

PIXELS = {"cpu": 8192, "cuda": 2**20}
"""Of a strip: enough to keep the threads busy, few enough for the cache of a CPU."""

LEAST_ROWS = 8
"""Stages in a row start with two rows less each: this leaves the last of three its two."""


def rows_of(w: int, device: str) -> int:
    """Rows of a strip of a picture w pixels wide."""
    return max(LEAST_ROWS, PIXELS.get(device, PIXELS["cuda"]) // w)


def strips(h: int, rows: int) -> Iterator[tuple[int, int]]:
    """The rows [a, b) of each strip."""
    return ((a, min(a + rows, h)) for a in range(0, h, rows))


class Window:
    """The rows that a 3x3 convolution needs: those of the strip at hand, the two before it, the picture's border.

    Call `room` for where the rows [a, b) shall be written, then `convolve`, which gives rows [a - 1, b - 1): from 0 on
    and, once b = h, to h.

    border: `zeros` or `reflect` (without repeating the edge).
    """

    def __init__(self, *, rows: int, h: int, w: int, c: int, like: Tensor, border: str = "zeros"):
        self.h = h
        self.side = border == "reflect"  # columns that zero padding gets from the convolution itself
        self.buffer = like.new_empty(min(rows, h) + 9, w + 2 * self.side, c)
        self.n = 0

    def room(self, a: int, b: int) -> Tensor:
        """(b - a, w, c), not contiguous where the border is reflected."""
        if a:
            self.buffer[:2] = self.buffer[self.n : self.n + 2]
        self.a, self.b, self.n = a, b, b - a
        rows = self.buffer[2 : 2 + self.n]
        return rows[:, 1:-1] if self.side else rows

    def convolve(self, weight: Tensor, groups: int = 1) -> Tensor:
        """weight: (o, c / groups, 3, 3). Returns (rows, w, o)."""
        buffer, n = self.buffer, self.n
        start, end = int(self.a == 0), n + 2 + int(self.b == self.h)
        if self.side:
            buffer[2 : 2 + n, 0], buffer[2 : 2 + n, -1] = buffer[2 : 2 + n, 2], buffer[2 : 2 + n, -3]
        if self.a == 0:
            buffer[1] = buffer[3] if self.side else 0
        if self.b == self.h:
            buffer[2 + n] = buffer[n] if self.side else 0
        rows = buffer[None, start:end].permute(0, 3, 1, 2)
        padding = (0, 0 if self.side else 1)
        return F.conv2d(rows, weight, padding=padding, groups=groups).permute(0, 2, 3, 1)[0]

    def given(self) -> tuple[int, int]:
        """The rows that `convolve` gives."""
        return max(self.a - 1, 0), self.b - (self.b < self.h)


def pixels(rows: Tensor) -> Tensor:
    """(rows, w, c) -> (rows * w, c), always a view."""
    return rows.view(-1, rows.shape[-1])


def convolve_whole(x: Tensor, weight: Tensor, a: int, b: int) -> Tensor:
    """Rows [a, b) of a 3x3 convolution of a whole map x (1, c, h, w) with zeros around it: (1, o, b - a, w)."""
    top, bottom = max(a - 1, 0), min(b + 1, x.shape[2])
    y = F.conv2d(x[:, :, top:bottom], weight, padding=1)
    return y[:, :, a - top : b - top]


def matrix(weight: Tensor) -> Tensor:
    """A linear layer's weight as what pixel rows are multiplied with from the right."""
    return weight.detach().t().clone(memory_format=torch.contiguous_format)


def kernel(weight: Tensor) -> Tensor:
    """A convolution's weight in the order that pixel rows want."""
    return weight.detach().clone(memory_format=torch.channels_last)
