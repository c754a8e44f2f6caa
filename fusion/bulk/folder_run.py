"""Fuse many pairs: shared among processes, restartable, reading and writing beside the arithmetic.

A record says of each finished picture what it was made of; what is in it is not made again, whoever made it, so a
process that was killed leaves its part to the next start. Threads take one pair each, from reading to writing; how many
may fuse at the same time is said by `Turns`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from fusion import images
from fusion.bulk.record import Record, WriteError
from fusion.fuser import Fuser
from fusion.pairing import Pair

RECORD = ".fuse.jsonl"
AHEAD = 4  # pairs that wait for a thread
TOGETHER = 2 * 2**20  # pixels of pairs that are fused at the same time: some networks take 2 kB for each


def write(path: Path, image: np.ndarray) -> None:
    """`images.write`, whose OSError is a WriteError."""
    try:
        images.write(path, image)
    except OSError as error:
        raise WriteError(error) from error


class Turns:
    """Lets threads in by their numbers 0, 1, ...: so many at the same time, and so many pixels, one in any case."""

    def __init__(self, at_once: int = 1):
        self.at_once, self._next, self._inside, self._pixels = at_once, 0, 0, 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, number: int, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: number == self._next and self._fits(pixels))
            self._next += 1
            self._inside += 1
            self._pixels += pixels
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._pixels -= pixels
                self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return self._inside == 0 or (self._inside < self.at_once and self._pixels + pixels <= TOGETHER)


@dataclass
class Count:
    """What a run has done: pictures made and found, and a line for each that failed."""

    made: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)


class FolderRun:
    """Pairs of files into `out`, as PNG.

    method: all that decides a picture but for its sources and the frames before it. ranges: of `images.read`, one for
    all infrared and one for all visible pictures. at_once: pairs that are fused at the same time, each on one core;
    above 1 only for networks without a form of their own for a CPU, and pictures that do not follow each other.
    """

    def __init__(self, fuser: Fuser, out: Path, record: Record, method: str, ranges: tuple, at_once: int = 1):
        self.fuser, self.out, self.record, self.method, self.ranges = fuser, out, record, method, ranges
        self.at_once, self.turns, self.count = at_once, Turns(at_once), Count()

    def __call__(self, pairs: Iterable[Pair], done: Callable[[], object]) -> Count:
        """Fuse what is not there; `done` is called once a pair. Raises WriteError."""
        threads = self.at_once + min(8, max(2, (os.cpu_count() or 1) // 2))  # the others read and write
        with ThreadPoolExecutor(threads) as pool:
            running: deque[Future[str | bool]] = deque()
            try:
                for number, pair in enumerate(pairs):
                    running.append(pool.submit(self._one, number, pair))
                    if len(running) > threads + AHEAD:
                        self._finish(running.popleft(), done)
                while running:
                    self._finish(running.popleft(), done)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # what has begun is finished, for its turn has come
        return self.count

    def _finish(self, future: Future[str | bool], done: Callable[[], object]) -> None:
        result = future.result()
        if isinstance(result, str):
            self.count.failed.append(result)
        else:
            self.count.made += result
            self.count.kept += not result
        done()

    def _one(self, number: int, pair: Pair) -> str | bool:
        """Whether the picture was made now, or why it could not be."""
        picture = self.out / f"{pair.name}.png"
        sources = None if picture in self.record else self._read(pair)
        pixels = sum(s.shape[0] * s.shape[1] for s in sources) // 2 if isinstance(sources, tuple) else 0
        with self.turns.turn(number, pixels):
            key = self._key(pair)  # of its turn: it may hold the span of the frames before
            if found := self.record.find(picture, key):
                self.fuser.span = tuple(found["span"]) if found["span"] else None
                return False
            try:
                sources = sources or self._read(pair)
                if isinstance(sources, Exception):
                    raise sources
                fused = self._fused(*sources)
            except (ValueError, OSError) as error:
                return f"error: {pair.name}: {' '.join(str(error).split())}"
            span = self.fuser.span
        write(picture, fused)
        self.record.add(picture, key, span=span)
        return True

    def _fused(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """On one core each where several pairs fit beside each other; PyTorch counts threads for each thread."""
        if self.at_once > 1:
            alone = 2 * max(ir.shape[0] * ir.shape[1], vis.shape[0] * vis.shape[1]) > TOGETHER
            torch.set_num_threads(self.at_once if alone else 1)
        return self.fuser(ir, vis)

    def _read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray] | Exception:
        """A failure of any kind waits for its turn, or the others would wait for it."""
        try:
            of_ir, of_vis = self.ranges
            return images.read(pair.ir, of_ir), images.read(pair.vis, of_vis)
        except Exception as error:
            return error

    def _key(self, pair: Pair) -> str:
        sources = " ".join(f"{path} {images.stamp(path)}" for path in (pair.ir, pair.vis))
        key = f"{self.method} {sources} {self.fuser.span or ''}".strip()
        return key if self.ranges == ("full", "full") else f"{key} {self.ranges}"
