"""8-bit pictures on a GPU: the functions of `fusion/images.py` for tensors, in its order of roundings.

One core takes 30 ms for what stands around a network at 640x480, a GPU less than one; and bytes travel, not floats.
Divisors are tensors: by a plain number CUDA multiplies with its rounded reciprocal.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fusion.filters import made_once

RED, GREEN, BLUE = (float(np.float32(share)) for share in (0.299, 0.587, 0.114))
TO_CR, TO_CB = (float(np.float32(share)) for share in (0.713, 0.564))
CR_TO_RED, CR_TO_GREEN, CB_TO_GREEN, CB_TO_BLUE = (float(np.float32(x)) for x in (1.403, -0.714, -0.344, 1.773))


@made_once
def _top(dtype: torch.dtype) -> Tensor:
    return torch.tensor(255, dtype=dtype)


def fma(a: Tensor, b: float, c: Tensor | float) -> Tensor:
    """a b + c of float32, rounded once, as OpenCV computes on processors that can."""
    return (a.double() * b + c).float()


def to_float(image: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1]."""
    levels = image.float()
    return levels / _top(levels)


def luminance(image: Tensor) -> Tensor:
    """(H, W) or (H, W, 3) RGB, uint8 -> (H, W) float32 in [0, 1]."""
    return _luminance(to_float(image))


def _luminance(x: Tensor) -> Tensor:
    if x.ndim == 2:
        return x
    r, g, b = x.unbind(-1)
    return RED * r + GREEN * g + BLUE * b


def rounded_luminance(image: Tensor) -> Tensor:
    """The same in whole 8-bit levels over 255."""
    if image.ndim == 2:
        return to_float(image)
    red, green, blue = image.float().unbind(-1)
    levels = fma(red, RED, fma(blue, BLUE, (green.double() * GREEN).float())).round()
    return levels / _top(levels)


def recolour(fused: Tensor, source: Tensor, how: Literal["ycrcb", "shift"]) -> Tensor:
    """Fused luminance (H, W) in the colour of source (H, W, 3), float32 in [0, 1]; `ycrcb8` is not to be had."""
    if how == "shift":
        return (source + (fused - _luminance(source))[..., None]).clip(0, 1)
    red, green, blue = source.unbind(-1)
    y = fma(red, RED, fma(green, GREEN, blue * BLUE))
    cr, cb = fma(red - y, TO_CR, 0.5) - 0.5, fma(blue - y, TO_CB, 0.5) - 0.5
    rgb = fma(cr, CR_TO_RED, fused), fma(cr, CR_TO_GREEN, fma(cb, CB_TO_GREEN, fused)), fma(cb, CB_TO_BLUE, fused)
    return torch.stack(rgb, dim=-1).clip(0, 1)


def to_uint8(image: Tensor, quantise: Literal["round", "truncate"] = "round") -> Tensor:
    """Float in [0, 1] -> uint8, to the nearest level or to the one below."""
    levels = image * 255
    return (levels.round() if quantise == "round" else levels.floor()).to(torch.uint8)
