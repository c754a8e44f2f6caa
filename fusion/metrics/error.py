"""Pixel-wise agreement of the fused picture with both sources: errors and correlations.

A picture cannot equal two different sources, so MSE, PSNR and CC favour the plain average. Differences from the
CDDFuse authors' program (profile `cddfuse`): float64 where it has float32 (MSE relative 3e-7). From the literature:
PSNR, of which there are four here.
"""

from __future__ import annotations

import math

from fusion.metrics.arrays import bands, dot
from fusion.metrics.base import metric
from fusion.metrics.scene import SOURCES, Scene, shared
from fusion.metrics.statistics import moments

SURVEY = "Ma, Ma, Li, Information Fusion 45, 2019"
PEAK = 255.0
ROUNDING = 1e-12  # relative; a difference that varies no more is constant


@shared
def differences(scene: Scene, source: str) -> tuple[float, float]:
    """Sum of squares of the fused picture minus a source, and the same minus its mean; 0 for what is but rounding."""
    means = moments(scene).means
    mean = means["fused"] - means[source]
    squares = centred = 0.0
    for f, s in bands(scene.fused, scene.pictures[source], window=1):
        d = f - s
        squares += dot(d, d)
        d -= mean
        centred += dot(d, d)
    return squares, centred if centred > ROUNDING**2 * squares else 0.0


