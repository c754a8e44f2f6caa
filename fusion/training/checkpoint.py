"""Checkpoints: complete, written whole or not at all, the last few kept.

A checkpoint is one dictionary of tensors, numbers and strings, read with `weights_only=True`.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch


class Checkpoints:
    """The folder of a run's checkpoints: `step_00001000.pt`, ... and `best.pt`."""

    def __init__(self, folder: Path, keep: int):
        self.folder, self.keep = folder, keep

    def save(self, state: dict, step: int) -> Path:
        """Write the checkpoint of `step` and drop those beyond the last `keep`; OSError leaves the old ones alone."""
        path = self.write(state, f"step_{step:08d}.pt")
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def write(self, state: dict, name: str) -> Path:
        """Write `state` under `name`. The old file of that name stays until the new one is on the disk."""
        path = self.folder / name
        unfinished = self.folder / f".{name}.part"  # one writer per run, so a killed one's leftover is written over
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
            self._keep_names()
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise OSError(
                f"cannot write {path}: {reason}; the last good checkpoint: {self.last() or 'none'}"
            ) from error
        finally:
            if self.folder.is_dir():
                unfinished.unlink(missing_ok=True)
        return path

    def _keep_names(self) -> None:
        """After a power cut a new name may be lost unless its folder was written too."""
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.folder, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def paths(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted(self.folder.glob("step_*.pt"))

    def last(self) -> Path | None:
        return max(self.paths(), default=None)

    def newest(self, say: Callable[[str], None]) -> tuple[Path, dict] | None:
        """The newest checkpoint that can be read, or None where there is none; `say` hears of those that cannot."""
        for path in reversed(self.paths()):
            try:
                return path, load(path)
            except ValueError as error:
                say(f"{error}; trying the one before")
        return None


def load(path: Path) -> dict:
    """A checkpoint's dictionary, on the CPU. Raises ValueError for a file that is cut or damaged in any byte."""
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch writes checksums but does not look at them
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read: {reason}") from error
