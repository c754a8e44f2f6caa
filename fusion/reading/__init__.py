"""Reading anybody's picture file: one function, which everything goes through.

`kinds` tells the format by its first bytes; `plain`, `tiff`, `rare`, `medical` and `flir` decode it to samples as
stored, upright; `ranges` decides what their numbers mean. What is honoured of each format: docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fusion.reading import headers, ranges, tiff
from fusion.reading.kinds import HEAD, SUFFIXES, WRITTEN, holds_picture, is_picture, kind_of, stranger, told
from fusion.reading.plain import OPENCV_LOG
from fusion.reading.ranges import How, Range, of_pair, parse
from fusion.reading.rare import upright
from fusion.reading.samples import Note, Samples, of_type, once, truncated

__all__ = [
    "OPENCV_LOG",
    "SUFFIXES",
    "WRITTEN",
    "How",
    "Note",
    "Range",
    "Samples",
    "file_size",
    "holds_picture",
    "is_picture",
    "of_pair",
    "of_type",
    "once",
    "parse",
    "read",
    "samples",
    "set_range",
    "stranger",
    "told",
    "upright",
]


def samples(path: str | Path) -> Samples:
    """What a file holds, upright, as stored. Raises OSError where it cannot be opened, ValueError where it is no whole
    picture of a kind that is read here, or one that the memory has no room for.
    """
    data = Path(path).read_bytes()
    try:
        return kind_of(data[:HEAD], path).decode(data, path)
    except MemoryError as error:  # a picture of gigabytes, or a header that is damaged or lies
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is larger than the memory, or its header is damaged ({reason}); reduce it") from None


def read(path: str | Path, range: How | None = None) -> np.ndarray:
    """The picture in a file, upright: (H, W) or (H, W, 3) RGB, uint8 or uint16. Transparency is dropped.

    range: what becomes black and white (`ranges`): `auto`, `full`, `percentile`, (LOW, HIGH) or `LOW..HIGH`. Default:
    as stored where the samples have a range of their own, otherwise as `auto`.
    Warns (`Note`) of what a person should know. Raises OSError where the file cannot be opened, ValueError where it is
    no whole picture of a kind that is read here.
    """
    found = samples(path)
    found.warn(path)
    how = ("full" if found.span else "auto") if range is None else parse(range)
    return ranges.applied(found, how, path)


def set_range(paths: Sequence[Path], how: How = "auto", what: str | Path | None = None) -> How:
    """The one range that `read` is to give all pictures of a set; notes what it found. `what` names the set."""
    what = what or (paths[0].parent if len(paths) > 1 else paths[0] if paths else "")
    return ranges.of_set(paths, parse(how), samples, _is_shallow, what)


def _is_shallow(path: Path) -> bool:
    """Whether the header alone says that samples have 8 bits."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            if head.startswith(headers.PNG):
                return head[24:25] != b"\x10"
            if head.startswith(b"\xff\xd8"):
                found = headers.jpeg(file)
                return found is not None and not found.flir
    except OSError:
        return True  # whoever reads it will say so
    return head.startswith((b"BM", b"RIFF"))


def file_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a picture as shown, from its header where that is PNG, JPEG, BMP, WebP or TIFF.

    Raises OSError where the file cannot be opened, ValueError where it is no picture, or a PNG that was cut.
    """
    with Path(path).open("rb") as file:
        head = file.read(HEAD)
        if head.startswith(headers.PNG) and head[12:16] == b"IHDR":
            h, w = int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
            orientation = headers.png_orientation(file)
            if orientation is None:
                raise truncated(path, file.seek(0, 2))
            return (w, h) if orientation >= 5 else (h, w)
        if head.startswith(b"BM") and len(head) >= 26:
            w, h = (int.from_bytes(head[i : i + 4], "little", signed=True) for i in (18, 22))
            return abs(h), w  # a negative height: rows from the top
        if head.startswith(b"\xff\xd8") and (found := headers.jpeg(file)) and not found.flir:
            return (found.w, found.h) if found.orientation >= 5 else (found.h, found.w)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return headers.webp_size(path)
    if kind_of(head, path).name == "TIFF":
        return tiff.size(path)
    h, w = samples(path).values.shape[:2]
    return h, w