def squared_error(scene: Scene, source: str) -> float:
    """mean (F - S)^2 of a source, in squared grey levels."""
    return differences(scene, source)[0] / scene.size


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); inf without noise, nan without both."""
    if noise == 0:
        return math.inf if signal > 0 else math.nan
    return 10.0 * math.log10(signal / noise) if signal > 0 else -math.inf


@metric(
    "MSE",
    profile=("cddfuse", "strict"),
    higher_is_better=False,
    source=SURVEY,
    unit="grey levels^2",
    range=(0.0, PEAK**2),
    column=10,
)
def mse(scene: Scene) -> float:
    """Mean squared error (mean (IR - F)^2 + mean (VIS - F)^2) / 2, in squared grey levels, 0..65025.

    As in the survey of Ma et al. 2019, there for pictures in [0, 1].
    """
    return sum(squared_error(scene, source) for source in SOURCES) / 2.0


@metric(
    "RMSE",
    profile="strict",
    higher_is_better=False,
    source=SURVEY,
    unit="grey levels",
    range=(0.0, PEAK),
    note="mean of the two roots, not the root of MSE",
    column=16,
)
def rmse(scene: Scene) -> float:
    """Root mean squared error (sqrt(mean (IR - F)^2) + sqrt(mean (VIS - F)^2)) / 2, in grey levels, 0..255.

    As in the survey of Ma et al. 2019: the mean of the two roots, never more than the root of MSE.
    """
    return sum(math.sqrt(squared_error(scene, source)) for source in SOURCES) / 2.0


@metric(
    "RMSE",
    profile="vifb",
    higher_is_better=False,
    source="Zhang, Ye, Xiao, VIFB, CVPR Workshops 2020",
    range=(0.0, 1.0),
    note="of pictures in [0, 1]: 1/255 of the value in grey levels",
    column=16,
)
def rmse_unit(scene: Scene) -> float:
    """Root mean squared error (sqrt(mean (IR - F)^2) + sqrt(mean (VIS - F)^2)) / 2 of pictures in [0, 1].

    Zhang et al. 2020, whose table has values about 0.1.
    """
    return rmse(scene) / PEAK


@metric(
    "PSNR",
    profile="cddfuse",
    higher_is_better=True,
    source=SURVEY,
    unit="dB",
    note="the peak is the brightest pixel of the fused picture, not 255; one averaged MSE, not the mean of two PSNRs",
    column=12,
)
def psnr(scene: Scene) -> float:
    """Peak signal-to-noise ratio 10 log10(max(F)^2 / MSE) in dB, unbounded; MSE as the metric of that name.

    The survey of Ma et al. 2019 takes the peak of the picture; most papers take 255, and many average two PSNRs. inf
    where all three pictures are equal, nan where all are black.
    """
    return decibels(float(scene.fused.max()) ** 2, mse(scene))


@metric(
    "PSNR",
    profile="strict",
    higher_is_better=True,
    source="Jagalingam, Hegde, Aquatic Procedia 4, 2015",
    unit="dB",
    range=(0.0, math.inf),
    note="one averaged MSE, not the mean of two PSNRs",
    column=12,
)
def psnr_true(scene: Scene) -> float:
    """Peak signal-to-noise ratio 10 log10(255^2 / MSE) in dB, 0 or more; MSE as the metric of that name.

    Jagalingam and Hegde 2015, with the averaged error of the survey of Ma et al. 2019. inf where all three pictures
    are equal.
    """
    return decibels(PEAK**2, mse(scene))


@metric(
    "PSNR",
    profile="matlab",
    higher_is_better=True,
    source="Tang, Evaluation for Image Fusion, 2022 (MATLAB program)",
    unit="dB",
    range=(20.0 * math.log10(PEAK), math.inf),
    note="peak 255 for pictures in [0, 1]: 48.13 dB too much",
    column=12,
)
def psnr_mixed(scene: Scene) -> float:
    """10 log10(255^2 / MSE) in dB with the peak of 0..255 and the MSE of pictures in [0, 1]: 48.13 dB or more.

    Tang 2022: "63 to 65 dB" in papers. It is the true value plus 20 log10(255), so that ranks stay.
    """
    return psnr_true(scene) + 20.0 * math.log10(PEAK)


@metric(
    "PSNR",
    profile="vifb",
    higher_is_better=True,
    source="Zhang, Ye, Xiao, VIFB, CVPR Workshops 2020",
    unit="dB",
    range=(20.0 * math.log10(PEAK), math.inf),
    note="RMSE of pictures in [0, 1] in place of MSE, with a peak of 255: 57 to 59 dB",
    column=12,
)
def psnr_of_root(scene: Scene) -> float:
    """10 log10(255^2 / RMSE) in dB, RMSE of pictures in [0, 1] as the metric of that name: 48.13 or more.

    Zhang et al. 2020 define it with MSE; their program has the root (github.com/xingchenzhang/VIFB, issue 15), which
    their table confirms. Ranks may differ from PSNR's, halves of its differences remain.
    """
    return decibels(PEAK**2, rmse_unit(scene))


@metric("CC", profile=("cddfuse", "strict"), higher_is_better=True, source=SURVEY, range=(-1.0, 1.0), column=11)
def cc(scene: Scene) -> float:
    """Correlation coefficient (r(IR, F) + r(VIS, F)) / 2, -1..1, r Pearson's; nan where a picture is constant.

    As in the survey of Ma et al. 2019.
    """
    m = moments(scene)
    if any(m.constant.values()):
        return math.nan
    f = m.products["fused", "fused"]
    return sum(m.products[s, "fused"] / math.sqrt(m.products[s, s] * f) for s in SOURCES) / 2.0


@metric(
    "SCD",
    profile=("cddfuse", "strict"),
    higher_is_better=True,
    source="Aslantas, Bendes, AEU Int. J. Electron. Commun. 69(12), 2015",
    range=(-2.0, 2.0),
    column=5,
)
def scd(scene: Scene) -> float:
    """Sum of the correlations of differences, r(IR, F - VIS) + r(VIS, F - IR), -2..2: what is left of the fused
    picture without one source should look like the other.

    Aslantas and Bendes 2015, unchanged. nan where a source is constant or differs from F by a constant.
    """
    return remainder_correlation(scene, "ir", "vis") + remainder_correlation(scene, "vis", "ir")


def remainder_correlation(scene: Scene, source: str, other: str) -> float:
    """r(S, F - O), -1..1, of a source and what the fused picture has beyond the other; nan where one is constant."""
    m, (_, centred) = moments(scene), differences(scene, other)
    if m.constant[source] or centred == 0:
        return math.nan
    covariance = m.products[source, "fused"] - m.products[source, other]
    return covariance / math.sqrt(m.products[source, source] * centred)
