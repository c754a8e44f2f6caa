"""Bands of rows, a thread each: how compiled loops (`loops/`) pass over a picture's features.

Where numba is not installed there are none, and `strips.py` does the work.
"""

from __future__ import annotations

import functools
import itertools
import math
import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

import numpy as np
import torch
from torch import Tensor

from fusion.inference.readiness import mode

BANDS = 2
"""Per thread, where they share few rows: whichever finishes early takes another one."""

LEAST_ROWS = 32
"""Of a band: its first and last rows are computed by the neighbour, too."""


def available() -> bool:
    """Whether loops can be compiled, and shall be."""
    if mode() == "off":
        return False
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def bands_of(h: int, threads: int, reach: int, unit: int = 1) -> list[tuple[int, int]]:
    """The rows [a, b) of each band, of h that are `unit` rows of the picture each."""
    n = max(1, min(threads if reach > 1 else BANDS * threads, h * unit // LEAST_ROWS))
    return list(itertools.pairwise(h * i // n for i in range(n + 1)))


@functools.cache
def pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Made once, as a picture passes through some fifty times. A process that was forked does not have its threads."""
    return ThreadPoolExecutor(threads)


def over_bands(loop: Callable, h: int, *args, threads: int, reach: int = 1, unit: int = 1) -> list:
    """loop(a, b, *args) for the rows [a, b) of every band of h rows; reach: rows above and below that a band passes
    through, too; unit: rows of the picture that are one of h."""
    spans = bands_of(h, threads, reach, unit)
    if len(spans) == 1:
        return [loop(*spans[0], *args)]
    workers = pool(threads, os.getpid())
    bands = [workers.submit(loop, a, b, *args) for a, b in spans]
    try:
        return [band.result() for band in bands]
    finally:
        wait(bands)  # after a failure or Ctrl-C, too: nobody writes to memory that others may get


def in_bands(loop: Callable, x: np.ndarray, *args, threads: int, reach: int = 1) -> list:
    """loop(x, above, below, a, b, *args) for the rows [a, b) of every band of x (n, h, w, c), which it may overwrite.

    reach: rows above and below that a band needs as they were: `above` and `below`, copies, fewer at the border.
    """
    h = x.shape[1]
    rows = {a: (x[:, max(a - reach, 0) : a].copy(), x[:, b : b + reach].copy()) for a, b in bands_of(h, threads, reach)}
    return over_bands(lambda a, b: loop(x, *rows[a], a, b, *args), h, threads=threads, reach=reach)


def array(x: Tensor) -> np.ndarray:
    """The tensor's memory, or a contiguous copy; bfloat16 as uint16."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


KEPT = 2**30
"""Bytes that wait for the next picture: maps of 1.3 megapixels of SHIP, 2 of CDDFuse."""


class Spare:
    """The memory of the last pictures, one for each thread, for the next ones of the same size: new pages cost some
    percent of a picture's time."""

    def __init__(self):
        self.kept: list[Tensor] = []

    @contextmanager
    def room(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Iterator[Tensor]:
        """As `room`."""
        try:
            memory = self.kept.pop()
        except IndexError:
            memory = None
        if memory is None or (memory.shape, memory.dtype, memory.device) != (shape, dtype, device):
            memory = room(shape, dtype, device)
        try:
            yield memory
        finally:
            if device.type == "cpu" and memory.nbytes + sum(kept.nbytes for kept in self.kept) <= KEPT:
                self.kept.append(memory)


def room(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An empty tensor; in a CPU's memory, a mapping of its own, which goes back to the system. In a heap that keeps
    what is freed (`fusion.memory`), small things settle in so large a hole, and the next picture needs another one."""
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    # 0.20 s a GiB to begin with, 0.07 s in large pages; shared memory, which is the default, 0.32 s.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, **private)
    with suppress(AttributeError, OSError):  # a system without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
