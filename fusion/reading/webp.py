"""WebP by OpenCV (libwebp), and whether a lossy one, which has no checksum, was damaged."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from fusion.reading import headers
from fusion.reading.plain import finished, opencv
from fusion.reading.samples import Samples, truncated

SPARE = 8
"""Bytes that a whole picture cannot do without: encoders flush their last one to four and add no others."""


def decode(data: bytes, path: str | Path) -> Samples:
    """Lossy and lossless, transparency; EXIF's orientation; the first frame of an animation."""
    file, orientation, notes = BytesIO(data), 1, []
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise truncated(path, data)
    for kind, length in headers.webp_chunks(file):
        if kind == b"EXIF":
            orientation = headers.exif_orientation(file.read(length))
        elif kind == b"ANIM":
            notes.append(("frames", "is animated: its first frame is read"))
    refuse_damaged(data, path)
    return finished(opencv(data, path), orientation, notes)


def refuse_damaged(data: bytes, path: str | Path) -> None:
    """Raise ValueError where a lossy picture can be decoded without its last bytes.

    Its numbers are one arithmetic code (RFC 6386, 7), whose end the decoder reaches with the last block. After a damage
    it reads other blocks, and needs more bytes or fewer; that it needs more libwebp says itself.
    """
    file = BytesIO(data)
    for kind, length in headers.webp_chunks(file):
        if kind == b"VP8 " and length > 4 * SPARE:
            stream = file.read(length)[:-SPARE]
            stream += bytes(len(stream) % 2)
            chunk = b"WEBPVP8 " + len(stream).to_bytes(4, "little") + stream
            try:
                opencv(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk, path)
            except ValueError:
                return
            raise ValueError(f"{path} is damaged: part of its picture is lost; fetch it again")
