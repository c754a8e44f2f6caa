"""How much of the sources' edges the fused picture keeps, Q^AB/F (Xydeas, Petrovic, Electronics Letters 36(4), 2000),
how much it loses, L^AB/F, and how much it invents, N^AB/F (Petrovic, Xydeas, Optical Engineering 44(8), 2005).

Profile `cddfuse`: zeros around the picture, equal edge strengths count with their raw magnitude, and orientations half
a turn apart as opposite; float64 where the authors' program has float32 (1e-7). Profile `strict`: the papers, with
border pixels repeated outside, which they leave open, and N as Shreyamsha Kumar 2013 has it.
"""

from __future__ import annotations

import math

import numpy as np

from fusion.metrics.arrays import Array, bands, dot, library, padded, ratio, windowed
from fusion.metrics.base import metric
from fusion.metrics.scene import SOURCES, Scene, shared
from fusion.metrics.statistics import SMOOTH, STEP, edge_strength, sobel

XYDEAS = "Xydeas, Petrovic, Electronics Letters 36(4), 2000"
KUMAR = "Shreyamsha Kumar, Signal Image Video Process. 7(6), 2013"
# The paper's sigmoids: gain / (1 + exp(slope * (value - centre))), for strength (g) and orientation (a).
GAIN_G, SLOPE_G, CENTRE_G = 0.9994, -15.0, 0.5
GAIN_A, SLOPE_A, CENTRE_A = 0.9879, -22.0, 0.8
GAIN = GAIN_G * GAIN_A
HALF_PI = math.pi / 2.0
BEST = GAIN / (1.0 + math.exp(SLOPE_A * (1.0 - CENTRE_A)))  # 0.9753: the raw strength, same orientation
BEST_STRICT = BEST / (1.0 + math.exp(SLOPE_G * (1.0 - CENTRE_G)))  # 0.9748: same strength, same orientation


def orientation(sx: Array, sy: Array) -> Array:
    """arctan(sy / sx) in (-pi/2, pi/2); pi/2 where sx = 0."""
    return library(sx).arctan(ratio(sy, sx, math.inf))


def sigmoids(g: Array, a: Array) -> Array:
    """Q_g(g) * Q_a(a), 0..0.9753."""
    xp = library(g)
    return GAIN / ((1.0 + xp.exp(SLOPE_G * (g - CENTRE_G))) * (1.0 + xp.exp(SLOPE_A * (a - CENTRE_A))))


# --- as in the CDDFuse tables -----------------------------------------------------------------------------------------


def raw_preservation(strength: Array, angle: Array, source_strength: Array, source_angle: Array) -> Array:
    """Per pixel (H, W), 0..0.9753: how well a fused edge keeps the source's edge.

    g is the weaker strength over the stronger, but the raw magnitude where they are equal; a = 1 - |difference of
    orientation| / (pi/2), -1..1.
    """
    xp = library(strength)
    with np.errstate(invalid="ignore"):  # 0/0 where neither has an edge: equal, replaced next
        g = xp.minimum(strength, source_strength) / xp.maximum(strength, source_strength)
    g = xp.where(strength == source_strength, strength, g)
    return sigmoids(g, 1.0 - abs(source_angle - angle) / HALF_PI)


@metric(
    "Qabf",
    profile="cddfuse",
    higher_is_better=True,
    source=XYDEAS,
    range=(0.0, BEST),
    note="angles half a turn apart count as opposite; equal strengths count with their raw magnitude; best is 0.975",
    column=7,
)
def qabf(scene: Scene) -> float:
    """Edge preservation sum(Q_ir g_ir + Q_vis g_vis) / sum(g_ir + g_vis), 0 to 0.9753 (all three equal).

    Xydeas and Petrovic 2000 take 1 for edges of equal strength (here: the magnitude itself, at most 6e-4 per pixel
    where there is an edge) and fold the difference of orientation (here: near-vertical edges whose angle flips sign
    score about 0). nan where neither source has an edge (both black).
    """
    kept = total = 0.0
    # Zeros around the picture: its frame is a strong edge.
    for band in bands(*(padded(image, 1, "constant") for image in (scene.fused, *scene.sources)), window=3):
        fused, *sources = (edges_inside(image) for image in band)
        for strength, angle in sources:
            kept += dot(raw_preservation(*fused, strength, angle), strength)
            total += float(strength.sum())
    return kept / total if total > 0 else math.nan


