"""What can be said of one picture without its partner: size, colour, levels in use, and what it looks like.

The look is two things: a perceptual hash (signs of the lowest 63 frequencies of the cosine transform of a 32x32
copy), which finds candidates for a duplicate fast, and a 64x64 copy with brightness and contrast removed, whose
correlation decides. Measured on TNO, RoadScene and MSRS: copies of a picture, saved as JPEG of quality 50, halved,
blurred by 1.5 pixels or 15 % brighter, correlate to 0.988 or more and differ in 6 signs at most; two pictures of a set
to 0.94 at most. Neighbouring slices of the medical sets reach 0.991, so what counts as a copy is stricter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fusion import images
from fusion.data.saliency import levels
from fusion.reading import file_size

__all__ = ["Facts", "candidates", "facts", "file_size", "similarity"]

COPY = 0.995  # correlation of two looks from which on one picture is a copy of the other
ALIKE = 0.97
HASH_DISTANCE = 10  # signs of 63 in which a copy may differ
COLOURED = 2.0  # grey levels between a pixel's greatest and least channel, on average; gray JPEGs stay below 1

BLACK = 8  # grey levels: all but a thousandth of a black picture is darker
DIM = 32
CONSTANT = 4  # grey levels from the darkest to the brightest thousandth
SATURATED, BRIGHT = 0.25, 0.1  # share of pixels at the upper end; 0.155 at most in the untouched sets


@dataclass(frozen=True)
class Facts:
    """One picture, measured. Grey levels count 0..255 whatever the depth.

    colour: mean difference between the channels; low, high: all but a thousandth of the pixels lie above, below;
    full: share of pixels at the two highest levels; look: (64, 64) float16 of mean 0 and deviation 1, zeros where
    the picture is blank; signs: (63,) bool, the perceptual hash.
    """

    h: int
    w: int
    bits: int
    colour: float
    rgb: bool
    low: int
    high: int
    full: float
    look: np.ndarray
    signs: np.ndarray

    @property
    def coloured(self) -> bool:
        return self.colour >= COLOURED

    @property
    def blank(self) -> str:
        """`black`, `saturated`, `constant`, or nothing for a picture that shows something."""
        if self.high <= BLACK:
            return "black"
        if self.full >= SATURATED:
            return "saturated"
        return "constant" if self.high - self.low <= CONSTANT else ""


def facts(image: np.ndarray) -> Facts:
    """(H, W) or (H, W, 3) RGB, uint8 or uint16 -> its facts."""
    grey = levels(image)
    below = np.bincount(grey.ravel(), minlength=256).cumsum() / grey.size
    low, high = int(np.searchsorted(below, 0.001)), int(np.searchsorted(below, 0.999))
    small = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    spread = small.std() if high - low > CONSTANT else 0.0
    look = (small - small.mean()) / spread if spread else np.zeros_like(small)
    return Facts(
        h=grey.shape[0],
        w=grey.shape[1],
        bits=8 * image.itemsize,
        colour=images.colourfulness(image),
        rgb=image.ndim == 3,
        low=low,
        high=high,
        full=float(1 - below[253]),
        look=look.astype(np.float16),
        signs=_signs(grey),
    )


def _signs(grey: np.ndarray) -> np.ndarray:
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[:8, :8].ravel()[1:]  # without the mean
    return lowest > np.median(lowest)


def similarity(a: Facts, b: Facts) -> float:
    """Correlation of two looks, -1 to 1; 0 where a picture is blank."""
    return float((a.look.astype(np.float32) * b.look.astype(np.float32)).mean())


def candidates(a: Sequence[Facts], b: Sequence[Facts]) -> list[tuple[int, int]]:
    """The (i, j) whose hashes are near enough for a[i] and b[j] to be copies; compares all with all, in blocks."""
    if not a or not b:
        return []
    left, right = (np.array([f.signs for f in side], np.float32) * 2 - 1 for side in (a, b))
    found = []
    for start in range(0, len(left), 1024):
        distance = (left.shape[1] - left[start : start + 1024] @ right.T) / 2
        found += [(start + int(i), int(j)) for i, j in np.argwhere(distance <= HASH_DISTANCE)]
    return found
