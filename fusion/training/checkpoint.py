"""Checkpoints: complete, written whole or not at all, the last few kept.

A checkpoint is one dictionary of tensors, numbers and strings, read with `weights_only=True`.
"""

from __future__ import annotations

import os
import pickle
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
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            unfinished.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            last = self.paths()[-1] if self.paths() else "none"
            raise OSError(f"cannot write the checkpoint {path}: {reason}; the last good one: {last}") from error
        return path

    def paths(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted(self.folder.glob("step_*.pt"))

    def latest(self) -> tuple[Path, dict] | None:
        """The newest checkpoint that can be read, or None where there is none."""
        for path in reversed(self.paths()):
            try:
                return path, load(path)
            except ValueError:
                continue
        return None


def load(path: Path) -> dict:
    """A checkpoint's dictionary, on the CPU. Raises ValueError for a file that cannot be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
