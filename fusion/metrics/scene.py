"""One scene: a fused picture with its two sources, and all that metrics have computed of them so far.

Metrics share a lot (histograms, gradients, window moments). What is worth keeping is a function of a scene marked
`@shared`: it runs once per scene, whoever asks first. A metric stays a pure function of three pictures. No paper here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from fusion.metrics.arrays import Array, is_tensor

PLACES = ("fused", "ir", "vis")
SOURCES = ("ir", "vis")


class Scene:
    """Three luminance pictures (H, W) of one size in 0..255, as float64.

    Takes arrays of any type and memory order, or tensors, which stay on their device. Raises ValueError for pictures
    that are not 2-D, of different sizes, not finite, or whole numbers of more than 8 bits.
    """

    def __init__(self, fused: Any, ir: Any, vis: Any):
        self.pictures: dict[str, Array] = {}
        for place, given in zip(PLACES, (fused, ir, vis), strict=True):
            self.pictures[place] = _luminance(place, given)
            (h, w), (h0, w0) = self.pictures[place].shape, self.pictures["fused"].shape
            if (h, w) != (h0, w0):
                raise ValueError(f"fused is {h0}x{w0} but {place} is {h}x{w}: bring all three to one size first")
        self._results: dict[Hashable, Any] = {}

    @property
    def fused(self) -> Array:
        return self.pictures["fused"]

    @property
    def ir(self) -> Array:
        return self.pictures["ir"]

    @property
    def vis(self) -> Array:
        return self.pictures["vis"]

    @property
    def sources(self) -> tuple[Array, Array]:
        return self.ir, self.vis

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self.fused.shape)

    @property
    def size(self) -> int:
        """Pixels."""
        h, w = self.shape
        return h * w


def shared(function: Callable) -> Callable:
    """A decorator: `function(scene, *arguments)` is computed once per scene and set of arguments, then remembered."""

    @functools.wraps(function)
    def once(scene: Scene, *arguments: Hashable):
        key = (function, *arguments)
        if key not in scene._results:
            scene._results[key] = function(scene, *arguments)
        return scene._results[key]

    return once


def _luminance(place: str, given: Any) -> Array:
    """`given` as contiguous float64 (H, W), or a ValueError that says what does not fit."""
    shape = tuple(np.shape(given))
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{place} has shape {shape}, expected (H, W): convert it to luminance first")
    if is_tensor(given):
        image = given.detach().double().contiguous()
        whole, finite = not given.is_floating_point(), bool(image.isfinite().all())
    else:
        image = np.ascontiguousarray(given, dtype=np.float64)
        whole, finite = np.asarray(given).dtype.kind in "iu", bool(np.isfinite(image).all())
    if not finite:
        raise ValueError(f"{place} holds NaN or infinity, expected luminance in 0..255: clean the picture first")
    if whole and image.max() > 255:
        raise ValueError(
            f"{place} has levels up to {image.max():.0f}, expected luminance in 0..255: "
            "bring 16-bit pictures to 8 bits first (fusion.images.grey_levels)"
        )
    return image
