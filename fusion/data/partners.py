"""Whether the two pictures of a pair show one scene at all, and the same view of it.

The measure is the margin of `registration.estimate_shift` on small copies: how far the best shift stands out. Measured
on copies of 256 pixels a side, of TNO, RoadScene, MSRS (both halves) and our samples: 80 to 100 % of the pairs lie
above SURE, the median between 2.9 and 9; pictures of two scenes have 0.1 to 0.2 in the median and 1.4 at most (280
trials). Medical pairs share too few edges for a judgement. A single low margin says nothing (fog, night); many do, or a
low one whose infrared picture surely fits another visible one, or the middle of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np

from fusion.data.registration import SURE, estimate_shift
from fusion.data.view_search import Picture, search
from fusion.images import luminance, to_uint8

LEAST = 128  # pixels of the shorter side: smaller pictures have too few edges for a judgement
SIDE = 256  # pixels of a small copy's longer side
SMALL = 160  # and of the copies on which views are sought
LOW = 1.0  # a margin that most pictures of two scenes stay below, and few of one scene
SURELY = SURE + 1  # many partners and views are tried
SHARES = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.86)  # of a side; between two, edges still fall together
TRIED = 5  # pairs whose view is sought; two must agree, to a tenth of a side
# Standard deviations of the best place, and above the next one. Measured on TNO, RoadScene and MSRS, views planted
# anywhere: pictures of two scenes reach 6.1, and 0.5 above the next one; views of one
# scene have 6.7 and 1.1 in the median.
HEIGHT, ABOVE, ALONE = 5.0, 0.8, 1.2  # ALONE: where there is one pair to go by
NOTHING = np.empty((0, 0), np.uint8)
SUSPECTS = 24  # pairs among which partners are sought: each is compared with each


class Sketch(NamedTuple):
    """A pair's small copies, (h, w) uint8 of one size, empty where all is well; and the margin of their shift."""

    ir: np.ndarray
    vis: np.ndarray
    margin: float

    @classmethod
    def of(cls, ir: np.ndarray, vis: np.ndarray) -> Sketch:
        """Of two pictures of any depth; where their sizes differ, vis is brought to the shape of ir."""
        h, w = ir.shape[:2]
        scale = min(1.0, SIDE / max(h, w))
        shape = max(1, round(w * scale)), max(1, round(h * scale))
        # Reduced first: the luminance of a large picture costs more than all the rest.
        small = [luminance(cv2.resize(x, shape, interpolation=cv2.INTER_AREA)) for x in (ir, vis)]
        margin = estimate_shift(*small).margin
        # Only doubtful pairs are looked at again; thousands of the others would fill the memory.
        return cls(*(to_uint8(x) if margin < SURE else NOTHING for x in small), margin)


class Verdict(NamedTuple):
    """strange: pairs that fit no better than pictures of two scenes. whole: most are; the set is meant, not a pair.

    shares: {pair: share}, what part of vis's side ir shows (above 1: the other way round). partners: {pair: the pair
    whose visible picture its infrared one surely fits}.
    """

    strange: list[str]
    whole: bool
    shares: dict[str, float]
    partners: dict[str, str]


def judge(sketches: Mapping[str, Sketch], *, search: bool = True) -> Verdict:
    """What the sketches of a set's pairs, or of a sample of them, say together.

    search: look for the right partners of strange pairs, too, which takes long.
    """
    margins = [s.margin for s in sketches.values()]
    few = len(margins) < 4
    whole = len(margins) > 1 and (max(margins) < 0.8 * LOW if few else median(margins) < LOW)
    strange = [name for name, s in sketches.items() if s.margin < LOW]
    tried = strange[:: max(1, len(strange) // TRIED)][:TRIED] if whole or few else []
    above = ALONE if few else ABOVE
    shares = {name: share for name in tried if (share := shown_share(sketches[name], above)) is not None}
    if not few and not _agree(list(shares.values())):
        shares = {}
    doubtful = [name for name, s in sketches.items() if s.margin < SURE]
    partners = _partners(sketches, doubtful[:SUSPECTS]) if search and not shares else {}
    return Verdict(strange, whole, shares, partners)


def _agree(shares: Sequence[float]) -> bool:
    return any(abs(a - b) <= 0.1 * a for i, a in enumerate(shares) for b in shares[:i])


def shown_share(sketch: Sketch, above: float = ABOVE) -> float | None:
    """The part of a side that the one with the narrower view shows of the other, anywhere in it; None where no part
    surely fits, or the whole does.

    Below 1 ir is the narrower one, above 1 (then 1 / share) vis is. above: how far the best place must stand out.
    """
    ir, vis = (Picture.of(luminance(x)) for x in (sketch.ir, sketch.vis))
    scales = (*SHARES, 1.0, *(1 / share for share in SHARES))
    best, *others = [*search(ir, vis, scales, (0.0,), 2, SMALL), None]
    if best is None or best.height < HEIGHT or (others[0] and best.height - others[0].height < above):
        return None
    share = 1 / math.sqrt(np.linalg.det(best.matrix[:2, :2]))
    return share if abs(math.log(share)) > 0.05 else None


def _partners(sketches: Mapping[str, Sketch], suspects: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in suspects:
        own = sketches[name]
        best = max(SURELY, own.margin + 1)
        for other in suspects:
            vis = sketches[other].vis
            if other == name or vis.shape != own.ir.shape or _alike(vis, own.vis):
                continue
            margin = estimate_shift(own.ir, vis).margin
            if margin > best:
                best, found[name] = margin, other
    return found


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Frames of one scene: one fits the other's partner, and nothing is wrong with that."""
    a, b = (x.astype(np.float32) - x.mean() for x in (a, b))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return norm == 0 or float((a * b).sum()) / norm > 0.8
