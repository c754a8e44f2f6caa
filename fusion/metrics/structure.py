"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Process. 13(4), 2004) of the fused picture
with both sources, on one scale and on five.

Four conventions: data range 255 or one that is far too small for 0..255 (2 and 1), Gaussian or uniform windows, mean
or sum over the sources. From the CDDFuse authors' program (profile `cddfuse`): float64, which keeps the digits that
float32 loses next to constants this small (up to 4e-5).
"""

from __future__ import annotations

from collections.abc import Iterable

from fusion.metrics.arrays import Array, bands, gaussian, window_sums, windowed
from fusion.metrics.base import leave_out, metric
from fusion.metrics.scene import Scene, shared

WANG = "Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Process. 13(4), 2004"
UNIFORM = 7  # pixels
GAUSSIAN = 11  # pixels
TAPS = gaussian(GAUSSIAN, 1.5)
RANGES = (255.0, 1.0)  # the two that Gaussian windows are wanted with
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, finest first
SMALLEST_MULTI = GAUSSIAN << (len(EXPONENTS) - 1)  # 176 pixels: a window still fits into the coarsest scale


def constants(data_range: float) -> tuple[float, float]:
    """C1 = (0.01 R)^2 and C2 = (0.03 R)^2."""
    return (0.01 * data_range) ** 2, (0.03 * data_range) ** 2


# --- uniform windows --------------------------------------------------------------------------------------------------


def uniform_similarities(fused: Array, sources: Iterable[Array], data_range: float, window: int = UNIFORM):
    """Mean SSIM, -1..1, of `fused` (H, W) with each source over every uniform window inside them: a list.

    Sample (co)variances.
    """
    n, (h, w) = window * window, fused.shape
    c1, c2 = constants(data_range)
    # Sums in place of means, the common factors n^2 and n (n - 1) in the constants: with whole grey levels nothing is
    # rounded before the subtractions.
    c1, c2 = c1 * n**2, c2 * n * (n - 1)
    sources = tuple(sources)
    totals = [0.0] * len(sources)
    for f, *band in bands(fused, *sources, window=window):
        sum_f, square_f = window_sums(f, window), f * f
        for i, s in enumerate(band):
            sum_s = window_sums(s, window)
            products = sum_f * sum_s
            squares = sum_f * sum_f + sum_s * sum_s
            covariance = window_sums(f * s, window) * n - products
            variances = window_sums(s * s + square_f, window) * n - squares
            similarity = (2 * products + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
            totals[i] += float(similarity.sum())
    return [total / ((h - window + 1) * (w - window + 1)) for total in totals]


@metric(
    "SSIM",
    profile="cddfuse",
    higher_is_better=True,
    source=WANG,
    smallest=UNIFORM,
    range=(-2.0, 2.0),
    note="sum of two, uniform 7x7 window, data range 2 for 0..255: much lower than with range 255",
    column=8,
)
def ssim(scene: Scene) -> float:
    """SSIM(F, IR) + SSIM(F, VIS), -2..2, with a uniform 7x7 window and data range R = 2.

    R = 2 is what scikit-image before 0.20 assumed for floating-point pictures (-1..1), though these have 0..255: the
    stabilising constants nearly vanish, and noise in flat regions counts fully. Wang et al. 2004: Gaussian 11x11
    window of sigma 1.5 and R = 255; usual in fusion is the mean of the two.
    """
    return sum(uniform_similarities(scene.fused, scene.sources, data_range=2.0))


# --- Gaussian windows -------------------------------------------------------------------------------------------------


def gaussian_terms(fused: Array, sources: Iterable[Array], ranges: Iterable[float]) -> dict[tuple, tuple[float, float]]:
    """{(data range, place of source): (mean SSIM, mean of its contrast-structure term)} of (H, W) pictures.

    Over every Gaussian window inside them; moments weighted by the window.
    """
    (h, w), totals = fused.shape, {}
    for f, *band in bands(fused, *sources, window=GAUSSIAN):
        mean_f, square_f = _mean(f), f * f
        for place, s in enumerate(band):
            mean_s = _mean(s)
            product, squares = mean_f * mean_s, mean_f * mean_f + mean_s * mean_s
            covariance, variances = _mean(f * s) - product, _mean(s * s + square_f) - squares
            for data_range in ranges:
                c1, c2 = constants(data_range)
                structure = (2 * covariance + c2) / (variances + c2)
                similarity = (2 * product + c1) / (squares + c1) * structure
                old = totals.get((data_range, place), (0.0, 0.0))
                totals[data_range, place] = (old[0] + float(similarity.sum()), old[1] + float(structure.sum()))
    n = (h - GAUSSIAN + 1) * (w - GAUSSIAN + 1)
    return {key: (similarity / n, structure / n) for key, (similarity, structure) in totals.items()}


def _mean(image: Array) -> Array:
    return windowed(image, TAPS, TAPS)


@shared
def finest_terms(scene: Scene) -> dict[tuple, tuple[float, float]]:
    """`gaussian_terms` of the pictures as they are, for both data ranges."""
    return gaussian_terms(scene.fused, scene.sources, RANGES)


def gaussian_similarity(scene: Scene, data_range: float) -> float:
    """SSIM(F, IR) + SSIM(F, VIS) with Gaussian 11x11 windows of sigma 1.5."""
    return sum(finest_terms(scene)[data_range, place][0] for place in (0, 1))


@metric(
    "SSIM",
    profile="matlab",
    higher_is_better=True,
    source=WANG,
    smallest=GAUSSIAN,
    range=(-1.0, 1.0),
    note="data range 1 for 0..255: much lower than with range 255",
    column=8,
)
def ssim_range_1(scene: Scene) -> float:
    """(SSIM(F, IR) + SSIM(F, VIS)) / 2, -1..1, with the Gaussian 11x11 window and data range R = 1.

    R = 1 is what MATLAB assumes for pictures of type double, though these have 0..255. Wang et al. 2004: R = 255.
    """
    return gaussian_similarity(scene, 1.0) / 2.0


@metric(
    "SSIM",
    profile="vifb",
    higher_is_better=True,
    source=WANG,
    smallest=GAUSSIAN,
    range=(-2.0, 2.0),
    note="sum of two, not their mean",
    column=8,
)
def ssim_sum(scene: Scene) -> float:
    """SSIM(F, IR) + SSIM(F, VIS), -2..2, with the Gaussian 11x11 window and data range R = 255.

    The SSIM of Wang et al. 2004; the sum, as the authors of VIFB say (github.com/xingchenzhang/VIFB, issue 12).
    """
    return gaussian_similarity(scene, 255.0)


@metric("SSIM", profile="strict", higher_is_better=True, source=WANG, smallest=GAUSSIAN, range=(-1.0, 1.0), column=8)
def ssim_canonical(scene: Scene) -> float:
    """(SSIM(F, IR) + SSIM(F, VIS)) / 2, -1..1, with a Gaussian 11x11 window of sigma 1.5 and data range R = 255.

    As in Wang et al. 2004, over the windows inside the picture.
    """
    return gaussian_similarity(scene, 255.0) / 2.0


@metric(
    "MS-SSIM",
    profile="strict",
    higher_is_better=True,
    source="Wang, Simoncelli, Bovik, Asilomar Conf. Signals, Systems, Computers, 2003",
    smallest=SMALLEST_MULTI,
    range=(0.0, 1.0),
    column=17,
)
def ms_ssim(scene: Scene) -> float:
    """(MS-SSIM(F, IR) + MS-SSIM(F, VIS)) / 2, 0..1, over five scales, each the 2x2 means of the one before.

    Wang, Simoncelli and Bovik 2003: the product of every scale's mean contrast-structure term, at the coarsest scale
    of its mean SSIM, to the powers 0.0448, 0.2856, 0.3001, 0.2363, 0.1333. A negative mean counts as 0.
    """
    pictures, products = [scene.fused, *scene.sources], [1.0, 1.0]
    for scale, exponent in enumerate(EXPONENTS):
        if scale:
            pictures = [_halved(picture) for picture in pictures]
        terms = gaussian_terms(pictures[0], pictures[1:], (255.0,)) if scale else finest_terms(scene)
        for place in (0, 1):
            similarity, structure = terms[255.0, place]
            term = similarity if scale == len(EXPONENTS) - 1 else structure
            products[place] *= max(term, 0.0) ** exponent
    return sum(products) / 2.0


def _halved(image: Array) -> Array:
    """Means over 2x2 squares, an odd last row or column left out."""
    h, w = (n // 2 * 2 for n in image.shape)
    return (image[:h:2, :w:2] + image[1:h:2, :w:2] + image[:h:2, 1:w:2] + image[1:h:2, 1:w:2]) / 4


leave_out(
    "matlab",
    ("MS-SSIM",),
    "what the set calls MS-SSIM is MEF-SSIM (Ma, Zeng, Wang, 2015), a measure for multi-exposure fusion; see strict",
)
