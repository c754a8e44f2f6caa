"""Bringing the infrared onto the visible picture: other field of view, scale, shift, a small rotation, some bend.

A coarse search finds the view (`view_search.py`), a fit makes it exact and areas that are matched one by one say
whether to believe it (`view_fit.py`). Affine maps and homographies start there, by OpenCV's enhanced correlation
coefficient (Evangelidis, Psarakis, PAMI 30(10), 2008) on gradient magnitudes; each is kept only where the directions
agree better.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import cv2
import numpy as np

from fusion.data.directions import directions, outlines
from fusion.data.view_fit import Evidence, evidence, fit
from fusion.data.view_search import Picture, Place, corners, far_apart, laid, moved, places, scaling, search
from fusion.images import luminance

Model = Literal["translation", "similarity", "affine", "homography"]
MODELS: tuple[Model, ...] = ("translation", "similarity", "affine", "homography")

LARGEST = 1024  # pixels of the longer side; longer pictures are reduced first
MOST_BEND = 0.03  # of the diagonal: what an affine map or a homography may add at a corner
MANY, FEW = 12, 3  # places that the search hands on, and of these those that fit best
LEAST_SHARED = 0.1  # of the smaller picture


class Alignment(NamedTuple):
    """What brings the infrared onto the visible picture.

    matrix: (3, 3), a pixel (x, y, 1) of the visible picture -> its place in the infrared one.
    before, after: agreement of gradient directions, -1 to 1, that of unrelated pictures being 0.
    model: the simplest one that was not bettered; `none` where the pair lies right, or where nothing is sure.
    bend: the difference of the two lenses: how much further out the infrared picture shows the visible one's corners,
    as a share of half the diagonal. A pixel is first moved by that (`view_search.radial`) and then by the matrix.
    evidence: the areas that agree with it; an alignment that is not `sure` is no more than a guess.
    """

    matrix: np.ndarray
    before: float
    after: float
    model: str
    evidence: Evidence
    bend: float = 0.0

    @property
    def sure(self) -> bool:
        return self.evidence.sure

    @property
    def text(self) -> str:
        """In words: what was found and on what grounds."""
        grounds = f"{self.evidence.agreeing} of {self.evidence.areas} areas agree"
        if not self.sure:
            apart = self.evidence.error
            off = f", and leave the corners open by {apart:.1f} pixels" if self.evidence.placed else ""
            return f"no sure alignment: {grounds}{off}"
        if self.model == "none":
            return f"the pair lies right as it is ({grounds})"
        a, b = self.matrix[:2, 0] / self.matrix[2, 2]
        turned = math.degrees(math.atan2(b, a))
        bent = f", bent by {self.bend:.1%}" if abs(self.bend) > 0.005 else ""
        return f"{self.model}: ir {math.hypot(a, b):.3f} times vis, turned by {turned:.1f} degrees{bent} ({grounds})"


def find_alignment(ir: np.ndarray, vis: np.ndarray, model: Model = "similarity") -> Alignment:
    """The alignment of a pair, as far as `model`. (H, W) or (H, W, 3) of any depth and size, raw counts too.

    Sought: infrared views of half to twice the size of the visible one, turned by up to 7 degrees, anywhere, and with a
    similarity the difference of the two lenses. Each richer model starts where the last one ended and is kept only if
    the directions agree better by a fiftieth.
    """
    ir, vis = luminance(ir), luminance(vis)
    zooms = []
    for x in (ir, vis):
        step = max(1, math.ceil(max(x.shape) / LARGEST))
        zooms.append(scaling(step, step))
    ir, vis = (_reduced(x, round(zoom[0, 0])) for x, zoom in zip((ir, vis), zooms, strict=True))
    pictures = Picture.of(ir), Picture.of(vis)
    start = _centred(ir.shape, vis.shape)
    best = Alignment(start, *[_agreement(*pictures, start)] * 2, "none", evidence(*pictures, start))
    view = "translation" if model == "translation" else "similarity"
    best = _better(best, *_placed(model == "translation", *pictures, start), view, *pictures)
    for richer in MODELS[2 : MODELS.index(model) + 1]:
        matrix = _refined(*pictures, best, richer) if best.sure else None
        if matrix is not None and _bend(matrix, best.matrix, *vis.shape) <= MOST_BEND * math.hypot(*vis.shape):
            best = _better(best, matrix, best.bend, richer, *pictures)
    if not best.sure:
        best = best._replace(model="none")
    return best._replace(matrix=zooms[0] @ best.matrix @ np.linalg.inv(zooms[1]))


def _reduced(x: np.ndarray, step: int) -> np.ndarray:
    h, w = x.shape
    return cv2.resize(x[: h // step * step, : w // step * step], (w // step, h // step), interpolation=cv2.INTER_AREA)


def _centred(ir: tuple[int, ...], vis: tuple[int, ...]) -> np.ndarray:
    """(3, 3): the infrared view as large as fits into the visible one, in its middle."""
    zoom = max(ir[0] / vis[0], ir[1] / vis[1])
    middle = [(a - zoom * b) / 2 + (zoom - 1) / 2 for a, b in ((ir[1], vis[1]), (ir[0], vis[0]))]
    return np.array([[zoom, 0, middle[0]], [0, zoom, middle[1]], [0, 0, 1]])


def _better(old: Alignment, matrix: np.ndarray, bend: float, model: Model, ir: Picture, vis: Picture) -> Alignment:
    """The alignment by `matrix` and `bend`, or the old one where that is no worse."""
    found, after = evidence(ir, vis, matrix, bend), _agreement(ir, vis, matrix, bend)
    if old.sure and (not found.sure or after <= max(1.02 * old.after, old.after + 0.002)):
        return old
    return Alignment(matrix, old.before, after, model, found, bend)


def _placed(shift_alone: bool, ir: Picture, vis: Picture, start: np.ndarray) -> tuple[np.ndarray, float]:
    """(matrix, bend): of all views, or of all shifts, the one that most areas agree with.

    The search ranks by edges that meet roughly, and the fit may make a wrong place look better than a right one that
    it makes less exact. So the first of either are judged by areas, as the result will be.
    """
    free = 2 if shift_alone else 4
    found = search(ir, vis, (1.0,), (0.0,), MANY) if shift_alone else search(ir, vis, most=MANY)
    views = [_shifted(start, p.matrix, *vis.x.shape) if shift_alone else p.matrix for p in found]
    fits = [fit(ir, vis, view, 256, 4.0, free, rough=True) for view in [start, *views]]
    rough = [Place(matrix, height) for matrix, _, height in fits]
    likely = [*far_apart(rough, vis.x.shape, FEW), *rough[1:3]]
    tried = [fit(ir, vis, place.matrix, 256, 2.0, free) for place in likely]
    matrix, _, _ = min(tried, key=lambda one: (evidence(ir, vis, one[0]).chance, -one[2]))
    matrix, bend, _ = fit(ir, vis, matrix, 512, 4.0, free)
    if not shift_alone:
        matrix, bend, _ = fit(ir, vis, matrix, 512, 2.0, 5)
    return matrix, bend


def _shifted(start: np.ndarray, to: np.ndarray, h: int, w: int) -> np.ndarray:
    """`start`, its shift such that the middle of the visible picture lies where `to` puts it."""
    shifted = start.copy()
    shifted[:2, 2] += ((to - start) @ ((w - 1) / 2, (h - 1) / 2, 1))[:2]
    return shifted


def _bend(matrix: np.ndarray, start: np.ndarray, h: int, w: int) -> float:
    """How far apart two alignments put the corners of an h x w picture, in pixels of its own, at most."""
    there = cv2.perspectiveTransform(corners(h, w), np.linalg.inv(start) @ matrix) - corners(h, w)
    return float(np.hypot(there[..., 0], there[..., 1]).max())


def _agreement(ir: Picture, vis: Picture, matrix: np.ndarray, bend: float = 0.0) -> float:
    """Mean cosine of twice the angle between the two gradients, weighted, where both pictures are. -1 to 1."""
    h, w = vis.x.shape
    there = moved(ir.x, matrix, h, w, bend, cv2.BORDER_CONSTANT)
    top, left, bottom, right = overlap(ir.x.shape, (h, w), matrix, bend)
    if (bottom - top) * (right - left) < LEAST_SHARED * h * w:
        return -1.0
    a, b = (directions(x[top:bottom, left:right], 1.5) for x in (there, vis.x))
    norm = math.sqrt(float((np.abs(a) ** 2).sum()) * float((np.abs(b) ** 2).sum()))
    return float((np.conj(a) * b).real.sum()) / norm if norm else 0.0


def _refined(ir: Picture, vis: Picture, start: Alignment, model: Model) -> np.ndarray | None:
    """The matrix of `start` improved by ECC, coarse to fine, where both pictures are; None where that leads nowhere."""
    motion = cv2.MOTION_HOMOGRAPHY if model == "homography" else cv2.MOTION_AFFINE
    rows, matrix = (3 if model == "homography" else 2), np.eye(3)
    h, w = vis.x.shape
    there, inside = laid(ir, start.matrix, h, w, start.bend)
    inside = np.where(inside & (vis.mask == 255), 255, 0).astype(np.uint8)
    for step in (4, 2, 1):
        if min(h, w) // step < 60:
            continue
        zoom, size = scaling(step, step), (w // step, h // step)
        small = [cv2.resize(outlines(x), size, interpolation=cv2.INTER_AREA) for x in (vis.x, there)]
        mask = cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST)
        warp = (np.linalg.inv(zoom) @ matrix @ zoom)[:rows].astype(np.float32)
        until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
        full = np.eye(3)
        try:
            full[:rows] = cv2.findTransformECC(*small, warp, motion, until, mask, 5)[1]
        except cv2.error:  # "does not converge"
            return None
        matrix = zoom @ full @ np.linalg.inv(zoom)
    matrix = start.matrix @ matrix
    return matrix / matrix[2, 2] if np.isfinite(matrix).all() and matrix[2, 2] else None


# --- the pictures brought together ----------------------------------------------------------------------------------


def overlap(
    ir: tuple[int, ...], vis: tuple[int, ...], matrix: np.ndarray, bend: float = 0.0
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right): a rectangle of the visible picture that the moved infrared fills.

    ir, vis: the shapes of the two pictures; matrix and bend as in `Alignment`. Ends are exclusive.
    """
    h, w = vis[:2]
    corners = np.array([[[0, 0], [ir[1] - 1, 0], [ir[1] - 1, ir[0] - 1], [0, ir[0] - 1]]], np.float64)
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = cv2.perspectiveTransform(corners, np.linalg.inv(matrix))[0]
    top, left = (max(0, math.ceil(round(v, 3))) for v in (max(y0, y1), max(x0, x3)))
    bottom, right = min(h, math.floor(round(min(y2, y3), 3)) + 1), min(w, math.floor(round(min(x1, x2), 3)) + 1)
    filled = top, left, max(top, bottom), max(left, right)
    return _all_inside(ir, vis, matrix, bend, filled) if bend else filled


