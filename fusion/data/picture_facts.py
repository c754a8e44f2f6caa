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
from fusion.reading import file_size, of_type, ranges

__all__ = ["Facts", "candidates", "facts", "file_size", "similarity"]

COPY = 0.995  # correlation of two looks from which on one picture is a copy of the other
ALIKE = 0.97
HASH_DISTANCE = 10  # signs of 63 in which a copy may differ
COLOURED = 2.0  # grey levels between a pixel's greatest and least channel, on average; gray JPEGs stay below 1

BLACK = 8  # grey levels: all but a thousandth of a black picture is darker
DIM = 32
CONSTANT = 4  # grey levels from the darkest to the brightest thousandth
WHITE, BORDER = 250, 0.02  # level of a white border, and its least share of a side
PALETTE = 0.7  # colours (of 4096) for each level of saturation; palettes have 0.4 at most, pictures 0.9 at least
DARK_FRAME, DARK = 0.8, 12  # share of a frame of 8 pixels, and the level it lies below, of PET, SPECT, CT and MRI
SATURATED, BRIGHT = 0.25, 0.1  # share of pixels at the upper end; 0.155 at most in the untouched sets


@dataclass(frozen=True)
class Facts:
    """One picture, measured. Grey levels count 0..255 whatever the depth.

    colour: mean difference between the channels; palette: whether the colours are those of a false-colour table;
    dark_frame: whether it lies on black, as medical pictures do; border: width in pixels of a white border, at its
    widest side; range: raw values between which all but a thousandth at either end lie; narrow: whether those are so
    few of 16 bits that they are no brightness (`reading.ranges` decides). What follows is of the picture inside its
    border. low, high: all but a thousandth of the pixels lie above, below;
    full: share of pixels at the two highest levels; look: (64, 64) float16 of mean 0 and deviation 1, zeros where
    the picture is blank; signs: (63,) bool, the perceptual hash.
    """

    h: int
    w: int
    bits: int
    colour: float
    palette: bool
    rgb: bool
    dark_frame: bool
    border: int
    range: tuple[int, int]
    narrow: bool
    low: int
    high: int
    full: float
    look: np.ndarray
    signs: np.ndarray

    @property
    def coloured(self) -> bool:
        return self.colour >= COLOURED

    @property
    def used(self) -> float:
        """The share of the depth's range that the picture uses."""
        return (self.range[1] - self.range[0]) / (2**self.bits - 1)

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
    whole = levels(image)
    top, bottom, left, right = _white_border(whole)
    grey = whole[top : whole.shape[0] - bottom, left : whole.shape[1] - right]
    below = np.bincount(grey.ravel(), minlength=256).cumsum() / grey.size
    low, high = int(np.searchsorted(below, 0.001)), int(np.searchsorted(below, 0.999))
    small = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    spread = small.std() if high - low > CONSTANT else 0.0
    look = (small - small.mean()) / spread if spread else np.zeros_like(small)
    colour = images.colourfulness(image)
    extent = ranges.extent(of_type(image), "") if image.dtype == np.uint16 else None
    edges = [part.ravel() for part in (whole[:8], whole[-8:], whole[:, :8], whole[:, -8:])]
    return Facts(
        h=whole.shape[0],
        w=whole.shape[1],
        bits=8 * image.itemsize,
        colour=colour,
        palette=_is_palette(image, colour),
        rgb=image.ndim == 3,
        dark_frame=bool((np.concatenate(edges) <= DARK).mean() >= DARK_FRAME),
        border=max(top, bottom, left, right),
        range=_range(extent) if extent else (low, high),
        narrow=extent is not None and ranges.uses_a_fraction(extent),
        low=low,
        high=high,
        full=float(1 - below[253]),
        look=look.astype(np.float16),
        signs=_signs(grey),
    )


def _white_border(grey: np.ndarray) -> tuple[int, int, int, int]:
    """Width at the top, bottom, left, right; zeros unless two opposite sides have one: a sky is no border."""
    sides = []
    for axis in (1, 0):
        dark = np.flatnonzero((grey < WHITE).mean(axis) > 0.02)
        if not len(dark):
            return 0, 0, 0, 0  # all white
        least = BORDER * len(grey if axis else grey[0])
        ends = int(dark[0]), int(len(grey if axis else grey[0]) - 1 - dark[-1])
        sides += ends if min(ends) >= least else (0, 0)
    return tuple(sides)


def _range(extent: ranges.Extent) -> tuple[int, int]:
    """Of a deep picture; one that holds eight bits (times 256 or 257) uses what these use, which is all it has."""
    return (0, 65535) if extent.widened else (int(extent.least), int(extent.most))


def _is_palette(image: np.ndarray, colour: float) -> bool:
    """Whether the colours are those of a false-colour table: few of them, for how strong they are."""
    if colour < COLOURED:
        return False
    h, w = image.shape[:2]
    # Every fourth pixel as it is: the mean of two of a table's colours is none of them.
    some = cv2.resize(image, (max(1, w // 4), max(1, h // 4)), interpolation=cv2.INTER_NEAREST)
    cells = (some // (16 * (np.iinfo(image.dtype).max // 255))).astype(np.int32)
    counts = np.bincount((cells @ [256, 16, 1]).ravel(), minlength=4096)
    shares = np.sort(counts)[::-1].cumsum() / counts.sum()
    return (int(np.searchsorted(shares, 0.98)) + 1) / colour < PALETTE


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
