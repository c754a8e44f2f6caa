"""A place made exact, and the evidence for it, both by the agreement of gradient directions (`directions.py`)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft, special

from fusion.data.directions import directions
from fusion.data.registration import peak
from fusion.data.view_search import Picture, grid, laid, radial, scaling

# --- the fit --------------------------------------------------------------------------------------------------------


IN_VIEW, MOSTLY = 0.4, 0.7
"""Shares of the visible picture shown by the infrared one: a bend can be told from a change of size only above the
first, and up to the second not well."""
LIKELY = 0.05
"""A bend that costs one standard deviation of agreement where it cannot be told well. MSRS's are such; they bring 3
to 6."""


def fit(
    ir: Picture, vis: Picture, matrix: np.ndarray, side: int, first: float, free: int = 4, *, rough: bool = False
) -> tuple[np.ndarray, float, float]:
    """(matrix, bend, height): `matrix` moved, enlarged and turned to where the directions agree best near it.

    side: of the copy of the visible picture on which that is sought, in pixels; first: the first step there, at a
    corner; free: 4, 2 for a shift alone, or 5, for a bend as well; rough: to half a pixel, enough to compare places.
    height: standard deviations above what unrelated directions give.
    """
    from scipy import optimize  # takes longer to import than all else here

    ir_field, vis_field, coarse = _fields(ir, vis, matrix, side)
    shown = np.count_nonzero(ir_field) / ir_field.size
    if free == 5 and shown < IN_VIEW:
        free = 4
    height = _height_of(ir_field, vis_field)
    usual = LIKELY * _radius(*vis_field.shape) if shown < MOSTLY else math.inf

    def cost(p: np.ndarray) -> float:
        return (p[4] / usual) ** 2 - height(p) if free == 5 else -height(p)

    best = np.zeros(5)
    close = 0.5 if rough else 0.03
    for step in (first,) if rough else (first, -first / 2):  # the second time out of where the first may have stuck
        steps = np.diag([step, step, step, step, 3 * step])[:free, :free]
        simplex = best[:free] + np.vstack([np.zeros(free), steps])
        until = {"initial_simplex": simplex, "xatol": close, "fatol": close**2, "maxiter": 200}
        best[:free] = optimize.minimize(cost, best[:free], method="Nelder-Mead", options=until).x
    moved = _similarity(best, *vis_field.shape)
    bend = float(best[4]) / _radius(*vis_field.shape)
    return matrix @ coarse @ moved @ np.linalg.inv(coarse), bend, height(best[:free])


def _radius(h: int, w: int) -> float:
    return math.hypot(h, w) / 2


def _fields(
    ir: Picture, vis: Picture, matrix: np.ndarray, side: int, bend: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The directions of both on the grid of a copy of the visible picture, and that grid: its pixel -> of `vis`."""
    zoom = min(1.0, side / max(vis.x.shape))
    h, w = (round(zoom * length) for length in vis.x.shape)
    coarse = scaling(vis.x.shape[1] / w, vis.x.shape[0] / h)
    both = laid(ir, matrix @ coarse, h, w, bend), laid(vis, coarse, h, w)
    fields = (directions(x, 1.5, inside) for x, inside in both)
    return *fields, coarse


