"""Pictures made for the tests of reading, and files made of them."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from fusion import images


def scene(h: int = 24, w: int = 36) -> np.ndarray:
    """(h, w, 3) uint8 without symmetry, smooth, from 0 to 255."""
    y, x = np.mgrid[:h, :w]
    red, green = 255 * x / (w - 1), 255 * y / (h - 1)
    return np.stack([red, green, (red + green * 0.7) % 256], axis=-1).round().astype(np.uint8)


def heat(h: int = 24, w: int = 36) -> np.ndarray:
    """(h, w) uint8 from 0 to 255."""
    y, x = np.mgrid[:h, :w]
    return (255 * (x + 2 * y) / (w + 2 * h - 3)).round().astype(np.uint8)


def by_pillow(image: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[274] = orientation
    return block.tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read(path, data: bytes, range=None) -> tuple[np.ndarray, list[str]]:
    """What a file of these bytes is read as, and the notes."""
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = images.read(path, range)
    return image, [str(w.message) for w in caught]
