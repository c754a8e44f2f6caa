"""The data set of patch files (see `patches.py`): ours and the CDDFuse authors'.

The authors' reader opens the file for every patch. This one opens it once, asks h5py where in the file each patch
lies, and from then on copies the bytes out of a memory map: no lock, no handle that a forked or spawned process would
have to share, and the operating system's page cache as the only cache. Files whose patches do not lie there plainly
(compressed, say) are read through an h5py handle of each process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from fusion.data.sampler import Key, view
from fusion.registry import DATASETS

_GROUPS = {"ir": "ir_patchs", "vis": "vis_patchs"}
_WANTED = "data sets 'ir' and 'vis' (N, 1, size, size), or groups 'ir_patchs' and 'vis_patchs' of (1, size, size)"


@DATASETS.register("patches")
class PatchData:
    """Patches of an h5 file; `data[i]` is the i-th as stored, `data[Key(...)]` as a training run sees it.

    A sample is {"ir": (1, h, w), "vis": (1, h, w), "name": "file@y,x"}, float32 in [0, 1]. Patches are in the order
    of their numbers (0, 1, 2, ...), where the authors' reader goes by name (0, 1, 10, ...).

    path: the h5 file. size: side of a random crop, None for the whole patch. augment: mirror and quarter-turn.
    Raises ValueError for a file that is missing, truncated, of another layout, or too small for the crop; reading
    raises it for pixels that are NaN or outside [0, 1], naming the patch.
    """

    def __init__(self, *, path: str, size: int | None = None, augment: bool = False):
        self.path, self.size, self.augment = Path(path), size, augment
        self._map = self._handle = None
        with _open(self.path) as file:
            find = _authors_patches if set(_GROUPS.values()) <= set(file) else _stacked_patches
            self._names, self.shape, self._offsets = find(self.path, file)
            self._source = file["source"].asstr()[:].tolist() if "source" in file else None
            self._corner = file["corner"][:] if "corner" in file else None
            self._sha256 = file.attrs.get("sha256")
        if size is not None and size > min(self.shape):
            h, w = self.shape
            raise ValueError(
                f"{path} holds patches of {h}x{w}, smaller than the crop of {size}x{size}: lower size, or cut larger "
                f"patches with scripts/make_patches.py --size {size}"
            )

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: Key | int) -> dict:
        return {name: x[0] for name, x in self.batch([key]).items()}

    def batch(self, keys: Sequence[Key | int]) -> dict:
        """Samples read into one batch: ir and vis (B, 1, h, w), name a list of B."""
        indices = [self._index(key) for key in keys]
        views = [view(key, *self.shape, self.size, self.augment) for key in keys]
        batch = {}
        for which in ("ir", "vis"):
            pixels = np.empty((len(keys), 1, views[0].height, views[0].width), np.float32)
            for out, index, shown in zip(pixels, indices, views, strict=True):
                out[0] = shown.of(self._patch(which, index))
            self._check(which, pixels, indices)
            batch[which] = torch.from_numpy(pixels)
        return {**batch, "name": [self.name(index) for index in indices]}

    def name(self, index: int) -> str:
        """Where patch `index` comes from: `file@y,x` of its corner; in the authors' layout `patch file[index]`."""
        if self._source is None or self._corner is None:
            return f"{self.path.name}[{self._names[index]}]"
        y, x = self._corner[index]
        return f"{self._source[index]}@{y},{x}"

    def remarks(self) -> list[str]:
        """Nothing: patches were looked at when they were cut, and their values are checked as they are read."""
        return []

    @property
    def data_hash(self) -> str:
        """SHA-256 over the pixels, ir 0, vis 0, ir 1, vis 1, ...: the same for both layouts of the same patches."""
        if self._sha256 is None:
            running = hashlib.sha256()
            for index in range(len(self)):
                for which in ("ir", "vis"):
                    running.update(np.ascontiguousarray(self._patch(which, index), "<f4"))
            self._sha256 = running.hexdigest()
        return self._sha256

    def __getstate__(self) -> dict:
        # A map would be pickled with all its bytes, a handle not at all: each process makes its own.
        return {**self.__dict__, "_map": None, "_handle": None}

    def _index(self, key: Key | int) -> int:
        index = key.index if isinstance(key, Key) else int(key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"patch {index} of {len(self)} in {self.path}")
        return index % len(self)

    def _patch(self, which: str, index: int) -> np.ndarray:
        """(h, w) float32, read-only or a copy."""
        h, w = self.shape
        if self._offsets is None:
            file = self._file()
            group = _GROUPS[which]
            stored = file[group][self._names[index]][:] if group in file else file[which][index]
            return stored.reshape(h, w)
        if self._map is None:
            self._map = np.memmap(self.path, np.uint8, "r")
        start = self._offsets[which][index]
        return self._map[start : start + 4 * h * w].view("<f4").reshape(h, w)

    def _file(self) -> h5py.File:
        """An open handle that belongs to this process: one from before a fork would share its file position."""
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = (os.getpid(), _open(self.path))
        return self._handle[1]

    def _check(self, which: str, pixels: np.ndarray, indices: list[int]) -> None:
        # Two reductions over the batch, fast enough to do always; NaN fails every comparison.
        if pixels.min() >= 0 and pixels.max() <= 1:
            return
        for patch, index in zip(pixels, indices, strict=True):
            low, high = patch.min(), patch.max()
            if not (low >= 0 and high <= 1):
                what = "NaN" if np.isnan(low) else f"values from {low:.4g} to {high:.4g}"
                raise ValueError(
                    f"{self.path}: patch {self._names[index]} of {which} ({self.name(index)}) holds {what}; expected "
                    f"[0, 1]: make the file anew with scripts/make_patches.py"
                )


