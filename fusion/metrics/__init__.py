"""Metrics of a fused picture: table of contents, and `evaluate`, which scores one picture with all of them.

Profile `cddfuse` is the convention of the tables in Zhao et al., "CDDFuse", CVPR 2023. Where it leaves the literature
stands in each function's docstring and in `Metric.note`. A new metric is a decorated function in a file listed here.
"""

from __future__ import annotations

from collections.abc import Iterable

from fusion.metrics import edges, error, information, statistics, structure, vif
from fusion.metrics.base import Metric, luminances, metric, profile, profiles, select

__all__ = [
    "Metric",
    "edges",
    "error",
    "evaluate",
    "information",
    "luminances",
    "metric",
    "profile",
    "profiles",
    "select",
    "statistics",
    "structure",
    "vif",
]


def evaluate(fused, ir, vis, profile: str = "cddfuse", names: Iterable[str] | None = None) -> dict[str, float]:
    """Score one fused picture: {metric name: value}, in table order or in the order of `names`.

    `fused`, `ir`, `vis`: luminance (H, W) in 0..255, any dtype, equal sizes. The published tables score whole grey
    levels; nothing is rounded here. Values may be nan or inf where a formula is (a constant picture has no
    correlation). Raises UnknownName for a profile or name that is not known, ValueError for pictures that do not fit.
    """
    chosen = select(profile, names)
    images = luminances(fused, ir, vis)
    return {name: m.measure(*images) for name, m in chosen.items()}
