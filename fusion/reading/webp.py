"""WebP by OpenCV (libwebp), and whether a lossy one, which has no checksum, was damaged."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from fusion.reading import headers
from fusion.reading.plain import finished, opencv
from fusion.reading.samples import Samples, truncated

FLUSHED, SHORT = 4, 512
"""Bytes of zeros that may belong to the code; and a length up to which any stream of some zeros might end anywhere."""
SPARE = 8
"""Bytes that a whole picture cannot do without: encoders flush their last one to `FLUSHED` and add no others."""


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
    it reads other blocks, and needs more bytes or fewer; that it needs more libwebp says itself. Zeros that some
    programs fill a file up with are no part of the code: where they stand, it must end before them.
    """
    file = BytesIO(data)
    for kind, length in headers.webp_chunks(file):
        if kind == b"VP8 " and length > 4 * SPARE:
            stream = file.read(length)
            filled = stream.rstrip(b"\0")
            if not _ends(stream) and not (len(filled) > SHORT and _decodes(filled + bytes(FLUSHED)) and _ends(filled)):
                raise ValueError(f"{path} is damaged: part of its picture is lost; fetch it again")
            return


def _ends(stream: bytes) -> bool:
    return not _decodes(stream[:-SPARE])


def _decodes(stream: bytes) -> bool:
    stream += bytes(len(stream) % 2)
    chunk = b"WEBPVP8 " + len(stream).to_bytes(4, "little") + stream
    try:
        opencv(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk, "")
    except ValueError:
        return False
    return True
