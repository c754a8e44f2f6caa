"""Pictures of browsers and cameras: JPEG by libjpeg-turbo (simplejpeg), PNG and BMP by OpenCV.

simplejpeg gives the very pixels that OpenCV gives, and does what OpenCV cannot: say that the file was damaged.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from imagecodecs import deflate_crc32 as crc32  # ten times as fast as zlib's

from fusion.reading import flir, headers
from fusion.reading.samples import Samples, of_type, oriented, truncated, without_alpha

OPENCV_LOG = getattr(cv2.utils, "logging", cv2)  # where OpenCV 5 and 4 keep getLogLevel and setLogLevel
GRAY_WITH_ALPHA = 4  # PNG's colour type
END_OF_IMAGE = b"\xff\xd9"
JPEG_LS, HEADERS = b"\xff\xf7", 4096  # its frame header, and the bytes among which that is sought
PROFILE = b"ICC_PROFILE\0"
HARMLESS = ("Unknown Adobe color transform", "JFIF major revision", "not a JFIF", "Invalid SOS parameters")
"""Complaints of libjpeg about a picture that is whole all the same."""
STRAY = 64  # bytes that some cameras leave before a marker; more are pixels that a damage has put out of step


def opencv(data: bytes, path: str | Path) -> np.ndarray:
    """OpenCV's decoder without its chatter on stderr; (H, W), or (H, W, 3 or 4) with RGB in this order."""
    level = OPENCV_LOG.getLogLevel()
    OPENCV_LOG.setLogLevel(0)  # silent
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    finally:
        OPENCV_LOG.setLogLevel(level)
    if image is None:
        raise ValueError(f"{path} cannot be decoded: it is damaged or not whole; fetch it again")
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


# --- JPEG -----------------------------------------------------------------------------------------------------------


