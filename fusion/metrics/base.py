"""What a metric is: a pure function of three pictures plus what tables need to know about it.

The same short name means different formulas in different papers ("SSIM" has at least four). A *profile* is one
convention for all of them, and a metric is registered under `profile/name`, e.g. `cddfuse/SSIM`. A further profile is
further decorated functions; nothing else has to learn about it. No paper here; sources stand with each metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fusion.metrics.scene import Scene
from fusion.registry import METRICS, UnknownName, did_you_mean

ALL = "all"  # as the name of a profile: every metric of every profile, named `profile/name`

LEFT_OUT: dict[str, str] = {}
"""`profile/name` -> why a metric that one expects there is not: a fact that could not be had."""


@dataclass(frozen=True)
class Metric:
    """One metric in one convention; call it as `metric(fused, ir, vis) -> float`."""

    name: str  # as in the table heading: "SSIM"
    profile: str  # the convention it follows: "cddfuse"
    function: Callable[[Scene], float]
    higher_is_better: bool | None  # None: neither direction is better
    source: str  # the paper that defines it
    smallest: int = 1  # pixels; the smallest side it is defined for
    unit: str = ""  # empty: a pure number
    range: tuple[float, float] = (-math.inf, math.inf)  # for pictures in 0..255
    note: str = ""  # where this convention leaves `source`, fit for a footnote
    column: int | None = None  # place in tables; None: after those that have one

    @property
    def key(self) -> str:
        """The name in METRICS: `profile/name`."""
        return f"{self.profile}/{self.name}"

    def __call__(self, fused, ir, vis) -> float:
        """The value for luminance pictures (H, W) in 0..255, arrays of any type or torch tensors.

        Raises ValueError for pictures that do not fit (see `Scene`) or are smaller than `smallest`.
        """
        return self.measure(Scene(fused, ir, vis))

    def measure(self, scene: Scene) -> float:
        """The value for a scene: the way to score one triple with many metrics, which share what they compute."""
        if not self.fits(scene.shape):
            n, (h, w) = self.smallest, scene.shape
            raise ValueError(
                f"{self.name} needs at least {n}x{n} pixels, got {h}x{w}: use larger pictures or leave {self.name} out"
            )
        return float(self.function(scene))

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether pictures of this (H, W) are large enough."""
        return min(shape) >= self.smallest


def metric(
    name: str, *, profile: str | tuple[str, ...], higher_is_better: bool | None, source: str, **details
) -> Callable:
    """A decorator that registers a function of a scene as METRICS["profile/name"] and returns it unchanged.

    `profile`: one, or those that agree. `details` are the other fields of `Metric`; profiles that agree on the formula
    and not on these stack decorators.
    """

    def register(function):
        for one in (profile,) if isinstance(profile, str) else profile:
            made = Metric(name, one, function, higher_is_better, source, **details)
            METRICS.register(made.key)(made)
        return function

    return register


def leave_out(profile: str, names: Iterable[str], reason: str) -> None:
    """Say why `profile` has no metrics of these names; who asks for one is told."""
    LEFT_OUT.update({f"{profile}/{name}": reason for name in names})


def profiles() -> list[str]:
    """The known conventions, sorted."""
    return sorted({m.profile for m in METRICS.values()})


def profile(name: str) -> dict[str, Metric]:
    """Every metric of one convention by its short name: the columns of its table first, then the others.

    `all`: those of every convention, by `profile/name`.
    """
    if name == ALL:
        return {m.key: m for one in profiles() for m in profile(one).values()}
    found = [m for m in METRICS.values() if m.profile == name]
    if not found:
        known = [*profiles(), ALL]
        raise UnknownName(f"No metric profile named '{name}'. Known: {', '.join(known)}.{did_you_mean(name, known)}")
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
            reason = LEFT_OUT.get(name if profile_name == ALL else f"{profile_name}/{name}")
            raise UnknownName(
                f"No metric named '{name}' in profile '{profile_name}'"
                + (f": {reason}. " if reason else ". ")
                + f"Known: {', '.join(known)}.{did_you_mean(str(name), known)}"
            )
    return {name: known[name] for name in names}
