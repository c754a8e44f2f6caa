"""How much of the sources' edges the fused picture keeps: Q^AB/F (Xydeas, Petrovic, Electronics Letters 36(4), 2000).

Differences from the paper (profile `cddfuse`): equal edge strengths count with their raw magnitude instead of 1, and
orientations half a turn apart count as opposite. From the authors' program: float64 where it has float32 (1e-7).
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from fusion.metrics.base import metric
from fusion.metrics.windows import bands, inside

SMOOTH = np.array([1.0, 2.0, 1.0])
STEP = np.array([-1.0, 0.0, 1.0])
# The paper's sigmoids: gain / (1 + exp(slope * (value - centre))), for strength (g) and orientation (a).
GAIN_G, SLOPE_G, CENTRE_G = 0.9994, -15.0, 0.5
GAIN_A, SLOPE_A, CENTRE_A = 0.9879, -22.0, 0.8
BEST = GAIN_G * GAIN_A / (1.0 + math.exp(SLOPE_A * (1.0 - CENTRE_A)))  # 0.9753: same strength, same orientation


def sobel(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength and orientation of the edges in the 3x3 windows inside (H, W): two (H - 2, W - 2) arrays.

    Orientation arctan(sy / sx) in (-pi/2, pi/2), with sx = left - right and sy = lower - upper; pi/2 where sx = 0.
    """
    sx = inside(cv2.sepFilter2D(image, cv2.CV_64F, -STEP, SMOOTH), 3)
    sy = inside(cv2.sepFilter2D(image, cv2.CV_64F, SMOOTH, STEP), 3)
    slope = np.divide(sy, sx, out=np.full(sx.shape, np.inf), where=sx != 0)
    return np.sqrt(sx * sx + sy * sy), np.arctan(slope)


def preservation(
    strength: np.ndarray, angle: np.ndarray, source_strength: np.ndarray, source_angle: np.ndarray
) -> np.ndarray:
    """Per pixel (H, W), 0..0.9753: how well a fused edge keeps the source's edge, Q_g(G) * Q_a(A).

    G is the weaker strength over the stronger, but the raw magnitude where they are equal; A = 1 - |difference of
    orientation| / (pi/2), -1..1.
    """
    with np.errstate(invalid="ignore"):  # 0/0 where neither has an edge: equal, replaced next
        g = np.minimum(strength, source_strength) / np.maximum(strength, source_strength)
    g = np.where(strength == source_strength, strength, g)
    a = 1.0 - np.abs(source_angle - angle) / (math.pi / 2.0)
    q_g = GAIN_G / (1.0 + np.exp(SLOPE_G * (g - CENTRE_G)))
    q_a = GAIN_A / (1.0 + np.exp(SLOPE_A * (a - CENTRE_A)))
    return q_g * q_a


@metric(
    "Qabf",
    profile="cddfuse",
    higher_is_better=True,
    source="Xydeas, Petrovic, Electronics Letters 36(4), 2000",
    range=(0.0, BEST),
    note="angles half a turn apart count as opposite; equal strengths count with their raw magnitude; best is 0.975",
    column=7,
)
def qabf(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Edge preservation sum(Q_ir g_ir + Q_vis g_vis) / sum(g_ir + g_vis), 0 to 0.9753 (all three equal).

    Xydeas and Petrovic 2000 take 1 for edges of equal strength (here: the magnitude itself, at most 6e-4 per pixel
    where there is an edge) and fold the difference of orientation (here: near-vertical edges whose angle flips sign
    score about 0). nan where neither source has an edge (both black).
    """
    kept = total = 0.0
    # Zeros around the picture: its frame is a strong edge.
    for band in bands(*(np.pad(image, 1) for image in (fused, ir, vis)), window=3):
        strength, angle = sobel(band[0])
        for source in band[1:]:
            source_strength, source_angle = sobel(source)
            q = preservation(strength, angle, source_strength, source_angle)
            kept += float(np.sum(q * source_strength))
            total += float(np.sum(source_strength))
    return kept / total if total > 0 else math.nan
