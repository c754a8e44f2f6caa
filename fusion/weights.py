"""Weight files: ours (safetensors, with the network's name and options inside) and the authors' (.pth).

A file from outside is data: .pth is read with `weights_only=True`, so a checkpoint that carries code is refused, not
run.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from fusion.images import atomic_path
from fusion.networks.base import Network

FORMAT = "fusion-1"


def save(path: str | Path, network: Network, *, name: str, options: dict[str, Any] | None = None) -> None:
    """Write `network`'s weights, whole or not at all.

    name, options: what `fusion.load` builds before it loads them; options that differ from the defaults suffice.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    metadata = {"format": FORMAT, "network": name, "options": json.dumps(options or {}, sort_keys=True)}
    with atomic_path(path) as unfinished:
        safetensors.torch.save_file(tensors, unfinished, metadata)


def stated(path: str | Path) -> tuple[str | None, dict[str, Any]]:
    """(network name, options) written in one of our files; (None, {}) for any other file.

    Raises FileNotFoundError, and ValueError for a file that is cut.
    """
    path = Path(path)
    _refuse_missing(path)
    if path.suffix != ".safetensors":
        return None, {}
    metadata = _open(path)[1]
    return metadata.get("network"), json.loads(metadata.get("options", "{}"))


def load(network: Network, path: str | Path) -> None:
    """Fill `network` from one of our files or from its authors' checkpoint.

    Raises FileNotFoundError, and ValueError for a file that is cut, that carries code or that holds another network.
    """
    path = Path(path)
    _refuse_missing(path)
    state = _open(path)[0] if path.suffix == ".safetensors" else _from_pth(network, path)
    _fill(network, state, path)


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there (looked in {path.absolute().parent})")


def _open(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors, it may be cut: {error}; fetch it again") from error


def _from_pth(network: Network, path: Path) -> dict[str, torch.Tensor]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            reason = "it carries code or objects other than tensors, which are never run; ask for a plain state dict"
            raise ValueError(f"{path} is refused: {reason}") from error
        raise ValueError(f"{path} is not a PyTorch checkpoint: expected a file written by torch.save") from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a PyTorch checkpoint, it may be cut; fetch it again") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path} holds a {type(checkpoint).__name__}: expected a dictionary of tensors")
    try:
        return network.from_authors(checkpoint)
    except ValueError as error:
        found = ", ".join(map(str, list(checkpoint)[:3]))
        raise ValueError(f"{path} does not fit {type(network).__name__}: {error}; found {found}, ...") from error


def _fill(network: Network, state: dict[str, torch.Tensor], path: Path) -> None:
    """`load_state_dict(strict=True)` whose complaint is one line."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    kind = type(network).__name__
    if missing := [key for key in wanted if key not in given]:
        raise ValueError(f"{path} does not fit {kind}: {len(missing)} of {len(wanted)} tensors missing, e.g. {missing[0]}")
    if unknown := [key for key in given if key not in wanted]:
        raise ValueError(f"{path} does not fit {kind}: {len(unknown)} unknown tensors, e.g. {unknown[0]}")
    for key, shape in wanted.items():
        if given[key] != shape:
            raise ValueError(f"{path} does not fit {kind} with these options: {key} is {given[key]}, expected {shape}")
    network.load_state_dict(state)
