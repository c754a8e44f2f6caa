"""How far the two pictures of a pair lie apart, how sure that is, and aligning them.

Infrared and visible share edges, not brightness, and an edge may be bright-to-dark in one and dark-to-bright in the
other. So a pixel is described by the direction of its gradient alone, with the angle doubled, which makes opposite
directions equal; the peak of the cross-correlation of two such fields is the shift. This is the orientation
correlation of Fitch, Kadyrov, Christmas, Kittler, "Orientation correlation", BMVC 2002, in the form that is blind to
contrast reversal, with two changes: weak gradients count less than their surroundings' strong ones, and the
correlation is smoothed before its peak is sought, because parallax and lens distortion spread the true peak over
several pixels. Alignment is OpenCV's enhanced correlation coefficient (Evangelidis, Psarakis, PAMI 30(10), 2008) on
gradient magnitudes; it is believed only where the directions agree better afterwards.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import cv2
import numpy as np
from scipy import fft

from fusion.images import luminance

Model = Literal["translation", "affine", "homography"]
MODELS: tuple[Model, ...] = ("translation", "affine", "homography")

# The peak must stand this many standard deviations above the next one. Measured on MSRS: pictures of two different
# scenes reach 1.35 (573 trials), those of one scene have 3.0 in the median (tests/data/test_registration.py, slow).
SURE = 1.75
WORKING_SIDE = 768  # pixels; longer pictures are reduced first: shifts of noise are not of interest
SCALES = (1.0, 2.0)  # of the gradients, sigma in pixels
MOST_BEND = 0.05  # of the diagonal: what an alignment may add to the shift at a corner; 0.03 in the worst TNO pair
SMOOTHING = 3.0  # of the correlation, sigma in pixels
SURROUNDINGS = 16.0  # sigma in pixels of the mean gradient that a gradient is measured against
FAINT = 1 / 255  # a gradient of one grey level a pixel; far below it is noise

# --- the shift ------------------------------------------------------------------------------------------------------


class Shift(NamedTuple):
    """The visible content lies `dy` pixels below and `dx` pixels right of the infrared content.

    margin: the peak's height over the next best one, in standard deviations of the correlation; 0 for no estimate.
    """

    dy: float
    dx: float
    margin: float

    @property
    def pixels(self) -> float:
        return math.hypot(self.dy, self.dx)

    @property
    def sure(self) -> bool:
        return self.margin >= SURE


def estimate_shift(ir: np.ndarray, vis: np.ndarray, reach: int | None = None) -> Shift:
    """The shift between two pictures of one size: (H, W) or (H, W, 3) of any depth.

    reach: the greatest shift that is sought, in pixels; by default a sixth of the shorter side, 48 at most (in a
    picture that is reduced for speed, 48 of the reduced one's). Raises ValueError for two sizes.
    """
    ir, vis = luminance(ir), luminance(vis)
    if ir.shape != vis.shape:
        raise ValueError(f"ir is {ir.shape[0]}x{ir.shape[1]} but vis is {vis.shape[0]}x{vis.shape[1]}: use one size")
    h, w = ir.shape
    step = max(1, round(max(h, w) / WORKING_SIDE))
    if step > 1:
        ir, vis = (cv2.resize(x, (w // step, h // step), interpolation=cv2.INTER_AREA) for x in (ir, vis))
    reach = min(48, min(ir.shape) // 6) if reach is None else min(round(reach / step), min(ir.shape) - 1)
    if reach < 4:
        return Shift(0.0, 0.0, 0.0)  # a picture of a few pixels
    dy, dx, margin = _peak(_correlation(ir, vis, reach))
    return Shift(dy * step, dx * step, margin)


def directions(x: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W) float32 in [0, 1] -> (H, W) complex64: doubled gradient angle, with a weight of 0 to sqrt(2)."""
    dy, dx = _gradient(x, sigma)
    energy = dx * dx + dy * dy
    strength = np.sqrt(energy) + 1e-12
    usual = np.sqrt(cv2.GaussianBlur(energy, (0, 0), SURROUNDINGS)) + FAINT
    weight = np.sqrt(np.minimum(strength / usual, 2)) / strength**2
    field = np.empty(x.shape, np.complex64)
    field.real, field.imag = (dx * dx - dy * dy) * weight, 2 * dx * dy * weight
    field[~_inside(x, math.ceil(2 * sigma))] = 0
    return field


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


def _correlation(ir: np.ndarray, vis: np.ndarray, reach: int) -> np.ndarray:
    """(2 reach + 1, 2 reach + 1) float32: agreement of the directions at shifts -reach..reach, the scales' mean."""
    shape = [fft.next_fast_len(side + reach) for side in ir.shape]  # padded with zeros: nothing wraps around
    shifts = np.arange(-reach, reach + 1)
    total = np.zeros((len(shifts), len(shifts)), np.float32)
    for sigma in SCALES:
        spectrum = np.conj(fft.fft2(directions(ir, sigma), shape)) * fft.fft2(directions(vis, sigma), shape)
        found = fft.ifft2(spectrum).real[np.ix_(shifts, shifts)]
        total += found / (found.std() + 1e-9)
    return cv2.GaussianBlur(total, (0, 0), SMOOTHING)


def _peak(surface: np.ndarray) -> tuple[float, float, float]:
    """(dy, dx, margin) of the highest point, to a fraction of a pixel; a point on the rim is no peak: margin 0."""
    reach = len(surface) // 2
    y, x = (int(i) for i in np.unravel_index(surface.argmax(), surface.shape))
    grid = np.arange(2 * reach + 1)
    away = surface[np.hypot(grid[:, None] - y, grid - x) > 4 * SMOOTHING]
    if not (0 < y < 2 * reach and 0 < x < 2 * reach) or not away.size or away.std() == 0:
        return float(y - reach), float(x - reach), 0.0
    margin = float((surface[y, x] - away.max()) / away.std())
    return y - reach + _vertex(surface[y - 1 : y + 2, x]), x - reach + _vertex(surface[y, x - 1 : x + 2]), margin


def _vertex(three: np.ndarray) -> float:
    """Where the parabola through three neighbours, the middle one highest, has its top: -0.5 to 0.5."""
    before, here, after = (float(v) for v in three)
    bend = before - 2 * here + after
    return 0.0 if bend == 0 else min(0.5, max(-0.5, (before - after) / (2 * bend)))


# --- alignment ------------------------------------------------------------------------------------------------------


class Alignment(NamedTuple):
    """What brings the infrared onto the visible picture.

    matrix: (3, 3), a pixel (x, y, 1) of the visible picture -> its place in the infrared one.
    before, after: agreement of gradient directions, -1 to 1, that of unrelated pictures being 0.
    model: the simplest one that was not bettered, `none` where nothing helped.
    """

    matrix: np.ndarray
    before: float
    after: float
    model: str


def find_alignment(ir: np.ndarray, vis: np.ndarray, model: Model = "homography") -> Alignment:
    """The alignment of a pair, as far as `model`. (H, W) or (H, W, 3) of any depth, the two sizes may differ.

    Pictures of different size are taken to show the same view. From the shift on, each richer model starts where the
    last one ended; it is kept only if the directions agree better by a fiftieth and the pair then surely lies within
    two pixels. So two pictures without common edges stay as they are.
    """
    ir, vis = luminance(ir), luminance(vis)
    h, w = vis.shape
    scale = _scale(ir.shape[1] / w, ir.shape[0] / h)
    if ir.shape != vis.shape:
        ir = cv2.resize(ir, (w, h), interpolation=cv2.INTER_AREA if ir.size > vis.size else cv2.INTER_LINEAR)
    best = Alignment(np.eye(3), *[_agreement(ir, vis, np.eye(3))] * 2, "none")
    shift = estimate_shift(ir, vis)
    if shift.sure:
        best = _better(best, np.array([[1, 0, -shift.dx], [0, 1, -shift.dy], [0, 0, 1]]), ir, vis, "translation")
    start = best.matrix
    for richer in MODELS[1 : MODELS.index(model) + 1]:
        matrix = _refined(ir, vis, best.matrix, richer)
        if matrix is not None and _bend(matrix, start, h, w) <= MOST_BEND * math.hypot(h, w):
            best = _better(best, matrix, ir, vis, richer)
    return best._replace(matrix=scale @ best.matrix)


def _scale(x: float, y: float) -> np.ndarray:
    """(3, 3): a pixel of a resized picture -> its place in the one it was resized from, which is x by y times as
    large. The corners of the pictures meet, not the centres of their corner pixels.
    """
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _better(old: Alignment, matrix: np.ndarray, ir: np.ndarray, vis: np.ndarray, model: str) -> Alignment:
    after = _agreement(ir, vis, matrix)
    if after <= max(1.02 * old.after, old.after + 0.002):
        return old
    rest = estimate_shift(*aligned(ir, vis, matrix))
    return Alignment(matrix, old.before, after, model) if rest.sure and rest.pixels <= 2 else old


def _bend(matrix: np.ndarray, start: np.ndarray, h: int, w: int) -> float:
    """How far apart two alignments put the corners of an h x w picture, in pixels, at most."""
    corners = np.array([[[0, 0], [w, 0], [w, h], [0, h]]], np.float64)
    apart = cv2.perspectiveTransform(corners, matrix) - cv2.perspectiveTransform(corners, start)
    return float(np.hypot(apart[..., 0], apart[..., 1]).max())


def _agreement(ir: np.ndarray, vis: np.ndarray, matrix: np.ndarray) -> float:
    """Mean cosine of twice the angle between the two gradients, weighted, where both pictures are. -1 to 1."""
    h, w = vis.shape
    moved = cv2.warpPerspective(ir, matrix, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    top, left, bottom, right = overlap(ir.shape, (h, w), matrix)
    if bottom - top < h // 2 or right - left < w // 2:
        return -1.0  # no registration throws half a picture away
    a, b = (directions(x[top:bottom, left:right], 1.5) for x in (moved, vis))
    norm = math.sqrt(float((np.abs(a) ** 2).sum()) * float((np.abs(b) ** 2).sum()))
    return float((np.conj(a) * b).real.sum()) / norm if norm else 0.0


def _refined(ir: np.ndarray, vis: np.ndarray, start: np.ndarray, model: Model) -> np.ndarray | None:
    """`start` improved by ECC, coarse to fine; None where that leads nowhere."""
    motion = cv2.MOTION_HOMOGRAPHY if model == "homography" else cv2.MOTION_AFFINE
    matrix = start.copy()
    for step in (4, 2, 1):
        if min(vis.shape) // step < 60:
            continue
        zoom = _scale(step, step)
        small = [
            cv2.resize(_outlines(x), None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA) for x in (vis, ir)
        ]
        warp = np.linalg.inv(zoom) @ matrix @ zoom
        rows = 3 if model == "homography" else 2
        until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
        try:
            _, warp = cv2.findTransformECC(*small, warp[:rows].astype(np.float32), motion, until, None, 5)
        except cv2.error:  # "does not converge"
            return None
        full = np.eye(3)
        full[:rows] = warp
        matrix = zoom @ full @ np.linalg.inv(zoom)
    return matrix / matrix[2, 2] if np.isfinite(matrix).all() and matrix[2, 2] else None


def _outlines(x: np.ndarray) -> np.ndarray:
    """(H, W) float32: gradient magnitude against its surroundings'; alike in both modalities."""
    dy, dx = _gradient(x, 1.5)
    energy = dx * dx + dy * dy
    usual = np.sqrt(cv2.GaussianBlur(energy, (0, 0), SURROUNDINGS)) + FAINT
    return np.minimum(np.sqrt(energy) / usual, 3)


def overlap(ir: tuple[int, ...], vis: tuple[int, ...], matrix: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, bottom, right): a rectangle of the visible picture that the moved infrared fills.

    ir, vis: the shapes of the two pictures; matrix as in `Alignment`. Ends are exclusive.
    """
    h, w = vis[:2]
    corners = np.array([[[0, 0], [ir[1] - 1, 0], [ir[1] - 1, ir[0] - 1], [0, ir[0] - 1]]], np.float64)
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = cv2.perspectiveTransform(corners, np.linalg.inv(matrix))[0]
    top, left = (max(0, math.ceil(round(v, 3))) for v in (max(y0, y1), max(x0, x3)))
    bottom, right = min(h, math.floor(round(min(y2, y3), 3)) + 1), min(w, math.floor(round(min(x1, x2), 3)) + 1)
    return top, left, max(top, bottom), max(left, right)


def aligned(ir: np.ndarray, vis: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ir, vis) cut to what both show, the infrared moved onto the visible picture; depth and channels stay."""
    h, w = vis.shape[:2]
    top, left, bottom, right = overlap(ir.shape, vis.shape, matrix)
    moved = cv2.warpPerspective(
        ir, matrix, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return moved[top:bottom, left:right], vis[top:bottom, left:right]
