"""Bands of rows, a thread each: how compiled loops (`loops/`) pass over a picture's features.

Where numba is not installed there are none, and `strips.py` does the work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

BANDS = 2
"""Per thread, where they share few rows: whichever finishes early takes another one."""

LEAST_ROWS = 32
"""Of a band: its first and last rows are computed by the neighbour, too."""


def available() -> bool:
    """Whether loops can be compiled."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def in_bands(loop: Callable, x: np.ndarray, *args, threads: int, reach: int = 1) -> list:
    """loop(x, above, below, a, b, *args) for the rows [a, b) of every band of x (n, h, w, c), which it may overwrite.

    reach: rows above and below that a band needs as they were: `above` and `below`, copies, fewer at the border.
    """
    h = x.shape[1]
    n = max(1, min(threads if reach > 1 else BANDS * threads, h // LEAST_ROWS))
    edges = [h * i // n for i in range(n + 1)]
    bands = [
        (x[:, max(a - reach, 0) : a].copy(), x[:, b : b + reach].copy(), a, b) for a, b in itertools.pairwise(edges)
    ]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda band: loop(x, *band, *args), bands))


def array(x: Tensor) -> np.ndarray:
    """The tensor's memory, or a contiguous copy; bfloat16 as uint16."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
