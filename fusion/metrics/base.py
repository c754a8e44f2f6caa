"""What a metric is: a pure function of three pictures plus what tables need to know about it.

The same short name means different formulas in different papers ("SSIM" has at least three). A *profile* is one
convention for all of them, and a metric is registered under `profile/name`, e.g. `cddfuse/SSIM`. A further profile is
further decorated functions; nothing else has to learn about it. No paper here; sources stand with each metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from fusion.registry import METRICS, UnknownName, did_you_mean

PLACES = ("fused", "ir", "vis")


@dataclass(frozen=True)
class Metric:
    """One metric in one convention; call it as `metric(fused, ir, vis) -> float`.

    `function` takes three float64 (H, W) arrays in 0..255 and trusts them; the call checks and converts first.
    """

    name: str  # as in the table heading: "SSIM"
    profile: str  # the convention it follows: "cddfuse"
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    higher_is_better: bool | None  # None: neither direction is better
    source: str  # the paper that defines it
    smallest: int = 1  # pixels; the smallest side it is defined for
    unit: str = ""  # empty: a pure number
    range: tuple[float, float] = (-math.inf, math.inf)  # for pictures in 0..255
    note: str = ""  # where this convention leaves `source`, fit for a footnote
    column: int | None = None  # place in the profile's table; None: after those that have one

    @property
    def key(self) -> str:
        """The name in METRICS: `profile/name`."""
        return f"{self.profile}/{self.name}"

    def __call__(self, fused, ir, vis) -> float:
        """The value for luminance pictures (H, W) of any dtype in 0..255.

        Raises ValueError for pictures that are not 2-D, of different sizes, not finite, or smaller than `smallest`.
        """
        return self.measure(*luminances(fused, ir, vis))

    def measure(self, fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
        """The value for what `luminances` returned: the way to score one triple with many metrics."""
        h, w = fused.shape
        if min(h, w) < self.smallest:
            n = self.smallest
            raise ValueError(
                f"{self.name} needs at least {n}x{n} pixels, got {h}x{w}: use larger pictures or leave {self.name} out"
            )
        return float(self.function(fused, ir, vis))


def luminances(fused, ir, vis) -> list[np.ndarray]:
    """The three pictures as contiguous float64 (H, W) arrays, or a ValueError that says which one does not fit."""
    images = [np.ascontiguousarray(image, dtype=np.float64) for image in (fused, ir, vis)]
    for place, given, image in zip(PLACES, (fused, ir, vis), images, strict=True):
        if np.ndim(given) != 2:  # ascontiguousarray makes a scalar 1-D
            raise ValueError(f"{place} has shape {np.shape(given)}, expected (H, W): convert it to luminance first")
        if image.shape != images[0].shape:
            raise ValueError(
                f"fused is {_size(images[0])} but {place} is {_size(image)}: bring all three to one size first"
            )
        if not np.isfinite(image).all():
            raise ValueError(f"{place} holds NaN or infinity, expected luminance in 0..255: clean the picture first")
    return images


def _size(image: np.ndarray) -> str:
    return "{}x{}".format(*image.shape)


def metric(name: str, *, profile: str, higher_is_better: bool | None, source: str, **details) -> Callable:
    """A decorator that registers a function of (fused, ir, vis) as METRICS["profile/name"] and returns it unchanged.

    `details` are the other fields of `Metric`. Two profiles that agree on a formula stack two decorators.
    """

    def register(function):
        made = Metric(name, profile, function, higher_is_better, source, **details)
        METRICS.register(made.key)(made)
        return function

    return register


def profiles() -> list[str]:
    """The known conventions, sorted."""
    return sorted({m.profile for m in METRICS.values()})


def profile(name: str) -> dict[str, Metric]:
    """Every metric of one convention by its short name: the columns of its table first, then the others."""
    found = [m for m in METRICS.values() if m.profile == name]
    if not found:
        known = profiles()
        raise UnknownName(
            f"No metric profile named '{name}'. Known: {', '.join(known) or 'none'}.{did_you_mean(str(name), known)}"
        )
    found.sort(key=lambda m: math.inf if m.column is None else m.column)  # stable: else in order of registration
    return {m.name: m for m in found}


def select(profile_name: str, names: Iterable[str] | None = None) -> dict[str, Metric]:
    """The metrics of a profile called `names`, in that order; all of them in table order for None."""
    known = profile(profile_name)
    if names is None:
        return known
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in known:
            raise UnknownName(
                f"No metric named '{name}' in profile '{profile_name}'. Known: {', '.join(known)}."
                f"{did_you_mean(str(name), known)}"
            )
    return {name: known[name] for name in names}
