"""Patch files: square patches of registered pairs, cut as the CDDFuse authors cut them, in one h5 file.

The rules are those of the authors' preparation program: windows on a grid from the top-left corner, both patches of a
pair dropped when either is of low contrast; luminance as float32, because 8 bits would round the visible one. Ours is
the storage. `stacked`, the default: `ir` and `vis` of shape (N, 1, size, size), one patch a chunk, uncompressed,
with the `source` file and `corner` (y, x) of each. `authors`: groups `ir_patchs` and `vis_patchs` of data sets "0",
"1", ..., each (1, size, size). Reading is in `patch_data.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from fusion import images, pairing
from fusion.reading import How, of_pair

FORMAT = "fusion-patches 1"

# --- rules ----------------------------------------------------------------------------------------------------------


def grid(h: int, w: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Top-left corners (y, x) of the whole windows in an h x w picture, row by row; none where it is too small."""
    return [(y, x) for y in range(0, h - size + 1, stride) for x in range(0, w - size + 1, stride)]


def is_flat(patch: np.ndarray, drop_black: bool = False) -> bool:
    """Whether a patch in [0, 1] is of too low contrast to train on: its 10th percentile above 0.9 times its 90th.

    Where the 90th percentile is 0 the authors' quotient is 0/0, which no comparison calls low, so they keep the
    (nearly) black patch; so do we, unless `drop_black`.
    """
    low, high = np.percentile(patch, (10, 90))
    return bool((high - low) / high < 0.1) if high > 0 else drop_black


@dataclass(frozen=True)
class Options:
    """How patches are cut and laid out: side and stride in pixels."""

    size: int = 128
    stride: int = 200
    drop_black: bool = False
    layout: Literal["stacked", "authors"] = "stacked"
    range: str = "auto"
    """What becomes black and white, `IR` or `IR,VIS` (`fusion.reading.ranges`); one for all pictures of a side."""

    def __post_init__(self):
        if self.size < 1 or self.stride < 1:
            raise ValueError(f"expected size and stride of at least 1 pixel, got {self.size} and {self.stride}")
        if self.layout not in ("stacked", "authors"):
            raise ValueError(f"expected the layout 'stacked' or 'authors', got '{self.layout}'")
        of_pair(self.range)


@dataclass(frozen=True)
class Cut:
    """The kept patches of one pair: corners (y, x), ir and vis (k, 1, size, size) float32 in [0, 1]."""

    source: str
    corners: np.ndarray
    ir: np.ndarray
    vis: np.ndarray
    dropped: int


def cut(pair: pairing.Pair, options: Options, ranges: tuple[How, How] | None = None) -> Cut:
    """Read a pair and cut it. ranges: of all pictures of a side; default: this pair's own.

    Raises ValueError for a file that cannot be read and for two sizes.
    """
    of_ir, of_vis = ranges or of_pair(options.range)
    try:
        ir, vis = images.luminance(images.read(pair.ir, of_ir)), images.luminance(images.read(pair.vis, of_vis))
    except OSError as error:
        raise ValueError(f"cannot read {error.filename}: {error.strerror}") from error
    if ir.shape != vis.shape:
        (h, w), (hv, wv) = ir.shape, vis.shape
        raise ValueError(f"{pair.ir} is {h}x{w} but {pair.vis} is {hv}x{wv}: bring the pair to one size first")
    size, corners = options.size, grid(*ir.shape, options.size, options.stride)
    windows = np.empty((len(corners), 2, 1, size, size), np.float32)
    for window, (y, x) in zip(windows, corners, strict=True):
        window[0, 0], window[1, 0] = ir[y : y + size, x : x + size], vis[y : y + size, x : x + size]
    kept = [i for i, window in enumerate(windows) if not any(is_flat(x, options.drop_black) for x in window)]
    return Cut(
        source=(Path(pair.name).parent / pair.ir.name).as_posix(),
        corners=np.array(corners, np.int32).reshape(-1, 2)[kept],
        ir=windows[kept, 0],
        vis=windows[kept, 1],
        dropped=len(windows) - len(kept),
    )


# --- files ----------------------------------------------------------------------------------------------------------


