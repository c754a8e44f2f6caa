"""Bringing a pair to one size: resizing that keeps the shape of things, or alignment (`alignment.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import cv2
import numpy as np

from fusion.data.alignment import Alignment, Model, aligned, find_alignment

SAME_SHAPE = 0.01  # by how much two ratios of width to height may differ: sizes are whole pixels


def resized(image: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, str]:
    """`image` at the size of `like`, and what was cut off for it, in words: its middle is used where shapes differ."""
    (h, w), (own_h, own_w) = like.shape[:2], image.shape[:2]
    cut = ""
    if abs((own_w * h) / (own_h * w) - 1) > SAME_SHAPE:
        high, wide = (own_h, round(own_h * w / h)) if own_w * h > own_h * w else (round(own_w * h / w), own_w)
        top, left = (own_h - high) // 2, (own_w - wide) // 2
        image = image[top : top + high, left : left + wide]
        cut = f"is {own_h}x{own_w}, another shape than {h}x{w} (height x width): its middle {high}x{wide} is used"
    shrinks = h * w < image.shape[0] * image.shape[1]
    return cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), cut


class OneSize:
    """Brings pairs to one size, as asked.

    resize: which of the two is brought to the size of the other; align: the most that an alignment does; steady: one
    alignment for all pairs (a video's), of the first that is sure. note: shown what a person should know.
    """

    def __init__(
        self,
        resize: Literal["ir", "vis"] | None = None,
        align: Model | None = None,
        *,
        steady: bool = False,
        note: Callable[[str], object] = print,
    ):
        if resize and align:
            raise ValueError("--resize and --align exclude each other: --align brings pairs of any two sizes together")
        self.resize, self.align, self.steady, self.note = resize, align, steady, note
        self.found: Alignment | None = None
        self._said: set[str] = set()

    def __call__(self, ir: np.ndarray, vis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ir, vis) of one size. Raises ValueError where no alignment is sure."""
        if self.align:
            return self._aligned(ir, vis)
        if self.resize == "ir":
            ir, cut = resized(ir, vis)
        elif self.resize == "vis":
            vis, cut = resized(vis, ir)
        else:
            return ir, vis
        if cut and cut not in self._said:
            self._said.add(cut)
            self.note(f"{self.resize} {cut}; --align finds which part of it shows the same view")
        return ir, vis

    def _aligned(self, ir: np.ndarray, vis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self.found if self.steady and self.found else find_alignment(ir, vis, self.align)
        if not found.sure:
            raise ValueError(f"ir and vis could not be aligned: {found.text}; leave the pair out, or align it by hand")
        if found is not self.found:
            self.note(f"aligned by {found.text}" if found.model != "none" else found.text)
        self.found = found
        if found.model == "none" and ir.shape[:2] == vis.shape[:2]:
            return ir, vis
        return aligned(ir, vis, found.matrix, found.bend)

    def prepare(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Of a video's pairs, align the surest once for all. Raises ValueError where none is sure."""
        tried = [find_alignment(ir, vis, self.align) for ir, vis in pairs]
        if not tried:
            return
        best = min(tried, key=lambda found: (not found.sure, found.evidence.chance))
        if not best.sure:
            raise ValueError(
                f"the videos could not be aligned: of {len(tried)} pairs of frames none is sure ({best.text})"
            )
        self.found = best
        self.note(f"aligned by {best.text}, the same for all frames")
