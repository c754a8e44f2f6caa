"""Metrics of the fused picture alone: entropy, contrast, spatial frequency, gradient. All say how much the picture
varies, none whether the variation comes from the sources: noise scores high.

Differences from the CDDFuse authors' program (profile `cddfuse`): float64 where it has float32 (relative 1e-7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fusion.metrics.arrays import Array, bands, counted, dot, grey_levels, library, padded, windowed
from fusion.metrics.base import metric
from fusion.metrics.scene import PLACES, Scene, shared

SMOOTH = np.array([1.0, 2.0, 1.0])
STEP = np.array([-1.0, 0.0, 1.0])


# --- shared -----------------------------------------------------------------------------------------------------------


def entropy(counts: Array) -> float:
    """-sum p log p in nats, p = counts / sum(counts); empty bins contribute nothing."""
    p = counts[counts > 0] / counts.sum()
    return max(0.0, -float((p * library(p).log(p)).sum()))  # max: one full bin gives -0.0


@shared
def levels(scene: Scene, place: str) -> Array | None:
    """The flat uint8 levels of a picture of whole grey levels 0..255; None for any other."""
    return grey_levels(scene.pictures[place])


@shared
def histogram(scene: Scene, place: str) -> Array:
    """256 counts of the grey levels of a picture, rounded half to even; levels outside 0..255 wrap modulo 256."""
    whole = levels(scene, place)
    if whole is None:
        rounded = library(scene.fused).round(scene.pictures[place]).ravel() % 256
        whole = grey_levels(rounded)
    return counted(whole, 256)


@dataclass(frozen=True)
class Moments:
    """Means of the three pictures, and sums over all pixels of each minus its mean."""

    means: dict[str, float]
    products: dict[tuple[str, str], float]
    """{(place, place): sum of products}, both ways round."""
    constant: dict[str, bool]
    """Whether a picture has one level only."""


@shared
def moments(scene: Scene) -> Moments:
    """Of a scene; the means are taken off first, so that little contrast on a bright ground loses no digits."""
    planes = scene.pictures
    means = {place: float(plane.mean()) for place, plane in planes.items()}
    pairs = [(p, q) for i, p in enumerate(PLACES) for q in PLACES[i:]]
    sums = dict.fromkeys(pairs, 0.0)
    for band in bands(*planes.values(), window=1):
        centred = {place: rows - means[place] for place, rows in zip(PLACES, band, strict=True)}
        for p, q in pairs:
            sums[p, q] += dot(centred[p], centred[q])
    # Asked of the values: a mean may be off by one rounding.
    constant = {place: bool(plane.min() == plane.max()) for place, plane in planes.items()}
    return Moments(means, {**sums, **{(q, p): total for (p, q), total in sums.items()}}, constant)


@shared
def sobel(scene: Scene, place: str) -> tuple[Array, Array]:
    """(sx, sy) of a picture whose border pixels are repeated outside: right - left and lower - upper, (H, W) each.

    Weights 1 2 1, not divided by 8.
    """
    image = padded(scene.pictures[place], 1, "edge")
    return windowed(image, SMOOTH, STEP), windowed(image, STEP, SMOOTH)


@shared
def edge_strength(scene: Scene, place: str) -> Array:
    """sqrt(sx^2 + sy^2) of `sobel`, (H, W), in grey levels, 0..1141."""
    sx, sy = sobel(scene, place)
    return (sx * sx + sy * sy) ** 0.5


# --- metrics ----------------------------------------------------------------------------------------------------------


@metric(
    "EN",
    profile=("cddfuse", "matlab", "vifb", "strict"),
    higher_is_better=True,
    source="Roberts, van Aardt, Ahmed, J. Appl. Remote Sens. 2, 2008",
    unit="bit",
    range=(0.0, 8.0),
    column=1,
)
def en(scene: Scene) -> float:
    """Entropy of the grey levels, -sum h log2 h, in bits, 0 (one level) to 8 (all 256 equally often).

    As in Roberts et al. 2008. Fractions are rounded; values outside 0..255 wrap, as a cast to 8 bit does.
    """
    return entropy(histogram(scene, "fused")) / math.log(2.0)


@metric(
    "SD",
    profile=("cddfuse", "matlab", "vifb", "strict"),
    higher_is_better=True,
    source="Ma, Ma, Li, Information Fusion 45, 2019",
    unit="grey levels",
    range=(0.0, 127.5),
    column=2,
)
def sd(scene: Scene) -> float:
    """Standard deviation sqrt(mean (F - mean F)^2) in grey levels, 0..127.5: global contrast, population divisor HW.

    As in the survey of Ma et al. 2019. A picture that is stretched to 0..255 before saving, as CDDFuse's, scores
    higher for that alone.
    """
    return math.sqrt(moments(scene).products["fused", "fused"] / scene.size)


@shared
def squared_differences(scene: Scene) -> list[tuple[float, int]]:
    """(sum, number) of the squared differences of neighbours down and across the fused picture."""
    (h, w), down, across = scene.shape, 0.0, 0.0
    for (f,) in bands(scene.fused, window=2):
        dy, dx = f[1:] - f[:-1], f[:-1, 1:] - f[:-1, :-1]
        down, across = down + dot(dy, dy), across + dot(dx, dx)
    last = scene.fused[-1, 1:] - scene.fused[-1, :-1]
    return [(down, (h - 1) * w), (across + dot(last, last), h * (w - 1))]


@metric(
    "SF",
    profile="cddfuse",
    higher_is_better=True,
    source="Eskicioglu, Fisher, IEEE Trans. Commun. 43(12), 1995",
    smallest=2,
    unit="grey levels",
    range=(0.0, 255.0 * math.sqrt(2.0)),
    note="row and column sums divided by the number of differences, not of pixels (below 0.4 %)",
    column=3,
)
def sf(scene: Scene) -> float:
    """Spatial frequency sqrt(mean dx^2 + mean dy^2) of neighbour differences, in grey levels, 0..361.

    Eskicioglu and Fisher 1995 divide both sums by HW; here each is divided by its number of differences, H(W-1) and
    (H-1)W, as in the CDDFuse tables.
    """
    return math.sqrt(sum(total / number for total, number in squared_differences(scene)))


@metric(
    "SF",
    profile=("vifb", "strict"),
    higher_is_better=True,
    source="Eskicioglu, Fisher, IEEE Trans. Commun. 43(12), 1995",
    smallest=2,
    unit="grey levels",
    range=(0.0, 255.0 * math.sqrt(2.0)),
    column=3,
)
def sf_canonical(scene: Scene) -> float:
    """Spatial frequency sqrt((sum dx^2 + sum dy^2) / HW) of neighbour differences, in grey levels, 0..361.

    As in Eskicioglu and Fisher 1995.
    """
    return math.sqrt(sum(total for total, _ in squared_differences(scene)) / scene.size)


@metric(
    "AG",
    profile="cddfuse",
    higher_is_better=True,
    source="Cui, Feng, Xu, Li, Chen, Opt. Commun. 341, 2015",
    smallest=2,
    unit="grey levels",
    range=(0.0, 255.0),
    note="central instead of forward differences, over all pixels: clearly smaller on noisy pictures",
    column=9,
)
@metric(
    "AG",
    profile="vifb",
    higher_is_better=True,
    source="Cui, Feng, Xu, Li, Chen, Opt. Commun. 341, 2015",
    smallest=2,
    unit="grey levels",
    range=(0.0, 255.0),
    note="central instead of forward differences: deduced from the benchmark's table, where EI / AG is 10.1 to 10.4 "
    "(forward ones give 8); the divisor is known to 0.4 % only",
    column=9,
)
def ag(scene: Scene) -> float:
    """Average gradient, mean sqrt((gx^2 + gy^2) / 2), in grey levels per pixel, 0..255.

    gx, gy are central differences halved, one-sided at the border (numpy's `gradient`), over all pixels. Cui et al.
    2015 take forward differences over (H-1)(W-1) pixels, which see single-pixel noise that central ones skip.
    """
    # A border pixel mirrored at its own edge, 2 f0 - f1, makes the central difference the one-sided one.
    f, total = scene.fused, 0.0
    join = library(f).concatenate
    f = join((2 * f[:1] - f[1:2], f, 2 * f[-1:] - f[-2:-1]))
    for (rows,) in bands(f, window=3):
        gy, middle = rows[2:] - rows[:-2], rows[1:-1]
        first, last = middle[:, 1:2] - middle[:, :1], middle[:, -1:] - middle[:, -2:-1]
        gx = join((2 * first, middle[:, 2:] - middle[:, :-2], 2 * last), 1)
        total += float(((gx * gx + gy * gy) ** 0.5).sum())
    return total / scene.size / math.sqrt(8.0)


@metric(
    "AG",
    profile="strict",
    higher_is_better=True,
    source="Cui, Feng, Xu, Li, Chen, Opt. Commun. 341, 2015",
    smallest=2,
    unit="grey levels",
    range=(0.0, 255.0),
    column=9,
)
def ag_canonical(scene: Scene) -> float:
    """Average gradient, mean sqrt((dx^2 + dy^2) / 2), in grey levels per pixel, 0..255.

    dx, dy are forward differences, over the (H-1)(W-1) pixels that have both, as in Cui et al. 2015.
    """
    f, (h, w) = scene.fused, scene.shape
    dx, dy = f[:-1, 1:] - f[:-1, :-1], f[1:, :-1] - f[:-1, :-1]
    return float(((dx * dx + dy * dy) ** 0.5).sum()) / ((h - 1) * (w - 1)) / math.sqrt(2.0)


@metric(
    "EI",
    profile=("vifb", "strict"),
    higher_is_better=True,
    source="Rajalingam, Priya, Int. J. Eng. Sci. Invention, 2018",
    unit="grey levels",
    range=(0.0, 255.0 * math.sqrt(20.0)),
    note="Sobel weights 1 2 1 not divided by 8; border pixels repeated outside",
    column=13,
)
def ei(scene: Scene) -> float:
    """Edge intensity: mean Sobel gradient magnitude sqrt(sx^2 + sy^2) of the fused picture, in grey levels, 0..1140.

    As in Rajalingam and Priya 2018, who leave open what lies outside: here the border pixels repeated.
    """
    return float(edge_strength(scene, "fused").mean())
