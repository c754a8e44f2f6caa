"""One range for all frames of a source, so that a deep video does not flicker (`reading/ranges.py`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fusion.reading.ranges import How, applied, decide, extent
from fusion.reading.samples import of_type
from fusion.videos.live import Live
from fusion.videos.sources import Pictures, Video

LOOKED_AT = 48  # frames of a file


def with_range(source: Video | Pictures | Live, how: How) -> Callable[[np.ndarray], np.ndarray]:
    """What brings a frame of this source to its range. Reads a deep file once more; of a live source the first frame
    decides. Raises ValueError where the file cannot be read.
    """
    if isinstance(source, Pictures) or (how in ("auto", "full") and not source.deep):
        return lambda frame: frame  # pictures have it from their reader
    chosen = decide(_extents(source), how, source.path) if isinstance(source, Video) else None

    def ranged(frame: np.ndarray) -> np.ndarray:
        nonlocal chosen
        samples = of_type(frame)
        if chosen is None:
            chosen = decide([extent(samples, source.path)], how, source.path)
        return applied(samples, chosen, source.path)

    return ranged


def _extents(source: Video) -> list:
    again, extents = Video(source.address), []
    every = max(1, source.stated // LOOKED_AT)
    while (frame := again.read()) is not None:
        if (again.frames - 1) % every == 0:
            extents.append(extent(of_type(frame), source.path))
    again.close()
    return extents