def _all_inside(
    ir: tuple[int, ...], vis: tuple[int, ...], matrix: np.ndarray, bend: float, filled: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """The rectangle without its outermost rows and columns, as many as show what is not in the infrared picture."""
    x, y = places(matrix, *vis[:2], bend)
    outside = (x < -0.001) | (y < -0.001) | (x > ir[1] - 0.999) | (y > ir[0] - 0.999)
    top, left, bottom, right = filled
    while top < bottom and left < right:
        part = outside[top:bottom, left:right]
        shares = [float(line.mean()) for line in (part[0], part[:, 0], part[-1], part[:, -1])]
        worst = int(np.argmax(shares))
        if not shares[worst]:
            break
        top, left, bottom, right = top + (worst == 0), left + (worst == 1), bottom - (worst == 2), right - (worst == 3)
    return top, left, bottom, right


def aligned(ir: np.ndarray, vis: np.ndarray, matrix: np.ndarray, bend: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(ir, vis) cut to what both show, the infrared moved onto the visible picture; depth and channels stay.

    matrix and bend as in `Alignment`.
    """
    h, w = vis.shape[:2]
    top, left, bottom, right = overlap(ir.shape, vis.shape, matrix, bend)
    there = moved(ir, matrix, h, w, bend, cv2.BORDER_REPLICATE)
    return there[top:bottom, left:right], vis[top:bottom, left:right]