def _height_of(ir: np.ndarray, vis: np.ndarray) -> Callable[[np.ndarray], float]:
    """Standard deviations of agreement, as a function of what moves `ir`."""
    h, w = vis.shape
    planes = cv2.GaussianBlur(np.dstack([ir.real, ir.imag]), (0, 0), 1.0)
    real, imaginary, energy = vis.real.copy(), vis.imag.copy(), np.abs(vis) ** 2
    at, by = grid(h, w), radial(h, w)

    def height(p: np.ndarray) -> float:
        matrix = _similarity(p, h, w)[:2]
        if len(p) == 5:
            bend = np.float32(p[4] / _radius(h, w))
            x, y = at[0] + bend * by[0], at[1] + bend * by[1]
            places = (np.float32(u) * x + np.float32(v) * y + np.float32(shift) for u, v, shift in matrix)
            a, b = cv2.split(cv2.remap(planes, *places, cv2.INTER_LINEAR))
        else:
            a, b = cv2.split(cv2.warpAffine(planes, matrix, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
        agreement = float(np.vdot(a, real)) + float(np.vdot(b, imaginary))
        return agreement / math.sqrt(float(np.vdot(a * a + b * b, energy)) / 2 + 1e-9)

    return height


def _similarity(p: np.ndarray, h: int, w: int) -> np.ndarray:
    """(3, 3): shift in x and y, enlargement and turn about the centre, each by as much as it moves a corner."""
    radius, (dx, dy, enlarged, turned) = _radius(h, w), (*p, 0, 0)[:4]
    c, s = ((1 + enlarged / radius) * f(turned / radius) for f in (math.cos, math.sin))
    x, y = (w - 1) / 2, (h - 1) / 2
    return np.array([[c, -s, x + dx - c * x + s * y], [s, c, y + dy - s * x - c * y], [0, 0, 1]])


# --- the evidence ---------------------------------------------------------------------------------------------------

SIDE = 512  # pixels of the longer side of the copies on which areas are compared
AREA = 64  # pixels of an area's side
REACH = 12  # pixels: how far an area may move on its own
NEAR = 2.5  # pixels: how far it moves at most where the alignment is right
FILLED = 0.7  # of an area: the least that both pictures show
BY_CHANCE = 21 / (2 * REACH + 1) ** 2  # whole-pixel shifts up to NEAR, of all that an area may take
SURE = 1e-7
"""Probability of so many areas agreeing by chance, below which an alignment is believed."""
EXACT = 1.25
"""Pixels of expected error at the corners, from which on it is not."""


class Evidence(NamedTuple):
    """Parts of the pair, each matched by itself. areas: how many; agreeing: how many of them say the same.

    error: the mean error to be expected at the corners of the visible picture, in pixels of the finer of the two
    pictures, from how well the agreeing areas agree and where they are.
    """

    agreeing: int
    areas: int
    error: float

    @property
    def chance(self) -> float:
        """The probability of this or more agreement between unrelated pictures, as of independent areas."""
        if not self.agreeing:
            return 1.0
        return float(special.bdtrc(self.agreeing - 1, self.areas, BY_CHANCE))  # of the binomial distribution

    @property
    def placed(self) -> bool:
        """Whether this is the right place, exact or not."""
        return self.chance < SURE

    @property
    def sure(self) -> bool:
        return self.placed and self.error < EXACT


def evidence(ir: Picture, vis: Picture, matrix: np.ndarray, bend: float = 0.0) -> Evidence:
    """Whether parts of the pair, each matched by itself, lie where `matrix` and `bend` put them."""
    ir_field, vis_field, coarse = _fields(ir, vis, matrix, SIDE, bend)
    h, w = vis_field.shape
    areas, agreeing = 0, []
    for y, x in itertools.product(*(range(0, side - AREA + 1, AREA) for side in (h, w))):
        a, b = (field[y : y + AREA, x : x + AREA] for field in (ir_field, vis_field))
        if min(np.count_nonzero(a), np.count_nonzero(b)) >= FILLED * AREA**2:
            areas += 1
            shift = _own_shift(a, b)
            if math.hypot(*shift) <= NEAR:
                agreeing.append((x + AREA / 2, y + AREA / 2, *shift))
    finer = max(1.0, math.sqrt(abs(np.linalg.det(matrix[:2, :2])))) * float(coarse[0, 0])
    return Evidence(len(agreeing), areas, finer * _corner_error(np.array(agreeing), h, w))


def _own_shift(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """(dx, dy) between two areas, in pixels."""
    shape = [AREA + REACH] * 2
    shifts = np.arange(-REACH, REACH + 1)
    found = fft.ifft2(np.conj(fft.fft2(a, shape)) * fft.fft2(b, shape)).real[np.ix_(shifts, shifts)]
    dy, dx, _ = peak(cv2.GaussianBlur(found, (0, 0), 1.5))
    return dx, dy


def _corner_error(agreeing: np.ndarray, h: int, w: int) -> float:
    """What the scatter of areas (N, 4: x, y, dx, dy) leaves open of a similarity, as a distance at the corners.

    Least squares: a shift and a complex factor, so a displacement at distance r from the areas' middle has the
    variance (1/N + r^2 / sum of r_i^2) times that of an area's.
    """
    if len(agreeing) < 4:
        return math.inf
    at, moved = (agreeing[:, i] + 1j * agreeing[:, i + 1] for i in (0, 2))
    middle = at.mean()
    spread = float((np.abs(at - middle) ** 2).sum()) + 1e-9
    factor = (np.conj(at - middle) * moved).sum() / spread
    rest = moved - moved.mean() - factor * (at - middle)
    variance = float((np.abs(rest) ** 2).sum()) / (len(agreeing) - 2)
    far = np.abs(np.array([0, w, w + 1j * h, 1j * h]) - middle) ** 2
    return float(np.sqrt(math.pi / 4 * variance * (1 / len(agreeing) + far / spread)).mean())
