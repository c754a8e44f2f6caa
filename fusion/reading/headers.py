"""What the headers of JPEG, PNG and WebP say without decoding: size, orientation, and where the picture ends."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from fusion.reading.samples import ORIENTATION

PNG = b"\x89PNG\r\n\x1a\n"


def exif_orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, with or without its `Exif` mark; 1 where none can be read."""
    block = exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif
    try:
        parsed = Image.Exif()
        parsed.load(block)
        orientation = parsed.get(ORIENTATION, 1)
    except Exception:  # a broken EXIF block, of which there are many, is no reason to lose the picture
        return 1
    return orientation if orientation in range(1, 9) else 1


class Jpeg(NamedTuple):
    """What stands before the first scan. marker: of the frame header (0xC2 is progressive); flir: FLIR's segments;
    maker: of a thermal camera whose counts are not read here, empty for all others.
    """

    h: int
    w: int
    bits: int
    channels: int
    marker: int
    orientation: int
    flir: tuple[bytes, ...]
    maker: str


def jpeg(data: bytes | BinaryIO) -> Jpeg | None:
    """The headers of a JPEG; None where there is no frame header."""
    file = BytesIO(data) if isinstance(data, bytes) else data
    frame, orientation, flir, maker, of_dji = None, 1, [], "", False
    for marker, length in _segments(file):
        # The frame header is any of SOF0..SOF15 but the tables DHT, JPG and DAC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and frame is None:
            frame = (marker, file.read(min(length, 6)))
        elif marker == 0xE1:
            start = file.read(min(length, 6))
            if start == b"Exif\0\0" and orientation == 1:
                block = start + file.read(length - 6)
                orientation, of_dji = exif_orientation(block), b"DJI\0" in block
            elif start.startswith(b"FLIR\0"):
                flir.append(start + file.read(length - 6))
        elif marker == 0xE2 and file.read(min(length, 10))[4:] == b"IJPEG\0":  # these two as ExifTool knows them
            maker = "InfiRay"
        elif marker == 0xE3 and of_dji:
            maker = "DJI"
    if frame is None or len(frame[1]) < 6:
        return None
    marker, sof = frame
    h, w = int.from_bytes(sof[1:3], "big"), int.from_bytes(sof[3:5], "big")
    return Jpeg(h, w, sof[0], sof[5], marker, orientation, tuple(flir), maker)


def _segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(marker, length of its content) up to the first scan; the file stands at the content."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        length = int.from_bytes(head[2:], "big") - 2
        if head[1] == 0xFF:  # a fill byte
            file.seek(-3, 1)
        elif length < 0:
            return
        else:
            end = file.tell() + length
            yield head[1], length
            file.seek(end)


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(kind, length) of every whole chunk; the file stands at its content. Ends after IEND, or where the file ends."""
    size = file.seek(0, 2)
    at = len(PNG)
    file.seek(at)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        if at + 12 + length > size:
            return
        yield head[4:], length
        if head[4:] == b"IEND":
            return
        at += 12 + length
        file.seek(at)


def webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(kind, length) of the chunks of a WebP; the file stands at the content."""
    at = 12
    file.seek(at)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        yield head[:4], length
        at += 8 + length + length % 2
        file.seek(at)


def webp_size(path: str | Path) -> tuple[int, int]:
    """(height, width) as shown. Raises ValueError where it is no WebP file."""
    try:
        with Image.open(path, formats=["WEBP"]) as file:
            (w, h), turned = file.size, exif_orientation(file.info.get("exif", b"")) >= 5
    except OSError as error:
        raise ValueError(f"{path} cannot be decoded: expected a whole WebP picture") from error
    return (w, h) if turned else (h, w)


def png_orientation(file: BinaryIO) -> int | None:
    """Of its eXIf chunk, which may stand before or after the pixels; None where the file ends before its picture."""
    orientation, kind = 1, b""
    for kind, length in png_chunks(file):
        if kind == b"eXIf":
            orientation = exif_orientation(file.read(length))
    return orientation if kind == b"IEND" else None
