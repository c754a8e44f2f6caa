"""Pairs of folders of any size, found while they are being fused: no listing is waited for, none is kept.

Small folders are listed and paired as `fusion.pairing` does it. Of a large one, files are taken as the system names
them, a chunk at a time, and the partner of each is looked for where it should be: in the other folder, under the same
name, or with another ending. Where the names of the first chunk have no partners of the same name, both folders are
listed after all, for only whole listings tell by which rule names differ.
"""

from __future__ import annotations

import os
import unicodedata
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from fusion import images
from fusion.bulk.share import Share
from fusion.names import natural
from fusion.pairing import Pair, Pairing, is_picture, is_there, name_of, pair_folders, twice

CHUNK = 10_000  # pictures: a tenth of a second of listing, and some megabytes


def found_pairs(ir: Path, vis: Path, match: str | None = None, *, ordered: bool = False) -> Pairing | Stream:
    """The pairs of two folders: of large ones as a `Stream`. ordered: all must come in the order of their names.

    Raises ValueError as `pair_folders`.
    """
    if match or ordered or not (ir.is_dir() and vis.is_dir()) or ir.samefile(vis):
        return pair_folders(ir, vis, match)
    stream = Stream(ir, vis)
    return stream if stream.first else pair_folders(ir, vis)


class Stream:
    """The pairs of two large folders, to be iterated once; chunk by chunk in natural order.

    first: the pairs of the first chunk, to look at before all starts; empty where the folders are small, or their names
    not the same. note: called with a line for each file that has no partner, as it is found.
    """

    rule = ""

    def __init__(self, ir: Path, vis: Path):
        self.ir, self.vis = _Folder(ir), _Folder(vis)
        self._files = self.ir.files()
        self._chunk = list(islice(self._files, CHUNK))
        large = len(self._chunk) == CHUNK
        self.first = sorted((p for f in self._chunk if (p := self._pair(f))), key=_order) if large else []
        self.failed: list[str] = []
        """Lines about names that stand twice in a folder: the later one, if not both, is left out."""
        self.lonely = 0
        self.note = print

    def of(self, share: Share) -> Iterator[Pair]:
        """A process's part, by the pairs' names: whatever order the system of each process lists them in."""
        for pair in self:
            if share.world == 1 or zlib.crc32(pair.name.encode(errors="surrogateescape")) % share.world == share.rank:
                yield pair

    def __iter__(self) -> Iterator[Pair]:
        chunk, self._chunk = self._chunk, []
        while chunk:
            pairs = []
            for file in chunk:
                if other := self.ir.other(file):
                    self.failed.append(f"error: {twice(self.ir.path, other, file)}")
                elif pair := self._pair(file):
                    pairs.append(pair)
                else:
                    self._left_out(f"{file} has no visible partner")
            yield from sorted(pairs, key=_order)
            chunk = list(islice(self._files, CHUNK))

    def finish(self) -> None:
        """Look for files of the other folder that belong to no pair."""
        for file in self.vis.files():
            if other := self.vis.other(file):
                self.failed.append(f"error: {twice(self.vis.path, other, file)}")
            elif self.ir.find(file, self.vis.path) is None:
                self._left_out(f"{file} has no infrared partner")

    def _left_out(self, line: str) -> None:
        self.lonely += 1
        self.note(line)

    def _pair(self, file: Path) -> Pair | None:
        partner = self.vis.find(file, self.ir.path)
        return Pair(name_of(file, self.ir.path), file, partner) if partner else None


class _Folder:
    """A folder's pictures without a list of them: what comes next, and whether one is there."""

    def __init__(self, path: Path):
        self.path = path
        self.endings: dict[str, None] = {}  # seen so far, in order
        self._complete = False

    def files(self) -> Iterator[Path]:
        """Those in the folder, or below it where it holds none itself, in the system's order."""
        own = self._in(self.path)
        first = next(own, None)
        found = self._below(self.path, set()) if first is None else chain([first], own)
        for file in found:
            self.endings.setdefault(_ending(file))
            yield file
        self._complete = True

    def _in(self, folder: Path) -> Iterator[Path]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_picture(entry):
                    yield folder / entry.name

    def _below(self, folder: Path, seen: set[str]) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            return
        seen.add(real)
        yield from self._in(folder)
        with os.scandir(folder) as entries:
            inner = [entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        for each in inner:
            yield from self._below(Path(each), seen)

    def find(self, file: Path, root: Path) -> Path | None:
        """The picture here that has the place and the name of `file` below `root`, whatever its ending."""
        place, name = self.path / file.relative_to(root).parent, file.name
        stem, ending = name[: len(name) - len(_ending(file))], _ending(file)
        stems = [stem] if stem.isascii() else dict.fromkeys([stem, *(unicodedata.normalize(f, stem) for f in FORMS)])
        for one in stems:
            for end in dict.fromkeys([*self.endings, ending]):
                if is_there(there := place / (one + end)):
                    self.endings.setdefault(end)
                    return there
        return None if self._complete else self._any_ending(place, list(stems))

    def _any_ending(self, place: Path, stems: list[str]) -> Path | None:
        for one in stems:
            for end in chain(images.SUFFIXES, map(str.upper, images.SUFFIXES)):
                if is_there(there := place / (one + end)):
                    self.endings.setdefault(end)
                    return there
        return None

    def other(self, file: Path) -> Path | None:
        """A picture of the same name with another ending, certainly found where that one was listed before."""
        stem = file.name[: len(file.name) - len(_ending(file))]
        others = (file.with_name(stem + end) for end in self.endings if end != _ending(file))
        return next((path for path in others if is_there(path)), None)


FORMS = ("NFC", "NFD")


def _ending(file: Path) -> str:
    """With its dot, as written; of `.nii.gz` both parts."""
    name = file.name.lower()
    return file.name[len(file.name) - max(len(s) for s in images.SUFFIXES if name.endswith(s)) :]


def _order(pair: Pair) -> tuple:
    return natural(pair.name)
