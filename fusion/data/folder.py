"""The data set of folders: pairs of pictures, with or without saliency masks, cropped and turned alike.

What SHIP trains on (M3FD in the paper, any registered pairs here): random square crops, mirrored and quarter-turned,
the same for ir, vis and mask. The authors read their masks from files that they did not publish; here they are
computed where no files are given (see `saliency.py`), of the whole pictures and not of the crops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import default_collate

from fusion import images, pairing
from fusion.data.doctor import quick_check
from fusion.data.picture_facts import file_size
from fusion.data.saliency import levels, saliency_table, visible_share
from fusion.data.sampler import Key, View, tone, view
from fusion.pairing import find_pairs
from fusion.registry import DATASETS

UNREADABLE = "problem: unreadable: "


def _refuse_useless(pairs: Sequence[pairing.Pair], size: int | None) -> None:
    """Raise ValueError for pairs that training would stop at hours later: cut, of two sizes, smaller than the crop."""
    bad = []
    for pair in pairs:
        try:
            ir, vis = file_size(pair.ir), file_size(pair.vis)
        except (ValueError, OSError) as error:
            bad.append(" ".join(str(error).split()))
            continue
        if ir != vis:
            bad.append(f"{pair.ir} is {ir[0]}x{ir[1]} but {pair.vis} is {vis[0]}x{vis[1]}")
        elif size is not None and size > min(ir):
            bad.append(f"{pair.ir} is {ir[0]}x{ir[1]}, smaller than the crop of {size}x{size}")
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise ValueError(
            f"{len(bad)} of {len(pairs)} pairs cannot be trained on: {bad[0]}{more}; bring pairs to one size, lower "
            "size, or leave them out (scripts/check_pairs.py lists all)"
        )


class Scene(NamedTuple):
    """A decoded pair, as stored: uint8 or uint16. Masks are a file's picture or the two pictures' saliency tables."""

    ir: np.ndarray
    vis: np.ndarray
    mask: np.ndarray | None = None
    tables: tuple[np.ndarray, np.ndarray] | None = None  # of vis, of ir

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in (self.ir, self.vis, self.mask) if x is not None)


@DATASETS.register("folder")
class FolderData:
    """Pairs of two folders; `data[i]` is the i-th as it is, `data[Key(...)]` as a training run sees it.

    A sample is {"ir": (1, h, w), "vis": (1, h, w), "mask": (1, h, w) on request, "name": stem}, float32 in [0, 1].

    root, ir, vis, match: where the pairs are (`pairing.find_pairs`).
    mask: whether samples have a saliency mask: from `root/mask/` where that exists, otherwise computed.
    size: side of a random crop, None for whole pictures. augment: mirror and quarter-turn. tones: how far each source's
    brightness is changed by itself, as another camera would (see `Tone`); 0: not at all.
    cache_mb: megabytes of decoded pictures to keep in memory; those beyond are decoded every time.
    range: what becomes black and white in all pictures of a side, `IR` or `IR,VIS` (`fusion.reading.ranges`).
    Files without a partner are left out; `remarks` has a line for each, and for what looks wrong with the rest.
    Raises ValueError for missing folders, and for pairs of two sizes or smaller than the crop, as far as the files'
    headers tell; reading raises it for a bad file.
    """

    def __init__(
        self,
        *,
        root: str,
        ir: str = "ir",
        vis: str = "vi",
        match: str | None = None,
        mask: bool = False,
        size: int | None = None,
        augment: bool = False,
        tones: float = 0.0,
        cache_mb: int = 2048,
        range: str = "auto",
    ):
        found = find_pairs(root, ir, vis, match)
        self.pairs, self._left_out = found.pairs, [*found.examples(), *found.report()]
        _refuse_useless(self.pairs, size)
        self._settled = ["range"] * (range != "auto")
        self._ranges = images.ranges_of(self.pairs, range)
        self.mask, self.size, self.augment, self.tones = mask, size, augment, tones
        self._masks = self._mask_files(Path(root) / "mask") if mask else None
        self._cache: dict[int, Scene] = {}
        self._cache_left = cache_mb * 2**20

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: Key | int) -> dict:
        index = key.index if isinstance(key, Key) else int(key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        pair, scene = self.pairs[index], self._scene(index % len(self))
        try:
            shown = view(key, *scene.ir.shape[:2], self.size, self.augment)
        except ValueError as error:
            raise ValueError(f"{pair.ir}: {error}; lower size or leave the picture out") from None
        ir, vis = shown.of(scene.ir), shown.of(scene.vis)
        sample = {
            side: _tensor(tone(key, stream, self.tones).of(images.luminance(picture)))
            for stream, (side, picture) in enumerate((("ir", ir), ("vis", vis)))
        }
        if self.mask:
            sample["mask"] = _tensor(_mask(scene, ir, vis, shown))
        return {**sample, "name": pair.name}

    def batch(self, keys: Sequence[Key | int]) -> dict:
        """Samples stacked into one batch: ir, vis and mask (B, 1, h, w), name a list of B."""
        return default_collate([self[key] for key in keys])

    def remarks(self) -> list[str]:
        """What a person should know of these pairs before training on them, a line each.

        Raises ValueError for a picture that cannot be read, as far as pictures are looked at: a run would end there.
        """
        lines = quick_check(self.pairs, without=self._settled)
        if bad := next((line for line in lines if line.startswith(UNREADABLE)), ""):
            raise ValueError(f"{bad.removeprefix(UNREADABLE)}: mend it or leave the pair out (scripts/check_pairs.py)")
        return [*self._left_out, *lines]

    @property
    def data_hash(self) -> str:
        """SHA-256 over the names and bytes of all files, pair by pair."""
        running = hashlib.sha256()
        for pair in self.pairs:
            for path in (pair.ir, pair.vis, *([self._masks[pair.name]] if self._masks else [])):
                running.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return running.hexdigest()

    def _mask_files(self, folder: Path) -> dict[str, Path] | None:
        if not folder.is_dir():
            return None
        files = pairing.by_name(folder)
        missing = [pair.name for pair in self.pairs if pair.name not in files]
        if missing:
            raise ValueError(
                f"{folder} lacks the masks of {len(missing)} of {len(self.pairs)} pairs, {missing[0]} first: complete "
                f"it with scripts/make_saliency.py, or rename it to have all masks computed"
            )
        return files

    def _scene(self, index: int) -> Scene:
        scene = self._cache.get(index)
        if scene is None:
            scene = self._decode(self.pairs[index])
            if scene.nbytes <= self._cache_left:
                self._cache_left -= scene.nbytes
                self._cache[index] = scene
        return scene

    def _decode(self, pair: pairing.Pair) -> Scene:
        of_ir, of_vis = self._ranges
        scene = Scene(images.read(pair.ir, of_ir), images.read(pair.vis, of_vis))
        if self._masks:
            scene = scene._replace(mask=levels(images.read(self._masks[pair.name])))
        elif self.mask:
            scene = scene._replace(tables=(saliency_table(levels(scene.vis)), saliency_table(levels(scene.ir))))
        h, w = scene.ir.shape[:2]
        for other, path in ((scene.vis, pair.vis), (scene.mask, self._masks and self._masks[pair.name])):
            if other is not None and other.shape[:2] != (h, w):
                there = f"{other.shape[0]}x{other.shape[1]}"
                raise ValueError(f"{pair.ir} is {h}x{w} but {path} is {there}: bring them to one size first")
        return scene


def _mask(scene: Scene, ir: np.ndarray, vis: np.ndarray, shown: View) -> np.ndarray:
    """The mask of a view of `scene`; ir and vis are that view's pixels. (h, w) float32 in [0, 1]."""
    if scene.mask is not None:
        return images.to_float(shown.of(scene.mask))
    of_vis, of_ir = scene.tables
    return visible_share(of_vis[levels(vis)], of_ir[levels(ir)])


def _tensor(plane: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(plane))[None]
