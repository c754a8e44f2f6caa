"""What a file holds before anybody decides what its numbers mean: samples, the span they count in, and notes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ORIENTATION = 274  # the tag of TIFF and EXIF


class Note(UserWarning):
    """Something about a picture that a person should know. `kind` is one word; programs show one note per kind.

    Without a kind it is always shown: numba, while it compiles in a thread, gathers everybody's warnings and gives them
    again by class and text alone.
    """

    def __init__(self, text: str, kind: str | None = None):
        super().__init__(text)
        self.kind = kind


def once(show: Callable[[str], object]) -> Callable:
    """A `warnings.showwarning` that hands texts to `show`: of notes the first of each kind, of other warnings all."""
    seen = set()

    def showwarning(message, *_) -> None:
        kind = getattr(message, "kind", None)
        if kind is None or kind not in seen:
            seen.add(kind)
            show(" ".join(str(message).split()))

    return showwarning


@dataclass
class Samples:
    """values: (H, W) or (H, W, 3) RGB, upright, of any real type. span: the samples that mean black and white, as the
    file or its type says; None where neither does (degrees, signed counts). notes: (kind, text without the path).
    """

    values: np.ndarray
    span: tuple[float, float] | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)

    def warn(self, path: str | Path) -> None:
        for kind, text in self.notes:
            warnings.warn(Note(f"{path} {text}", kind), stacklevel=3)


def of_type(values: np.ndarray, notes: list | None = None) -> Samples:
    """Samples whose type alone says what they mean: uint8 and uint16 do, all others do not (see `ranges`)."""
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    known = values.dtype in (np.uint8, np.uint16)
    return Samples(values, (0, np.iinfo(values.dtype).max) if known else None, notes or [])


def of_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned counts 0..2^bits - 1 -> uint8 (up to 8 bits) or uint16, black to black and white to white."""
    kind = np.uint8 if bits <= 8 else np.uint16
    top, full = 2**bits - 1, np.iinfo(kind).max
    if top == full:
        return values.astype(kind, copy=False)
    return ((values.astype(np.uint32) * full + top // 2) // top).astype(kind)


def oriented(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W[, 3]) as stored -> as shown, for the eight values of TIFF's and EXIF's Orientation; others change nothing.

    1 upright, 2 mirrored, 3 turned by 180 degrees, 4 upside-down mirrored, 5 transposed, 6 to be turned clockwise,
    7 transposed over the other diagonal, 8 to be turned counterclockwise (EXIF 2.32, 4.6.4).
    """
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def without_alpha(values: np.ndarray, notes: list) -> np.ndarray:
    """(H, W, 2 or 4) -> without its last channel; a note where that channel was more than plain opacity."""
    colour, alpha = values[..., :-1], values[..., -1]
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    if alpha.min() < top:
        clear = alpha == 0
        if np.mean((alpha > 0) & (alpha < top)) > 0.5:
            text = (
                "has a fourth channel that varies like a picture (thermal of RGBT?), which is left out: split it first"
            )
            notes.append(("fourth channel", text))
        elif clear.any() and colour[clear].any():
            notes.append(("transparency", "has colours under its transparent pixels, which are read as if opaque"))
    return colour[..., 0] if colour.shape[2] == 1 else colour


def truncated(path: str | Path, data: bytes | int) -> ValueError:
    """data: the file's, or how many bytes it has."""
    size = data if isinstance(data, int) else len(data)
    return ValueError(f"{path} is truncated: it ends before its picture does ({size} bytes); fetch it again")
