"""Pairs of frames by time: at a steady rate, of both sources the frame nearest to each tick.

So sources of different rate, of a varying one and with a late start meet; of two alike every frame meets its partner.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from fusion.videos.live import Live

Frame = tuple[float, np.ndarray]
T = TypeVar("T")
END = object()


def ahead(things: Iterable[T]) -> Iterator[T]:
    """The same in the same order: a thread makes the next one while the one before is in use.

    Close it before what the things come from. An error comes in the place of the thing that could not be made.
    """
    source = iter(things)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, END)
        while (thing := coming.result()) is not END:
            coming = pool.submit(next, source, END)
            yield thing


class _Track:
    """A source's frames around a moving point in time; two are held."""

    def __init__(self, source):
        self.source = source
        self.now: Frame | None = source.read_timed()
        self.next: Frame | None = source.read_timed() if self.now else None
        self.start = self.now[0] if self.now else 0.0

    def at(self, seconds: float, slack: float) -> np.ndarray | None:
        """The frame nearest to `seconds`; None once that lies behind the last frame's own time."""
        while self.next and abs(self.next[0] - seconds) <= abs(self.now[0] - seconds):
            self.now, self.next = self.next, self.source.read_timed()
        if self.now is None or (self.next is None and seconds + slack > self.now[0] + 1 / self.source.fps):
            return None
        return self.now[1]


class Pairs:
    """Iterates over (ir, vis) frames of two sources (`sources.py`).

    fps: pairs a second, the faster source's; start: seconds, where both have begun; offset: by how much the visible
    source begins later (negative: earlier). Raises ValueError for a source without a frame.
    """

    def __init__(self, ir, vis):
        self.sources, self.fps = (ir, vis), max(ir.fps, vis.fps)
        self.live = any(isinstance(source, Live) for source in self.sources)
        self._arrived = 0.0
        self.ended: list = []
        """The sources that came to their end."""
        if not self.live:
            self._tracks = [_Track(source) for source in self.sources]
            for track in self._tracks:
                if track.now is None:
                    raise ValueError(f"{track.source.path} holds no frame that can be read: it may be cut or empty")
            begins = [track.start for track in self._tracks]
            self.start, self.offset = max(begins), begins[1] - begins[0]
        else:
            self.start = self.offset = 0.0

    def latency(self) -> float:
        """Seconds since the older frame of the last pair came from its live source."""
        return time.monotonic() - self._arrived

    @property
    def first(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The first frame of each, to look at before all starts; None of live sources."""
        return None if self.live else tuple(track.now[1] for track in self._tracks)

    @property
    def total(self) -> int | None:
        """How many pairs to expect; None where nobody knows."""
        if self.live:
            return None
        ends = [t.start + s.stated / s.fps for t, s in zip(self._tracks, self.sources, strict=True) if s.stated]
        return max(0, round((min(ends) - self.start) * self.fps)) if ends else None

    def remarks(self) -> list[str]:
        """How two sources that differ in rate, beginning or length are brought together, a line each."""
        if self.live:
            return []
        (ir, vis), lines = self.sources, []
        if abs(ir.fps - vis.fps) > 0.01:
            rates = f"{ir.path} runs at {ir.fps:g} frames/s, {vis.path} at {vis.fps:g}"
            lines.append(f"{rates}: frames are paired by their times")
        if abs(self.offset) > 0.5 / self.fps:
            late, early = (vis, ir) if self.offset > 0 else (ir, vis)
            lead = f"begins {abs(self.offset):.2f} s after {early.path}"
            lines.append(f"{late.path} {lead}: what that one shows before is left out")
        lengths = [source.stated / source.fps for source in (ir, vis)]
        ends = [length + max(0.0, sign * self.offset) for length, sign in zip(lengths, (-1, 1), strict=True)]
        if all(lengths) and abs(ends[0] - ends[1]) > 1.5 / min(ir.fps, vis.fps):
            longer = ir if ends[0] > ends[1] else vis
            lines.append(f"{longer.path} ends {abs(ends[0] - ends[1]):.2f} s later: what it shows then is left out")
        return lines

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return self._newest() if self.live else self._by_time()

    def _by_time(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        tick = 0
        while True:
            frames = [track.at(self.start + tick / self.fps, 0.5 / self.fps) for track in self._tracks]
            if any(frame is None for frame in frames):
                self.ended = [t.source for t, frame in zip(self._tracks, frames, strict=True) if frame is None]
                return
            yield tuple(frames)
            tick += 1

    def _newest(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of live sources the newest frames, as fast as they are fused; of a file beside one, frame by frame."""
        seen = [-1.0, -1.0]
        while True:
            frames = []
            for i, source in enumerate(self.sources):
                timed = source.newest(seen[i]) if isinstance(source, Live) else source.read_timed()
                if timed is None:
                    self.ended = [source]
                    return
                seen[i] = timed[0]
                frames.append(timed[1])
            self._arrived = min(t for t, s in zip(seen, self.sources, strict=True) if isinstance(s, Live))
            yield tuple(frames)
