"""Fuse the pairs of two folders: shared among processes, restartable, reading and writing beside the arithmetic.

A record, one line a finished picture, says what it was made of; what is in it is not made again, whoever made it, so a
process that was killed leaves its part to the next start. While one pair is fused, threads read the next ones and write
the last ones.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from fusion import images
from fusion.fuser import Fuser
from fusion.pairing import Pair

RECORD = ".fuse.jsonl"
AHEAD = 4  # pairs read before their turn, and pictures waiting to be written


class WriteError(Exception):
    """The disk or the folder refuses: no use in trying the next pair."""


def write(path: Path, image: np.ndarray) -> None:
    """`images.write`, whose OSError is a WriteError."""
    try:
        images.write(path, image)
    except OSError as error:
        raise WriteError(error) from error


class Record:
    """Finished pictures of a folder, one JSON line each; a line cut by a crash is skipped."""

    def __init__(self, folder: Path, *, fresh: bool = False):
        self.folder, self.path = folder, folder / RECORD
        self.lines: dict[str, dict] = {}
        if fresh:
            self.path.unlink(missing_ok=True)
        self._append("")
        text = self.path.read_text(encoding="utf-8", errors="replace")
        if text and not text.endswith("\n"):
            self._append("\n")  # after a cut line
        for line in text.splitlines():
            try:
                record = json.loads(line)
                self.lines[record["picture"]] = record
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, picture: Path, key: str) -> dict | None:
        """The record of a picture made under this key and not touched since."""
        record = self.lines.get(self._name(picture))
        return record if record and record.get("key") == key and record.get("stamp") == images.stamp(picture) else None

    def __contains__(self, picture: Path) -> bool:
        """Whether it may be done."""
        return self._name(picture) in self.lines

    def add(self, picture: Path, key: str, span: tuple[float, float] | None) -> None:
        record = {"picture": self._name(picture), "key": key, "stamp": images.stamp(picture), "span": span}
        self._append(json.dumps(record) + "\n")

    def _name(self, picture: Path) -> str:
        return picture.relative_to(self.folder).as_posix()

    def _append(self, text: str) -> None:
        """In one call of the system, so that lines of several processes do not mix."""
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)
        except OSError as error:
            raise WriteError(f"cannot write {self.path}: {error.strerror}") from error


@dataclass
class Count:
    """What a run has done: pictures made and found, and a line for each that failed."""

    made: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)


class FolderRun:
    """The pairs of two folders into `out`, as PNG.

    method: all that decides a picture but for its sources and the frames before it. ranges: of `images.read`, one for
    all infrared and one for all visible pictures.
    """

    def __init__(self, fuser: Fuser, out: Path, record: Record, method: str, ranges: tuple):
        self.fuser, self.out, self.record, self.method, self.ranges = fuser, out, record, method, ranges
        self.count = Count()

    def __call__(self, pairs: Iterable[Pair], done: Callable[[], object]) -> Count:
        """Fuse what is not there; `done` is called once a pair. Raises WriteError."""
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            written: deque[Future] = deque()
            for pair, sources in self._ahead(pairs, reader):
                key = self._key(pair)  # of its turn: it may hold the span of the frames before
                if found := self.record.find(self._picture(pair), key):
                    self.fuser.span = tuple(found["span"]) if found["span"] else None
                    self.count.kept += 1
                    done()
                    continue
                try:
                    fused = self.fuser(*sources())
                except (ValueError, OSError) as error:
                    self.count.failed.append(f"error: {pair.name}: {' '.join(str(error).split())}")
                    done()
                    continue
                written.append(writer.submit(self._finish, pair, fused, key, self.fuser.span))
                while len(written) > AHEAD:
                    self._wait(written.popleft(), done)
            while written:
                self._wait(written.popleft(), done)
        return self.count

    def _ahead(self, pairs: Iterable[Pair], reader: Executor) -> Iterator[tuple[Pair, Callable]]:
        """Every pair and what gives its pictures, which are being read before its turn unless they may be done."""
        waiting: deque[tuple[Pair, Callable]] = deque()
        try:
            for pair in pairs:
                if self._picture(pair) in self.record:
                    waiting.append((pair, partial(self._read, pair)))
                else:
                    waiting.append((pair, reader.submit(self._read, pair).result))
                if len(waiting) > AHEAD:
                    yield waiting.popleft()
            yield from waiting
        finally:
            reader.shutdown(wait=False, cancel_futures=True)

    def _read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        of_ir, of_vis = self.ranges
        return images.read(pair.ir, of_ir), images.read(pair.vis, of_vis)

    def _finish(self, pair: Pair, fused: np.ndarray, key: str, span: tuple[float, float] | None) -> None:
        write(self._picture(pair), fused)
        self.record.add(self._picture(pair), key, span)

    def _wait(self, picture: Future, done: Callable[[], object]) -> None:
        picture.result()
        self.count.made += 1
        done()

    def _picture(self, pair: Pair) -> Path:
        return self.out / f"{pair.name}.png"

    def _key(self, pair: Pair) -> str:
        sources = " ".join(f"{path} {images.stamp(path)}" for path in (pair.ir, pair.vis))
        key = f"{self.method} {sources} {self.fuser.span or ''}".strip()
        return key if self.ranges == ("full", "full") else f"{key} {self.ranges}"
