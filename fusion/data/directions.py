"""Gradient directions of a picture: what infrared and visible have in common.

They share edges, not brightness, and an edge may be bright-to-dark in one and dark-to-bright in the other. So a pixel
is described by the direction of its gradient alone, with the angle doubled, which makes opposite directions equal
(Fitch, Kadyrov, Christmas, Kittler, "Orientation correlation", BMVC 2002, in the form that is blind to contrast
reversal); weak gradients count less than their surroundings' strong ones.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

SURROUNDINGS = 16.0  # sigma in pixels of the mean gradient that a gradient is measured against
FAINT = 1 / 255  # a gradient of one grey level a pixel; far below it is noise


def directions(x: np.ndarray, sigma: float, valid: np.ndarray | None = None) -> np.ndarray:
    """(H, W) float32 in [0, 1] -> (H, W) complex64: doubled gradient angle, with a weight of 0 to sqrt(2).

    valid: (H, W) bool, where the picture shows its scene; by default all but the frame and bars along it.
    """
    dy, dx = _gradient(x, sigma)
    energy = dx * dx + dy * dy
    strength = np.sqrt(energy) + 1e-12
    usual = np.sqrt(cv2.GaussianBlur(energy, (0, 0), SURROUNDINGS)) + FAINT
    weight = np.sqrt(np.minimum(strength / usual, 2)) / strength**2
    field = np.empty(x.shape, np.complex64)
    field.real, field.imag = (dx * dx - dy * dy) * weight, 2 * dx * dy * weight
    field[~(_inside(x, math.ceil(2 * sigma)) if valid is None else valid)] = 0
    return field


def outlines(x: np.ndarray) -> np.ndarray:
    """(H, W) float32: gradient magnitude against its surroundings'; alike in both modalities."""
    dy, dx = _gradient(x, 1.5)
    energy = dx * dx + dy * dy
    usual = np.sqrt(cv2.GaussianBlur(energy, (0, 0), SURROUNDINGS)) + FAINT
    return np.minimum(np.sqrt(energy) / usual, 3)


def _gradient(x: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    x = cv2.GaussianBlur(x, (0, 0), sigma)
    return cv2.Sobel(x, cv2.CV_32F, 0, 1, scale=1 / 8), cv2.Sobel(x, cv2.CV_32F, 1, 0, scale=1 / 8)


def _inside(x: np.ndarray, margin: int) -> np.ndarray:
    """(H, W) bool: away from the frame, and from bars of one level along it, whose edges are no scene's."""
    inside = np.zeros(x.shape, bool)
    rows, columns = (np.flatnonzero(np.ptp(x, axis=axis) > 2 * FAINT) for axis in (1, 0))
    if len(rows) and len(columns):
        top, left = rows[0] + margin, columns[0] + margin
        inside[top : max(top, rows[-1] + 1 - margin), left : max(left, columns[-1] + 1 - margin)] = True
    return inside


# --- a picture of unknown range and frame ---------------------------------------------------------------------------


def shown(x: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 255 where the picture shows its scene: all but areas of one level that touch the frame.

    Such areas are what a warp leaves around a turned or reduced picture (and burnt skies, which have no edges).
    """
    kernel = np.ones((3, 3), np.uint8)
    flat = (cv2.dilate(x, kernel) == cv2.erode(x, kernel)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    large = [label for label in rim if label and stats[label, cv2.CC_STAT_AREA] > x.size // 500]
    return np.where(np.isin(labels, large), 0, 255).astype(np.uint8) if large else np.full(x.shape, 255, np.uint8)


def stretched(x: np.ndarray) -> np.ndarray:
    """(H, W) float32 -> the same with all but a hundredth of its levels spread over [0, 1]: raw counts show edges."""
    low, high = np.percentile(x[::2, ::2], (0.5, 99.5))
    return np.clip((x - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)