def edges_inside(image: Array) -> tuple[Array, Array]:
    """Strength and orientation of the edges in the 3x3 windows inside (H, W); sx is left - right, sy lower - upper."""
    sx, sy = windowed(image, SMOOTH, -STEP), windowed(image, STEP, SMOOTH)
    return (sx * sx + sy * sy) ** 0.5, orientation(sx, sy)


# --- as in the papers -------------------------------------------------------------------------------------------------


@shared
def angles(scene: Scene, place: str) -> Array:
    """Orientation of every pixel's edge, (H, W)."""
    return orientation(*sobel(scene, place))


@shared
def preservation(scene: Scene, source: str) -> Array:
    """Q^SF per pixel (H, W), 0..0.9748: how well the fused picture keeps a source's edges.

    g is the weaker strength over the stronger, 1 where they are equal; a = ||difference of orientation| - pi/2| /
    (pi/2), 1 also where the difference is half a turn.
    """
    f, s = edge_strength(scene, "fused"), edge_strength(scene, source)
    xp = library(f)
    g = ratio(xp.minimum(f, s), xp.maximum(f, s), 1.0)
    turn = abs(angles(scene, source) - angles(scene, "fused"))
    return sigmoids(g, abs(turn - HALF_PI) / HALF_PI)


def weighted_share(scene: Scene, losses: bool, where: Array | None = None) -> float:
    """sum of Q^SF g_S (or of (1 - Q^SF) g_S) over both sources and the pixels `where`, per sum of g_S; nan for 0/0."""
    share = total = 0.0
    for source in SOURCES:
        g, q = edge_strength(scene, source), preservation(scene, source)
        q = 1.0 - q if losses else q
        share += dot(q if where is None else q * where, g)
        total += float(g.sum())
    return share / total if total > 0 else math.nan


@shared
def invented(scene: Scene) -> Array:
    """1 where the fused edge is stronger than both sources', else 0, (H, W)."""
    f = edge_strength(scene, "fused")
    stronger = (f > edge_strength(scene, "ir")) & (f > edge_strength(scene, "vis"))
    return library(f).where(stronger, 1.0, 0.0)


@metric("Qabf", profile=("vifb", "strict"), higher_is_better=True, source=XYDEAS, range=(0.0, BEST_STRICT), column=7)
def qabf_canonical(scene: Scene) -> float:
    """Edge preservation sum(Q_ir g_ir + Q_vis g_vis) / sum(g_ir + g_vis), 0 to 0.9748 (all three equal).

    As in Xydeas and Petrovic 2000, weights g^L with L = 1. nan where neither source has an edge.
    """
    return weighted_share(scene, losses=False)


@metric("Labf", profile="strict", higher_is_better=False, source=KUMAR, range=(0.0, 1.0), column=19)
def labf(scene: Scene) -> float:
    """Edges lost: sum of (1 - Q_ir) g_ir + (1 - Q_vis) g_vis where F's edge is not the strongest, per sum(g), 0..1.

    Petrovic and Xydeas 2005, with Kumar's N: Qabf + Labf + Nabf = 1. nan where neither source has an edge.
    """
    return weighted_share(scene, losses=True, where=1.0 - invented(scene))


@metric("Nabf", profile="strict", higher_is_better=False, source=KUMAR, range=(0.0, 1.0), column=18)
def nabf(scene: Scene) -> float:
    """Edges invented: sum of (1 - Q_ir) g_ir + (1 - Q_vis) g_vis where F's edge is stronger than both, per sum(g).

    Kumar 2013, who replaces (2 - Q_ir - Q_vis) (g_ir + g_vis) of Petrovic and Xydeas 2005, which counts artifacts twice
    and breaks Qabf + Labf + Nabf = 1. 0..1; nan where neither source has an edge.
    """
    return weighted_share(scene, losses=True, where=invented(scene))