def jpeg(data: bytes, path: str | Path) -> Samples:
    """8-bit gray, YCbCr, RGB and CMYK; EXIF's orientation; the raw counts of FLIR's radiometric files."""
    head = headers.jpeg(data)
    if head is None:
        if JPEG_LS in data[:HEADERS]:
            raise ValueError(f"{path} cannot be decoded: it is a JPEG-LS file; save it as PNG or TIFF")
        raise truncated(path, data)
    notes = []
    if head.flir:
        raw = flir.counts(head.flir)
        if raw is not None:
            notes.append(("radiometric", "is radiometric: its raw thermal counts are read, not its preview"))
            return of_type(oriented(raw, head.orientation), notes)
        notes.append(("radiometric", "is radiometric, but only its preview could be read, whose levels are no heat"))
    elif head.maker:
        text = f"is a radiometric file of {head.maker}: only its preview is read; export its counts as TIFF for more"
        notes.append(("radiometric", text))
    if head.bits != 8 or head.marker in (0xC3, 0xC7, 0xCB, 0xCF):
        kind = f"{head.bits}-bit" if head.bits != 8 else "lossless"
        raise ValueError(f"{path} cannot be decoded: it is a {kind} JPEG, expected 8 bits; save it as PNG or TIFF")
    if head.marker < 0xC8 and 8 * len(data) < (head.h // 8) * (head.w // 8):
        raise truncated(path, data)  # a bit for each block, at least: gigabytes need not be made to find it out
    image = _jpeg_pixels(data, head, path, notes)
    return of_type(oriented(image, head.orientation) if head.orientation != 1 else image, notes)


def _jpeg_pixels(data: bytes, head: headers.Jpeg, path: str | Path, notes: list) -> np.ndarray:
    colours = "GRAY" if head.channels == 1 else "CMYK" if head.channels == 4 else "RGB"
    try:
        image = simplejpeg.decode_jpeg(data, colours)
    except ValueError as error:
        if "bad ICC marker" in str(error) and PROFILE in data:
            notes.append(("jpeg", "is a slightly damaged JPEG (bad ICC marker): read anyway"))
            return _jpeg_pixels(data.replace(PROFILE, PROFILE.lower()), head, path, notes)
        image = _in_spite(str(error), data, colours, head, path, notes)
    if colours == "CMYK":
        return opencv(data, path)  # which knows Adobe's inverted inks
    return image[..., 0] if colours == "GRAY" else image


def _in_spite(reason: str, data: bytes, colours: str, head: headers.Jpeg, path: str | Path, notes: list) -> np.ndarray:
    """A JPEG that libjpeg complains of: read with a note where every block is there, refused where not."""
    stray = re.search(r"(\d+) extraneous bytes", reason)
    if (stray and int(stray[1]) <= STRAY) or any(harmless in reason for harmless in HARMLESS):
        notes.append(
            ("jpeg", f"is a slightly damaged JPEG ({reason.removeprefix('Corrupt JPEG data: ')}): read anyway")
        )
        return simplejpeg.decode_jpeg(data, colours, strict=False)
    if "Premature end" not in reason:
        if "Corrupt" in reason:
            reason = reason.removeprefix("Corrupt JPEG data: ")
            raise ValueError(f"{path} is damaged: part of its picture is lost ({reason}); fetch it again")
        raise ValueError(f"{path} cannot be decoded: {' '.join(reason.split())}; fetch it again")
    try:
        # Blocks that are missing before an end mark are an error; a missing mark behind the last block is all there is.
        image = simplejpeg.decode_jpeg(data + END_OF_IMAGE, colours)
    except ValueError:
        raise truncated(path, data) from None
    if head.marker in (0xC2, 0xC6, 0xCA, 0xCE) and not _every_scan(data):
        raise truncated(path, data)
    notes.append(("jpeg", "lacks its end mark: its last bytes are missing, its picture seems whole"))
    return image


def _every_scan(data: bytes) -> bool:
    """Whether the scans of a progressive JPEG bring all 64 coefficients of every channel to their last bit."""
    missing: dict[int, set[int]] = {}
    at = data.find(b"\xff\xda")
    while at >= 0:
        n = data[at + 4] if at + 4 < len(data) else 0
        end = at + 5 + 2 * n
        if 1 <= n <= 4 and end + 3 <= len(data):
            first, last, low = data[end], data[end + 1], data[end + 2] & 15
            for channel in data[at + 5 : end : 2]:
                left = missing.setdefault(channel, set(range(64)))
                if low == 0:
                    left.difference_update(range(first, last + 1))
        at = data.find(b"\xff\xda", at + 2)
    return bool(missing) and not any(missing.values())


# --- PNG, BMP, WebP -------------------------------------------------------------------------------------------------


def png(data: bytes, path: str | Path) -> Samples:
    """1 to 16 bits, gray, RGB, palette, transparency; eXIf's orientation; the first frame of an animation."""
    file, view, orientation, notes, kind = BytesIO(data), memoryview(data), 1, [], b""
    for kind, length in headers.png_chunks(file):
        start = file.tell()
        end = start + length
        # libpng finds damage out, too, but tells stderr. Its lower-case chunks may be damaged: it does without them.
        if kind.isupper() and crc32(view[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"{path} is damaged: part of its picture is lost; fetch it again")
        if kind == b"eXIf":
            orientation = headers.exif_orientation(file.read(length))
        elif kind == b"acTL":
            notes.append(("frames", "is animated: its first frame is read"))
    if kind != b"IEND":
        raise truncated(path, data)
    image = opencv(data, path)
    if data[25] == GRAY_WITH_ALPHA and image.ndim == 3:  # OpenCV makes colours of it
        image = image[..., [0, 3]]
    return finished(image, orientation, notes)


def bmp(data: bytes, path: str | Path) -> Samples:
    return finished(opencv(data, path), 1, [])


def finished(image: np.ndarray, orientation: int, notes: list) -> Samples:
    if image.ndim == 3 and image.shape[2] in (2, 4):
        image = without_alpha(image, notes)
    return of_type(oriented(image, orientation) if orientation != 1 else image, notes)
