"""Metrics of a fused picture: table of contents, and `evaluate`, which scores one picture with all of them.

A profile is one convention for all metrics: `cddfuse` (the tables of Zhao et al., "CDDFuse", CVPR 2023), `matlab`
(Tang's evaluation set), `vifb` (the VIFB benchmark), `strict` (the defining papers), or `all`. Where one leaves the
literature stands in each function's docstring and in `Metric.note`; docs/metrics.md says by how much.
"""

from __future__ import annotations

from collections.abc import Iterable

from fusion.metrics import edges, error, information, quality, statistics, structure, vif, vision
from fusion.metrics.base import ALL, LEFT_OUT, Metric, leave_out, metric, profile, profiles, select
from fusion.metrics.scene import Scene, shared

__all__ = [
    "ALL",
    "LEFT_OUT",
    "Metric",
    "Scene",
    "edges",
    "error",
    "evaluate",
    "information",
    "leave_out",
    "metric",
    "profile",
    "profiles",
    "quality",
    "select",
    "shared",
    "statistics",
    "structure",
    "vif",
    "vision",
]


def evaluate(fused, ir, vis, profile: str = "cddfuse", names: Iterable[str] | None = None) -> dict[str, float]:
    """Score one fused picture: {metric name: value}, in table order or in the order of `names`.

    `fused`, `ir`, `vis`: luminance (H, W) in 0..255, equal sizes; arrays of any type, or torch tensors, which are
    scored on their device. The published tables score whole grey levels; nothing is rounded here. With the profile
    `all` the names are `profile/name`. Values may be nan or inf where a formula is (a constant picture has no
    correlation). Raises UnknownName for a profile or name that is not known, ValueError for pictures that do not fit.
    """
    chosen = select(profile, names)
    scene = Scene(fused, ir, vis)
    return {name: m.measure(scene) for name, m in chosen.items()}