class PatchWriter:
    """Appends to an open h5 file; `finish` completes it. Holds nothing but counts and a running hash."""

    def __init__(self, file: h5py.File, options: Options):
        self.file, self.options, self.count = file, options, 0
        self._hash = hashlib.sha256()
        if options.layout == "authors":
            self._groups = [file.create_group("ir_patchs"), file.create_group("vis_patchs")]
            return
        patch = (1, options.size, options.size)
        for name, shape, kind in (
            ("ir", patch, "<f4"),
            ("vis", patch, "<f4"),
            ("source", (), h5py.string_dtype()),
            ("corner", (2,), "<i4"),
        ):
            chunk = 1 if shape == patch else 1024
            file.create_dataset(name, (0, *shape), kind, maxshape=(None, *shape), chunks=(chunk, *shape))

    def append(self, cut: Cut) -> None:
        """Add the patches of one pair."""
        start, self.count = self.count, self.count + len(cut.ir)
        for i, v in zip(cut.ir, cut.vis, strict=True):
            self._hash.update(np.ascontiguousarray(i, "<f4"))
            self._hash.update(np.ascontiguousarray(v, "<f4"))
        if self.options.layout == "authors":
            for group, patches in zip(self._groups, (cut.ir, cut.vis), strict=True):
                for number, patch in enumerate(patches, start):
                    group.create_dataset(str(number), data=patch)
            return
        columns = {"ir": cut.ir, "vis": cut.vis, "source": [cut.source] * len(cut.ir), "corner": cut.corners}
        for name, values in columns.items():
            self.file[name].resize(self.count, axis=0)
            self.file[name][start:] = values

    def finish(self, **more) -> None:
        """Write what the file says of itself: options, hash of the pixels, and `more`."""
        self.file.attrs.update({"format": FORMAT, "sha256": self._hash.hexdigest(), **asdict(self.options), **more})


@dataclass(frozen=True)
class Written:
    """What `write_patches` did: counts of pairs and patches, size of the file in bytes, pairs too small to cut."""

    pairs: int
    kept: int
    dropped: int
    file_bytes: int
    too_small: list[str] = field(default_factory=list)


def write_patches(
    pairs: list[pairing.Pair],
    path: str | Path,
    options: Options | None = None,
    *,
    workers: int = 1,
    progress: Callable[[], object] | None = None,
) -> Written:
    """Cut `pairs` into the h5 file `path`: all of it or, whatever happens, none of it.

    workers: threads that read and cut, at most twice as many pictures ahead of the writer; they change nothing in
    the file. progress: called once a pair. Raises ValueError for a bad picture or where no patch is kept, OSError
    where the disk refuses.
    """
    if workers < 1:
        raise ValueError(f"expected at least 1 worker, got {workers}")
    options = options or Options()
    identity, ranges = fingerprint(pairs, options), images.ranges_of(pairs, options.range)
    dropped, too_small = 0, []
    with images.atomic_path(path) as unfinished:
        with h5py.File(unfinished, "w") as file:
            writer = PatchWriter(file, options)
            for done in _in_order(lambda pair: cut(pair, options, ranges), pairs, workers):
                writer.append(done)
                dropped += done.dropped
                if not len(done.ir) + done.dropped:
                    too_small.append(done.source)
                if progress:
                    progress()
            writer.finish(pairs=len(pairs), fingerprint=identity)
        if not writer.count:
            raise ValueError(
                f"no patch to keep: of {len(pairs)} pairs {len(too_small)} are smaller than "
                f"{options.size}x{options.size}, the others are of low contrast everywhere; lower --size"
            )
        file_bytes = unfinished.stat().st_size
    return Written(len(pairs), writer.count, dropped, file_bytes, too_small)


def _in_order(function: Callable, items: Iterable, workers: int) -> Iterator:
    """`map` over threads that runs only a little ahead of whoever takes the results."""
    coming: deque[Future] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                coming.append(pool.submit(function, item))
                if len(coming) >= 2 * workers:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


# --- has anything changed? ------------------------------------------------------------------------------------------


def fingerprint(pairs: list[pairing.Pair], options: Options) -> str:
    """A hash of what a patch file is made from: names, sizes and times of the pictures, and the options."""
    files = [
        ((Path(pair.name).parent / p.name).as_posix(), p.stat().st_size, p.stat().st_mtime_ns)
        for pair in pairs
        for p in (pair.ir, pair.vis)
    ]
    return hashlib.sha256(json.dumps([FORMAT, asdict(options), files]).encode()).hexdigest()


def stored_fingerprint(path: str | Path) -> str | None:
    """The fingerprint in the patch file `path`; None where there is none, or no readable h5 file."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs["fingerprint"]) if "fingerprint" in file.attrs else None
    except OSError:
        return None
