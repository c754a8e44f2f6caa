"""Similarity with both sources, weighted window by window by which of them has more to show there: Q_W and Q_E (Piella,
Heijmans, ICIP 2003) on Wang and Bovik's universal index, and Q_Y (Yang, Zhang, Wang, Liu, Information Fusion
9(2), 2008) on SSIM.

No program was at hand. What the papers leave open is fixed as follows: a window without contrast in both pictures has
perfect contrast similarity, one that is black in both perfect luminance similarity, weights 0/0 are halves; edge
pictures are Sobel magnitudes with repeated border pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fusion.metrics.arrays import Array, library, ratio, window_sums
from fusion.metrics.base import metric
from fusion.metrics.scene import PLACES, SOURCES, Scene, shared
from fusion.metrics.statistics import edge_strength
from fusion.metrics.structure import constants

PIELLA = "Piella, Heijmans, Int. Conf. Image Process., 2003"
PIELLA_WINDOW = 8  # pixels
YANG_WINDOW = 7  # pixels
SIMILAR = 0.75  # from this SSIM of the two sources on, Q_Y weighs both; below, the more similar one counts


@dataclass(frozen=True)
class Window:
    """What a picture has in every window: mean and variance, as maps."""

    mean: Array
    variance: Array


def _moments(image: Array, size: int) -> Window:
    n = size * size
    total = window_sums(image, size)
    # n times the sum of squares: exact for whole grey levels, so that a flat window has no variance at all.
    return Window(
        total / n, library(image).clip((window_sums(image * image, size) * n - total * total) / n**2, 0, None)
    )


def _covariance(x: Array, y: Array, size: int) -> Array:
    n = size * size
    return (window_sums(x * y, size) * n - window_sums(x, size) * window_sums(y, size)) / n**2


def universal_index(x: Array, y: Array, a: Window, b: Window, size: int) -> Array:
    """Wang and Bovik's Q_0 = 4 cov m_x m_y / ((v_x + v_y) (m_x^2 + m_y^2)) in every window, -1..1."""
    luminance = ratio(2 * a.mean * b.mean, a.mean**2 + b.mean**2, 1.0)
    return luminance * ratio(2 * _covariance(x, y, size), a.variance + b.variance, 1.0)


def weighted_index(fused: Array, ir: Array, vis: Array) -> float:
    """Piella and Heijmans' Q_W of three (H, W) pictures, -1..1."""
    size = PIELLA_WINDOW
    f, a, b = (_moments(image, size) for image in (fused, ir, vis))
    share = ratio(a.variance, a.variance + b.variance, 0.5)
    index = share * universal_index(ir, fused, a, f, size) + (1 - share) * universal_index(vis, fused, b, f, size)
    salience = library(fused).maximum(a.variance, b.variance)
    total = float(salience.sum())
    return float((salience * index).sum()) / total if total > 0 else float(index.mean())


@shared
def _weighted(scene: Scene, of: Callable[[Scene, str], Array]) -> float:
    return weighted_index(*(of(scene, place) for place in PLACES))


def _picture(scene: Scene, place: str) -> Array:
    return scene.pictures[place]


@metric(
    "QW",
    profile="strict",
    higher_is_better=True,
    source=PIELLA,
    smallest=PIELLA_WINDOW,
    range=(-1.0, 1.0),
    column=21,
)
def qw(scene: Scene) -> float:
    """Weighted fusion quality sum c (l Q_0(IR, F) + (1 - l) Q_0(VIS, F)) over all 8x8 windows, -1..1.

    Piella and Heijmans 2003: l is IR's share of the two variances, c the window's share of the larger variance. Where
    both sources are flat throughout, all windows count alike.
    """
    return _weighted(scene, _picture)


@metric(
    "QE",
    profile="strict",
    higher_is_better=True,
    source=PIELLA,
    smallest=PIELLA_WINDOW,
    range=(-1.0, 1.0),
    note="edge pictures are Sobel magnitudes, alpha = 1",
    column=22,
)
def qe(scene: Scene) -> float:
    """Edge-dependent fusion quality: Q_W of the pictures times Q_W of their edge pictures, -1..1.

    Piella and Heijmans 2003, who leave the edge detector and the power alpha of the second factor open: here the
    Sobel magnitude and alpha = 1.
    """
    return _weighted(scene, _picture) * _weighted(scene, edge_strength)


@metric(
    "QY",
    profile="strict",
    higher_is_better=True,
    source="Yang, Zhang, Wang, Liu, Information Fusion 9(2), 2008",
    smallest=YANG_WINDOW,
    range=(-1.0, 1.0),
    column=20,
)
def qy(scene: Scene) -> float:
    """Mean over all uniform 7x7 windows of Yang's similarity with both sources, -1..1.

    Yang et al. 2008: l SSIM(IR, F) + (1 - l) SSIM(VIS, F), l IR's share of the two variances, where the sources are
    alike, SSIM(IR, VIS) >= 0.75; the larger of the two SSIMs elsewhere. Data range 255, population moments.
    """
    size, xp = YANG_WINDOW, library(scene.fused)
    windows = {place: _moments(scene.pictures[place], size) for place in PLACES}

    def similarity(p: str, q: str) -> Array:
        (c1, c2), a, b = constants(255.0), windows[p], windows[q]
        covariance = _covariance(scene.pictures[p], scene.pictures[q], size)
        luminance = (2 * a.mean * b.mean + c1) / (a.mean**2 + b.mean**2 + c1)
        return luminance * (2 * covariance + c2) / (a.variance + b.variance + c2)

    ir, vis = (similarity(source, "fused") for source in SOURCES)
    share = ratio(windows["ir"].variance, windows["ir"].variance + windows["vis"].variance, 0.5)
    alike = similarity("ir", "vis") >= SIMILAR
    return float(xp.where(alike, share * ir + (1 - share) * vis, xp.maximum(ir, vis)).mean())