# --- where the patches lie ------------------------------------------------------------------------------------------


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: make it with scripts/make_patches.py ROOT -o {path}") from None
    except OSError as error:
        why = str(error).split("(", 1)[-1].rstrip(")")
        if "lock file" in why or "locking" in why:
            raise ValueError(
                f"{path} is locked ({why}): another program writes it, or its disk knows no locks (NFS); close that "
                "program, or set the environment variable HDF5_USE_FILE_LOCKING=FALSE"
            ) from error
        raise ValueError(f"{path} is truncated or no h5 file ({why}): fetch or make it anew") from error


def _stacked_patches(path: Path, file: h5py.File) -> tuple[Sequence[int], tuple[int, int], dict | None]:
    """Numbers of the patches, their (h, w), and per source the byte where each begins (None: not plain bytes)."""
    ir, vis = file.get("ir"), file.get("vis")
    for data in (ir, vis):
        if not isinstance(data, h5py.Dataset) or data.ndim != 4 or data.shape[1] != 1 or data.dtype.kind != "f":
            raise _wrong_layout(path, file)
    _refuse_unequal(path, len(ir), len(vis))
    if ir.shape != vis.shape:
        raise ValueError(f"{path}: ir patches are {ir.shape[2:]} but vis patches {vis.shape[2:]}: expected one size")
    offsets = {"ir": _row_offsets(ir), "vis": _row_offsets(vis)}
    return range(len(ir)), ir.shape[2:], None if any(x is None for x in offsets.values()) else offsets


def _authors_patches(path: Path, file: h5py.File) -> tuple[Sequence[str], tuple[int, int], dict | None]:
    """The same for the authors' layout, where every patch is a data set; their names (`7`, `00007`) for numbers."""
    groups = {which: file[group] for which, group in _GROUPS.items()}
    if not all(isinstance(g, h5py.Group) and all(name.isdecimal() for name in g) for g in groups.values()):
        raise _wrong_layout(path, file)
    _refuse_unequal(path, *map(len, groups.values()))
    if groups["ir"].keys() != groups["vis"].keys():
        raise ValueError(f"{path}: patches of ir and vis are numbered differently: make the file anew")
    numbers = sorted(groups["ir"], key=int)
    offsets = {which: np.empty(len(numbers), np.int64) for which in groups}
    plain, shape = True, groups["ir"][numbers[0]].shape
    for which, group in groups.items():
        for place, number in enumerate(numbers):
            data = h5py.h5d.open(group.id, number.encode())  # a third of the time of group[number]
            if data.shape != shape or len(shape) != 3 or shape[0] != 1:
                raise ValueError(
                    f"{path}: {group.name}/{number} has the shape {data.shape}, the first patch {shape}: expected "
                    f"(1, size, size) throughout"
                )
            start = data.get_offset()  # None unless contiguous, hence unfiltered
            plain = plain and start is not None and data.dtype == np.dtype("<f4")
            offsets[which][place] = start if plain else -1
    plain = plain and not file.userblock_size
    return numbers, shape[1:], offsets if plain else None


def _row_offsets(data: h5py.Dataset) -> np.ndarray | None:
    """The byte of the file where each row begins; None where rows are not float32 in one uncompressed piece."""
    if data.dtype != np.dtype("<f4") or data.file.userblock_size or data.id.get_create_plist().get_nfilters():
        return None
    if data.chunks is None:
        start = data.id.get_offset()
        return None if start is None else start + 4 * int(np.prod(data.shape[1:])) * np.arange(len(data))
    if data.chunks != (1, *data.shape[1:]) or not hasattr(data.id, "chunk_iter"):
        return None
    offsets = np.full(len(data), -1, np.int64)

    def note(chunk) -> None:
        offsets[chunk.chunk_offset[0]] = chunk.byte_offset

    data.id.chunk_iter(note)
    return offsets if (offsets >= 0).all() else None


def _wrong_layout(path: Path, file: h5py.File) -> ValueError:
    held = ", ".join(f"{name} {getattr(x, 'shape', '(group)')}" for name, x in list(file.items())[:6]) or "nothing"
    return ValueError(f"{path} is no patch file: expected {_WANTED}; it holds {held}")


def _refuse_unequal(path: Path, ir: int, vis: int) -> None:
    if ir != vis or not ir:
        held = f"{ir} infrared but {vis} visible patches" if ir or vis else "no patches"
        raise ValueError(f"{path} holds {held}: make the file anew with scripts/make_patches.py")
