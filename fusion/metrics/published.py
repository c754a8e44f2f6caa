"""What papers print, to hold our values against: the tables of CDDFuse (Zhao et al., CVPR 2023, and the README of its
program), means over the pictures of a data set in profile `cddfuse`, two decimals.
"""

from __future__ import annotations

COLUMNS = ("EN", "SD", "SF", "MI", "SCD", "VIF", "Qabf", "SSIM")
PROFILE = "cddfuse"


def _row(text: str) -> dict[str, str]:
    return dict(zip(COLUMNS, text.split(), strict=True))


ROWS: dict[str, dict[str, str]] = {  # as printed, so that digits count
    "TNO": _row("7.12 46.00 13.15 2.19 1.76 0.77 0.54 1.03"),
    "RoadScene": _row("7.44 54.67 16.36 2.30 1.81 0.69 0.52 0.98"),
    "MSRS": _row("6.70 43.38 11.56 3.47 1.62 1.05 0.69 1.00"),
    "MRI_CT": _row("4.88 79.17 38.14 2.61 1.41 0.61 0.68 1.34"),
    "MRI_CT (IVF weights)": _row("4.83 88.59 33.83 2.24 1.74 0.50 0.59 1.31"),
    "MRI_PET": _row("4.22 70.74 29.57 2.03 1.69 0.71 0.71 1.49"),
    "MRI_SPECT": _row("3.90 58.31 20.87 2.49 1.35 0.97 0.78 1.48"),
}

PAIRS = {"TNO": 25, "RoadScene": 50, "MSRS": 361, "MRI_CT": 21, "MRI_PET": 42, "MRI_SPECT": 73}
"""Pictures behind each row: those of the authors' test_img, and MSRS's test half."""


def rows_for(dataset: str) -> dict[str, dict[str, str]]:
    """The printed rows of a data set; a variant stands in brackets behind its name."""
    return {name: row for name, row in ROWS.items() if name.partition(" (")[0].lower() == dataset.lower()}


def difference(printed: str, value: float) -> float:
    """`value` as it would be printed, minus what is; 0 where they print alike."""
    digits = len(printed.partition(".")[2])
    return round(round(value, digits) - float(printed), digits)
