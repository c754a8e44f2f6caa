"""Weight files: ours (safetensors, with the network's name and options inside) and the authors' (.pth).

A file from outside is data: .pth is read with `weights_only=True`, so a checkpoint that carries code is refused, not
run.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from fusion.images import atomic_path
from fusion.networks.base import Network

FORMAT = "fusion-1"
CODE_SIGNS = ("nsupported global", "unsupported GLOBAL", "unrecognized function", "Can only create", "Can only build")
"""What PyTorch's restricted reader says of a pickle that asks for functions or classes; chooses the message only."""


def save(path: str | Path, network: Network, *, name: str, options: dict[str, Any] | None = None) -> None:
    """Write `network`'s weights, whole or not at all.

    name, options: what `fusion.load` builds before it loads them; options that differ from the defaults suffice.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    metadata = {"format": FORMAT, "network": name, "options": json.dumps(options or {}, sort_keys=True)}
    with atomic_path(path) as unfinished:
        # Not `save_file`, whose files only their owner may read.
        unfinished.write_bytes(safetensors.torch.save(tensors, metadata))


def stated(path: str | Path) -> tuple[str | None, dict[str, Any]]:
    """(network name, options) written in one of our files; (None, {}) for any other file.

    Raises FileNotFoundError, and ValueError for a file that is cut or whose metadata are damaged.
    """
    path = Path(path)
    _refuse_missing(path)
    if path.suffix != ".safetensors":
        return None, {}
    with _opened(path) as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        return None, {}
    try:
        options = json.loads(metadata["options"])
        return metadata["network"], {str(key): value for key, value in options.items()}
    except (KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} says '{FORMAT}' but lacks the network's name or options; fetch it again") from error


def load(network: Network, path: str | Path) -> None:
    """Fill `network` from one of our files or from its authors' checkpoint.

    Raises FileNotFoundError, and ValueError for a file that is cut, that carries code or that holds another network.
    """
    path = Path(path)
    _refuse_missing(path)
    _fill(network, _from_safetensors(path) if path.suffix == ".safetensors" else _from_pth(network, path), path)


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there (looked in {path.absolute().parent})")


@contextmanager
def _opened(path: Path) -> Iterator[safetensors.safe_open]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors, it may be cut: {error}; fetch it again") from error


def _from_safetensors(path: Path) -> dict[str, torch.Tensor]:
    with _opened(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- no mapping


def _from_pth(network: Network, path: Path) -> dict[str, torch.Tensor]:
    checkpoint = _checkpoint(path)
    try:
        return network.from_authors(checkpoint)
    except (ValueError, TypeError, AttributeError) as error:  # of a mapping that met something other than tensors
        found = ", ".join(map(repr, list(checkpoint)[:3])) or "nothing"
        reason = error if type(error) is ValueError else "not its authors' dictionary of tensors"
        raise ValueError(f"{path} does not fit {type(network).__name__}: {reason}; found {found}") from error


def _checkpoint(path: Path) -> dict:
    """The dictionary that `torch.save` wrote; raises ValueError for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, of files that are refused below anyway
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file may raise anything: struct.error, IndexError, AssertionError, ...
        if any(sign in str(error) for sign in CODE_SIGNS):
            reason = "it carries code or objects other than tensors, which are never run; ask for a plain state dict"
            raise ValueError(f"{path} is refused: {reason}") from error
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint: it may be cut, or another kind of file; fetch it again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path} holds a {type(checkpoint).__name__}: expected a dictionary of tensors")
    return checkpoint


def _fill(network: Network, state: dict[str, torch.Tensor], path: Path) -> None:
    """`load_state_dict(strict=True)` whose complaint is one line."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(getattr(value, "shape", ())) for key, value in state.items()}
    kind = type(network).__name__
    if missing := [key for key in wanted if key not in given]:
        lacks = f"{len(missing)} of {len(wanted)} tensors missing"
        raise ValueError(f"{path} does not fit {kind}: {lacks}, e.g. {missing[0]}")
    if unknown := [key for key in given if key not in wanted]:
        raise ValueError(f"{path} does not fit {kind}: {len(unknown)} unknown tensors, e.g. {unknown[0]}")
    for key, shape in wanted.items():
        if given[key] != shape:
            raise ValueError(f"{path} does not fit {kind} with these options: {key} is {given[key]}, expected {shape}")
    network.load_state_dict(state)
