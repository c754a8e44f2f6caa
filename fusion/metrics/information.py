"""How much the grey levels of the fused picture tell about those of the sources: mutual information (Qu, Zhang, Yan,
Electronics Letters 38(7), 2002), the same per entropy (Hossny, Nahavandi, Creighton, Electronics Letters 44(18),
2008), and cross entropy.

Difference from Qu et al. in the profile `cddfuse`: nats instead of bits. FMI is left out, see the end.
"""

from __future__ import annotations

import math

from fusion.metrics.arrays import counted, counted_distinct, labelled, library, paired
from fusion.metrics.base import leave_out, metric
from fusion.metrics.scene import SOURCES, Scene, shared
from fusion.metrics.statistics import entropy, histogram, levels

DENSE = 1 << 20  # cells; larger joint histograms are counted by sorting instead of in a table
QU = "Qu, Zhang, Yan, Electronics Letters 38(7), 2002"
BULANON = "Bulanon, Burks, Alchanatis, Biosystems Engineering 103(1), 2009"


@shared
def entropies(scene: Scene, source: str) -> tuple[float, float, float]:
    """(H(F), H(S), H(F, S)) of the fused picture and a source in nats; every distinct value is a level of its own.

    For 8-bit pictures these are the 256-level histograms. Fractions are not rounded: round first, or a picture
    "tells" everything simply because no two of its pixels are equal.
    """
    f, s = levels(scene, "fused"), levels(scene, source)
    if f is not None and s is not None:
        joint = counted(paired(f, s), 1 << 16).reshape(256, 256)
        return entropy(joint.sum(1)), entropy(joint.sum(0)), entropy(joint)
    (f, levels_f), (s, levels_s) = labelled(scene.fused), labelled(scene.pictures[source])
    joint, cells = f * levels_s + s, levels_f * levels_s
    counts = counted(joint, cells) if cells <= DENSE else counted_distinct(joint)
    return entropy(counted(f, levels_f)), entropy(counted(s, levels_s)), entropy(counts)


def mutual_information(scene: Scene, source: str) -> float:
    """I(F; S) = H(F) + H(S) - H(F, S) in nats, never negative."""
    f, s, joint = entropies(scene, source)
    return max(0.0, f + s - joint)


@metric(
    "MI",
    profile="cddfuse",
    higher_is_better=True,
    source=QU,
    unit="nat",
    range=(0.0, 2.0 * math.log(256.0)),
    note="in nats: 0.693 of the value in bits",
    column=4,
)
def mi(scene: Scene) -> float:
    """Mutual information I(F; IR) + I(F; VIS) in nats, 0..11.09, from 256-level joint histograms.

    Qu et al. 2002, who count in bits (divide by ln 2 = 0.6931).
    """
    return sum(mutual_information(scene, source) for source in SOURCES)


@metric("MI", profile=("matlab", "strict"), higher_is_better=True, source=QU, unit="bit", range=(0.0, 16.0), column=4)
def mi_bits(scene: Scene) -> float:
    """Mutual information I(F; IR) + I(F; VIS) in bits, 0..16, from 256-level joint histograms.

    As in Qu et al. 2002.
    """
    return mi(scene) / math.log(2.0)


@metric(
    "NMI",
    profile="strict",
    higher_is_better=True,
    source="Hossny, Nahavandi, Creighton, Electronics Letters 44(18), 2008",
    range=(0.0, 2.0),
    column=15,
)
def nmi(scene: Scene) -> float:
    """Normalised mutual information 2 (I(F; IR) / (H(F) + H(IR)) + I(F; VIS) / (H(F) + H(VIS))), 0..2.

    As in Hossny et al. 2008: unlike MI, a source of many levels counts no more than one of few. nan where the fused
    picture and a source are both constant.
    """
    total = 0.0
    for source in SOURCES:
        f, s, _ = entropies(scene, source)
        total += 2.0 * mutual_information(scene, source) / (f + s) if f + s > 0 else math.nan
    return total


@shared
def divergences(scene: Scene, missing: float) -> float:
    """(D(IR, F) + D(VIS, F)) / 2 in bits, D(S, F) = sum h_S log2(h_S / h_F) over the grey levels of S.

    A level of S that F lacks contributes `missing`.
    """
    f = histogram(scene, "fused") / scene.size
    total = 0.0
    for source in SOURCES:
        s = histogram(scene, source) / scene.size
        both = (f > 0) & (s > 0)
        total += float((s[both] * library(f).log2(s[both] / f[both])).sum())
        total += missing if bool(((f == 0) & (s > 0)).any()) else 0.0
    return total / 2.0


@metric(
    "CE",
    profile="vifb",
    higher_is_better=False,
    source=BULANON,
    unit="bit",
    note="levels that the fused picture lacks are left out of the sum, which would be infinite with them and falls "
    "below 0 without",
    column=14,
)
def ce(scene: Scene) -> float:
    """Cross entropy (D(IR, F) + D(VIS, F)) / 2 in bits, D(S, F) = sum h_S log2(h_S / h_F), 0 for equal histograms.

    Bulanon et al. 2009, but levels that one of both pictures lacks are left out, so that it stays finite. A fused
    picture of few levels falls below 0 that way, which is no praise.
    """
    return divergences(scene, 0.0)


@metric(
    "CE",
    profile="strict",
    higher_is_better=False,
    source=BULANON,
    unit="bit",
    range=(0.0, math.inf),
    note="infinite where the fused picture lacks a grey level of a source",
    column=14,
)
def ce_canonical(scene: Scene) -> float:
    """Cross entropy (D(IR, F) + D(VIS, F)) / 2 in bits, D(S, F) = sum h_S log2(h_S / h_F), 0 for equal histograms.

    As in Bulanon et al. 2009, the relative entropy of the histograms; inf where F lacks a level of a source.
    """
    return divergences(scene, math.inf)


leave_out(
    "strict",
    ("FMI_pixel", "FMI_gradient"),
    "how Haghighat et al. 2011 join the two densities of a window could not be had in full; our reading of it gives "
    "0.47 on TNO, published tables 0.9",
)
leave_out(
    "vifb",
    ("MI",),
    "the base of the benchmark's logarithm could not be had; strict/MI is in bits, cddfuse/MI in nats",
)
