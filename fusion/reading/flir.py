"""Raw thermal counts in FLIR's radiometric JPEGs, which otherwise show a coloured preview.

The container (`FFF`) lies in APP1 segments named `FLIR`, cut into pieces that are numbered. Its facts are those that
ExifTool documents (FLIR tags): a directory of 32-byte entries; record 1 holds the counts, as a PNG or plainly. The
packages for it do not serve here: flyr has no wheel, flirpy brings ExifTool, a second OpenCV and a bound on numpy.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import cv2
import numpy as np

RAW_DATA = 1
PNG = b"\x89PNG\r\n\x1a\n"
SEGMENT_HEAD = 8  # "FLIR\0", 1, number of the piece, number of the last piece


def counts(segments: Sequence[bytes]) -> np.ndarray | None:
    """The raw counts, (H, W) uint16, of a JPEG's FLIR segments; None where there are none that can be read."""
    pieces = sorted((s for s in segments if len(s) > SEGMENT_HEAD), key=lambda s: s[6])
    fff = b"".join(piece[SEGMENT_HEAD:] for piece in pieces)
    try:
        if record := _record(fff, RAW_DATA):
            return _raw(record)
        at = fff.find(PNG)  # written by a program that keeps no directory
        return _png(fff[at:]) if at >= 0 else None
    except (struct.error, ValueError, cv2.error):
        return None


def _record(fff: bytes, kind: int) -> bytes | None:
    if not fff.startswith((b"FFF\0", b"AFF\0")):
        return None
    # Either byte order occurs; the version, about 100, tells which.
    order = ">" if 100 <= struct.unpack_from(">I", fff, 20)[0] < 200 else "<"
    directory, number = struct.unpack_from(f"{order}II", fff, 24)
    for i in range(number):
        found, at, length = struct.unpack_from(f"{order}H10xII", fff, directory + 32 * i)
        if found == kind:
            return fff[at : at + length]
    return None


def _raw(record: bytes) -> np.ndarray | None:
    order = "<" if struct.unpack_from("<H", record)[0] < 256 else ">"
    w, h = struct.unpack_from(f"{order}HH", record, 2)
    data = record[32:]
    if data.startswith(PNG):
        return _png(data)
    if len(data) < 2 * h * w:
        return None
    return np.frombuffer(data, f"{order}u2", h * w).reshape(h, w).astype(np.uint16)


def _png(data: bytes) -> np.ndarray | None:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        return None
    # Cameras write the PNG's bytes in the wrong order, other programs in the right one: heat is the smooth one.
    return min(image, image.byteswap(), key=_roughness)


def _roughness(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.astype(np.float32), axis=1)).mean())
