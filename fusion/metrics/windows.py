"""Sliding windows over pictures that stay small: the parts that SSIM, VIF and Qabf share.

Full-size intermediate arrays cost more than the arithmetic on them (fresh memory is mapped page by page), so windowed
metrics walk over the picture in bands of rows that fit the processor's cache. No paper here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

ROWS = 64  # window positions per band; the fastest of 16, 32, 64, 128, 1000 for 768x576 pixels


def bands(*images: np.ndarray, window: int, rows: int = ROWS) -> Iterator[tuple[np.ndarray, ...]]:
    """Views of the same rows of all `images` (H, W), such that every `window` rows in a row lie in exactly one band."""
    h = images[0].shape[0]
    for top in range(0, h - window + 1, rows):
        yield tuple(image[top : top + rows + window - 1] for image in images)


def inside(filtered: np.ndarray, window: int) -> np.ndarray:
    """Of a filter's output (H, W) those pixels whose odd window x window lay inside the picture, a view."""
    r = window // 2
    return filtered[r : filtered.shape[0] - r, r : filtered.shape[1] - r]
