"""Where the infrared picture lies in the visible one, with nothing known: a search over scale, rotation and shift.

Every scale and rotation is tried on a small copy of the pair; for each, one correlation by FFT gives the agreement of
gradient directions (`directions.py`) at all shifts. The agreement of unrelated directions has the mean 0 and a
variance that follows from the weights alone, so places of little and of much overlap compare: what is sought is the
most standard deviations, not the highest mean.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

from fusion.data.directions import directions, shown, stretched

SIDE = 224  # pixels of the longer side of the small copies; at 160 a few weakly textured pairs more are missed
SCALES = tuple(1.04**n for n in range(-17, 18))  # 0.51 to 1.95
ANGLES = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)  # degrees
LEAST_OVERLAP = 0.15  # of the greatest that a scale and rotation allow, in weights
SMOOTHING = 1.0  # of the correlation, sigma in pixels


class Picture(NamedTuple):
    """What alignment sees of a picture. x: (H, W) float32 in [0, 1]; mask: (H, W) uint8, 255 where there is a scene."""

    x: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, luminance: np.ndarray) -> Picture:
        return cls(stretched(luminance), shown(luminance))


def scaling(x: float, y: float) -> np.ndarray:
    """(3, 3): a pixel of a resized picture -> its place in the one it was resized from, which is x by y times as
    large. The corners of the pictures meet, not the centres of their corner pixels.
    """
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def laid(picture: Picture, matrix: np.ndarray, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture on another grid: (h, w) float32, and (h, w) bool, where that shows its scene.

    matrix: (3, 3), a pixel of the grid -> its place in the picture.
    """
    step = max(1, int(math.sqrt(abs(np.linalg.det(matrix[:2, :2])))))
    if step > 1:  # an average first: the warp alone would alias
        size = tuple(max(1, side // step) for side in picture.x.shape[::-1])
        ratio = [side / small for side, small in zip(picture.x.shape[::-1], size, strict=True)]
        picture = Picture(*(cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in picture))
        matrix = np.linalg.inv(scaling(*ratio)) @ matrix
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(picture.x, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpPerspective(picture.mask, matrix, (w, h), flags=flags) == 255
    inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    return moved, inside.astype(bool)


# --- the search -----------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """matrix: (3, 3), a pixel (x, y, 1) of the visible picture -> its place in the infrared one; height: standard
    deviations above what unrelated directions give.
    """

    matrix: np.ndarray
    height: float


class _Plate(NamedTuple):
    """A picture, scaled and turned, as it enters a correlation. matrix: (3, 3), a pixel of it -> of the picture."""

    size: tuple[int, int]
    matrix: np.ndarray
    spectrum: np.ndarray
    energy: np.ndarray


def search(
    ir: Picture,
    vis: Picture,
    scales: Sequence[float] = SCALES,
    angles: Sequence[float] = ANGLES,
    most: int = 6,
    side: int = SIDE,
) -> list[Place]:
    """The `most` best places that are not near each other, best first.

    scales: sizes of the infrared view in the visible picture, 1 for the largest that fits into it whole; angles in
    degrees; side: of the small copies. None where one of the pictures shows nothing.
    """
    zoom = min(1.0, side / max(vis.x.shape))
    small = [math.ceil(zoom * side) for side in vis.x.shape]
    fit = min(a / b for a, b in zip(small, ir.x.shape, strict=True))
    shape = [fft.next_fast_len(int(2.15 * side) + 16, real=True) for side in small]
    if not (np.ptp(ir.x) and np.ptp(vis.x)):
        return []  # one of them shows nothing
    # The greater one of the two views is reduced, so that no copy exceeds the small one.
    of_ir = functools.cache(lambda size, angle: _plate(ir, size, angle, shape))
    of_vis = functools.cache(lambda size: _plate(vis, size, 0.0, shape))
    places = []
    for scale, angle in itertools.product(scales, angles):
        a, b = of_ir(fit * min(scale, 1.0), angle), of_vis(zoom / max(scale, 1.0))
        for y, x, height in _peaks(a, b, shape):
            there = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])  # a pixel of b -> of a
            places.append(Place(a.matrix @ there @ np.linalg.inv(b.matrix), height))
    return far_apart(places, vis.x.shape, most)


def _plate(picture: Picture, size: float, angle: float, shape: Sequence[int]) -> _Plate:
    h, w = picture.x.shape
    c, s = (f(math.radians(angle)) for f in (math.cos, math.sin))
    width, height = (max(8, math.ceil(size * side)) for side in (c * w + abs(s) * h, abs(s) * w + c * h))
    u, v = (width - 1) / 2, (height - 1) / 2
    c, s = c / size, s / size
    matrix = np.array([[c, -s, (w - 1) / 2 - c * u + s * v], [s, c, (h - 1) / 2 - s * u - c * v], [0, 0, 1]])
    x, inside = laid(picture, matrix, height, width)
    field = directions(x, 1.0, inside)
    return _Plate((height, width), matrix, fft.fft2(field, shape), fft.rfft2(np.abs(field) ** 2, shape))


def _peaks(a: _Plate, b: _Plate, shape: Sequence[int], most: int = 2) -> Iterator[tuple[int, int, float]]:
    """(y, x, height): where `a` has to be laid on `b`, the best few."""
    found = cv2.GaussianBlur(fft.ifft2(np.conj(a.spectrum) * b.spectrum).real, (0, 0), SMOOTHING)
    variance = fft.irfft2(np.conj(a.energy) * b.energy, shape) / 2
    full = float(variance.max())
    if full <= 0:
        return
    enough = variance > LEAST_OVERLAP * full
    # A little is added to the variance: the smallest overlaps are the likeliest to agree by chance.
    heights = np.where(enough, found / np.sqrt(np.maximum(variance, 0) + 0.04 * full), 0)
    heights /= heights[enough].std() + 1e-9
    for _ in range(most):
        y, x = (int(i) for i in np.unravel_index(heights.argmax(), heights.shape))
        height = float(heights[y, x])
        heights[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = 0
        yield y if y < b.size[0] else y - shape[0], x if x < b.size[1] else x - shape[1], height


def corners(h: int, w: int) -> np.ndarray:
    """(1, 4, 2): x and y of the centres of the corner pixels, clockwise from the top left."""
    return np.array([[[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]]], np.float64)


def corner_error(a: np.ndarray, b: np.ndarray, h: int, w: int) -> float:
    """How far apart two alignments put the corners of an h x w picture, in pixels, on average."""
    apart = cv2.perspectiveTransform(corners(h, w), a) - cv2.perspectiveTransform(corners(h, w), b)
    return float(np.hypot(apart[..., 0], apart[..., 1]).mean())


def far_apart(places: list[Place], shape: tuple[int, ...], most: int) -> list[Place]:
    """The `most` best places that are not near each other, best first. shape: of the visible picture."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: -place.height)[:500]:
        reach = 0.04 * sum(shape) * math.sqrt(abs(np.linalg.det(place.matrix)))
        if all(corner_error(place.matrix, other.matrix, *shape) > reach for other in kept):
            kept.append(place)
            if len(kept) == most:
                break
    return kept
