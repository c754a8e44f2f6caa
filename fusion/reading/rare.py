"""Pictures of other programs: Netpbm, JPEG 2000, AVIF, TGA, bitmaps without a file header, NumPy arrays."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fusion.reading.plain import opencv
from fusion.reading.samples import Samples, of_bits, of_type, without_alpha


def netpbm(data: bytes, path: str | Path) -> Samples:
    """PBM, PGM, PPM, plain and binary; samples count from 0 to the file's own maximum, up to 65535."""
    image = opencv(data, path)
    if data[1:2] in b"14":
        return of_type(image)
    fields = re.sub(rb"#[^\n]*", b"", data[:4096]).split(maxsplit=4)
    top = int(fields[3]) if len(fields) > 3 and fields[3].isdigit() else 0
    if not 0 < top < 65536:
        raise ValueError(f"{path} cannot be decoded: its greatest value is {top}, expected 1 to 65535")
    kind = np.uint8 if top < 256 else np.uint16
    full = np.iinfo(kind).max
    return of_type(((image.astype(np.uint32) * full + top // 2) // top).clip(0, full).astype(kind))


def jpeg2000(data: bytes, path: str | Path) -> Samples:
    """1 to 16 bits, gray, RGB, transparency. The format has no orientation."""
    try:
        image = imagecodecs.jpeg2k_decode(data)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be decoded: {reason}; fetch it again") from None
    siz = data.find(b"\xff\x4f\xff\x51")  # the codestream begins so; bits of the first channel stand 40 bytes on
    depth = data[siz + 42] if siz >= 0 else 8 * image.itemsize - 1
    if depth & 0x80 or image.dtype.kind != "u":
        return of_type(image)
    notes = []
    image = of_bits(image, (depth & 0x7F) + 1)
    if image.ndim == 3 and image.shape[2] in (2, 4):
        image = without_alpha(image, notes)
    return of_type(image, notes)


def by_pillow(data: bytes, path: str | Path) -> Samples:
    """AVIF (its rotation and mirroring; 10 and 12 bits come as 8), TGA, DIB: 8 bits."""
    notes = []
    try:
        with Image.open(BytesIO(data), formats=("AVIF", "TGA", "DIB")) as image:
            if getattr(image, "n_frames", 1) > 1:
                notes.append(("frames", f"holds {image.n_frames} frames: the first is read"))
            if image.format == "AVIF" and _avif_bits(data) > 8:
                notes.append(("bits", f"holds {_avif_bits(data)} bits, of which 8 are read"))
            values = np.asarray(upright(image))
    except UnidentifiedImageError:  # whose text names an object in memory
        raise ValueError(f"{path} cannot be decoded: it is damaged or not whole; fetch it again") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be decoded: {reason}; fetch it again") from None
    return of_type(without_alpha(values, notes) if values.ndim == 3 and values.shape[2] in (2, 4) else values, notes)


def _avif_bits(data: bytes) -> int:
    """From the AV1 configuration box: two flags of its third byte."""
    at = data.find(b"av1C")
    flags = data[at + 6] if at >= 0 and at + 6 < len(data) else 0
    return 12 if flags & 0x20 and flags & 0x40 else 10 if flags & 0x40 else 8


def upright(image: Image.Image) -> Image.Image:
    """A Pillow image turned by its EXIF block, in a mode whose numbers are what they seem: gray, RGB, with alpha.

    Raises ValueError for a mode that cannot be brought to one.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "LA", "RGB", "RGBA", "F", "I") or image.mode.startswith("I;16"):
        return image
    clear = "transparency" in image.info
    mode = {"1": "L", "P": "RGBA" if clear else "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGB")
    return image.convert(mode)


def array(data: bytes, path: str | Path) -> Samples:
    """(H, W), (H, W, 1), (H, W, 3) or (3, H, W) of a real type, as numpy.save writes it; no pickles."""
    try:
        values = np.load(BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be decoded: {reason}") from None
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    is_picture = values.size and (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3))
    if values.dtype.kind not in "biuf" or not is_picture:
        raise ValueError(
            f"{path} holds an array {values.shape} of {values.dtype}: expected (H, W) or (H, W, 3), integer or float"
        )
    return of_type(values)
