"""Containers of weights, known by content and not by suffix, read without running anything in them.

A reader turns a file into a dictionary of tensors (or of dictionaries of them), whatever keys it has; what the keys
mean is asked in `weights.py`. Another format is another line of `READERS`.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch

from fusion import tensorflow_checkpoint

CODE_SIGNS = ("nsupported global", "unsupported GLOBAL", "unrecognized function", "Can only create", "Can only build")
"""What PyTorch's restricted reader says of a pickle that asks for functions or classes; chooses the message only."""


@dataclass(frozen=True)
class Contents:
    """What a weight file holds."""

    tensors: dict
    """As stored: {key: tensor}, or dictionaries of such, among other things."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The text in a safetensors header."""


class Reader(NamedTuple):
    """fits: whether the first bytes (or the path, for formats of several files) are of this format."""

    name: str
    fits: Callable[[Path, bytes], bool]
    read: Callable[[Path], Contents]


def read(path: str | Path) -> Contents:
    """Raises FileNotFoundError, and ValueError for a file that is cut, that carries code or that is no weight file."""
    path = Path(path)
    reader = next((reader for reader in READERS if reader.fits(path, start(path))), None)
    if reader:
        return reader.read(path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder: expected a weight file; name one that is in it")
    if lacking := tensorflow_checkpoint.lacking(path):
        raise FileNotFoundError(f"{path} belongs to a TensorFlow checkpoint, whose data file {lacking} is not there")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there (looked in {path.absolute().parent})")
    raise ValueError(f"{path} cannot be read as weights: {what_else(path)}")


def files(path: str | Path) -> list[Path]:
    """The files that `read` would read, as far as they are there."""
    path = Path(path)
    found = [*pair(path).values()] or [tensorflow_checkpoint.data_file(path) or path]
    return [file for file in found if file.is_file()]


def is_known(path: str | Path) -> bool:
    """Whether a reader takes a file, by its first bytes."""
    path = Path(path)
    return any(reader.fits(path, start(path)) for reader in READERS)


def start(path: Path) -> bytes:
    """The first bytes of a file; of anything else, none."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(512)


def is_onnx(path: str | Path) -> bool:
    """Whether a file is an ONNX model, which begins with its version (field 1 of a protobuf message)."""
    head = start(Path(path))
    return len(head) > 2 and head[0] == 0x08 and 2 < head[1] < 0x20 and head[2] in (0x12, 0x1A, 0x22, 0x2A, 0x3A, 0x42)


def what_else(path: Path) -> str:
    """What a file that no reader knows seems to be, and what to do."""
    head = start(path)
    for sign, words in OTHERS:
        if head.lstrip().lower().startswith(sign):
            return words
    if not head:
        return "it is empty: fetch it again"
    if head[4:8] == b"TFL3":
        return "it is a TensorFlow Lite model"
    if head[257:262] == b"ustar":
        return "it is a tar archive: unpack it first"
    if what := what_pickle(path):
        return what
    if re.search(r"\.ckpt\b|\.model\.(data|index|meta)", path.name):
        return "it is a TensorFlow checkpoint, of no network that is known here, or cut"
    text = " ".join(head.decode("ascii", "replace").split())
    if head.isascii() and text.isprintable():
        return f"it is text ({text[:30]!r}), not the file itself: fetch it again"
    if is_onnx(path):
        return "it is an ONNX file, which is a network and its weights in one: give it as --model, or as the name"
    return "it may be cut, or another kind of file; fetch it again"


OTHERS = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself: git lfs pull fetches it"),
    (b"<!doctype", "it is a web page, not the file itself: fetch it again"),
    (b"<html", "it is a web page, not the file itself: fetch it again"),
    (b"\x89hdf", "it is an HDF5 file (Keras, MATLAB): convert it to safetensors first"),
    (b"\x1f\x8b", "it is a gzip archive: unpack it first"),
    (b"rar!", "it is a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "it is a 7z archive: unpack it first"),
    (b"\x93numpy", "it is a NumPy array"),
    (b"gguf", "it is a language model (GGUF)"),
    (b"\x08\x01\x12", "it is a TensorFlow model (SavedModel, a network and its weights in one)"),
    (b"matlab 5.0", "it is a MATLAB file"),
    (b"\x89png", "it is a picture"),
    (b"\xff\xd8\xff", "it is a picture"),
    (b"%pdf", "it is a PDF document"),
)


# --- safetensors ----------------------------------------------------------------------------------------------------


def _is_safetensors(path: Path, head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and head[7] == 0  # length of the JSON header, then the header


def _read_safetensors(path: Path) -> Contents:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- no mapping
            return Contents(tensors, file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors, it may be cut: {error}; fetch it again") from error


# --- PyTorch --------------------------------------------------------------------------------------------------------


def _is_torch(path: Path, head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", b"\x80"))  # a zip archive, or a bare pickle of protocol 2 and later


def _read_torch(path: Path) -> Contents:
    try:
        with path.open("rb") as file, warnings.catch_warnings(), torch.serialization.safe_globals(HARMLESS):
            warnings.simplefilter("ignore")  # about pickle protocols, of files that are refused below anyway
            # The open file: of a path, newer PyTorch looks at the suffix.
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file may raise anything: struct.error, IndexError, AssertionError, ...
        if any(sign in str(error) for sign in CODE_SIGNS):
            reason = "it carries code or objects other than tensors, which are never run; ask for a plain state dict"
            raise ValueError(f"{path} is refused: {reason}") from error
        raise ValueError(f"{path} cannot be read as a PyTorch checkpoint: {what_archive(path)}") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path} holds a {type(checkpoint).__name__}: expected a dictionary of tensors")
    return Contents(checkpoint)


def what_archive(path: Path) -> str:
    """What a file that begins as PyTorch's do and is no checkpoint seems to be, and what to do."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        names = []
    if any("/code/" in name for name in names):
        return "it is a TorchScript program, which is never run; ask for a plain state dict"
    if any(name.endswith(".npy") for name in names):
        return "it is an archive of NumPy arrays"
    if names and not any(name.endswith("data.pkl") for name in names):
        return f"it is a ZIP archive (of {names[0]}, ...): unpack it first"
    return what_pickle(path) or "it may be cut, or another kind of file; fetch it again"


def what_pickle(path: Path) -> str:
    """What a whole pickle that PyTorch did not write is, and what to do; empty for any other file. Nothing is run."""
    try:
        with path.open("rb") as file:
            steps = [(step.name, argument) for step, argument, _ in pickletools.genops(file)]
    except Exception:  # no pickle, or a cut one, may raise anything
        return ""
    # Of few steps: any bytes may be a pickle of a number.
    if len(steps) < 4 or any(argument == torch.serialization.MAGIC_NUMBER for _, argument in steps):
        return ""
    return "it is a Python pickle, which may carry code and is never run; ask for a plain state dict of PyTorch"


def _harmless() -> list[Any]:
    """What training programs store beside tensors, and what cannot do anything: NumPy's numbers and arrays (a score,
    a random state), parsed arguments, paths, counters."""
    scalar, _ = np.float64(1).__reduce__()
    rebuild, *_ = np.zeros(1).__reduce__()
    globals_: list[Any] = [np.dtype, np.ndarray, argparse.Namespace, collections.defaultdict]
    for package in ("numpy.core", "numpy._core"):  # NumPy 1 and 2 wrote other names
        globals_ += [(scalar, f"{package}.multiarray.scalar"), (rebuild, f"{package}.multiarray._reconstruct")]
    globals_ += [type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"]
    for module in ("pathlib", "pathlib._local"):  # as Python 3.13 writes it
        globals_ += [(pathlib.PurePosixPath, f"{module}.PosixPath"), (pathlib.PureWindowsPath, f"{module}.WindowsPath")]
    return globals_


HARMLESS = _harmless()


# --- two PyTorch files of one network: Encoder.x and Decoder.x -------------------------------------------------------

PARTS = ("Encoder", "Decoder")


def pair(path: Path) -> dict[str, Path]:
    """Part -> file, where `path` is one of the two or their folder, and both are there."""
    if path.is_dir():
        path = min(path.glob("Encoder*"), default=path)
    own = next((part for part in PARTS if path.name.startswith(part)), None)
    if own is None:
        return {}
    files = {part: path.with_name(path.name.replace(own, part, 1)) for part in PARTS}
    return files if all(_is_torch(file, start(file)) for file in files.values()) else {}


def _is_pair(path: Path, head: bytes) -> bool:
    return bool(pair(path))


def _read_pair(path: Path) -> Contents:
    return Contents({part: _read_torch(file).tensors for part, file in pair(path).items()})


# --- TensorFlow 1 ---------------------------------------------------------------------------------------------------


def _is_tensorflow(path: Path, head: bytes) -> bool:
    return tensorflow_checkpoint.data_file(path) is not None


def _read_tensorflow(path: Path) -> Contents:
    return Contents(tensorflow_checkpoint.read(path))


READERS = [
    Reader("safetensors", _is_safetensors, _read_safetensors),
    Reader("PyTorch, two files", _is_pair, _read_pair),
    Reader("PyTorch", _is_torch, _read_torch),
    Reader("TensorFlow 1", _is_tensorflow, _read_tensorflow),
]
