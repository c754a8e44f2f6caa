"""TIFF by tifffile, with the codecs of imagecodecs: what OpenCV's reader garbles or inverts without a word.

tifffile hands over the samples as they are stored; what they mean is done here: the order of planes, inverted gray,
palettes, inks, odd numbers of bits, orientation. Fax codecs and old JPEG, which it lacks, are Pillow's.
"""

from __future__ import annotations

import logging
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from tifffile import PHOTOMETRIC

from fusion.reading import webp
from fusion.reading.samples import ORIENTATION, Samples, of_bits, of_type, oriented, truncated, without_alpha

GRAY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
COLOURS = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
SUB_PAGES = 330  # of camera raw files (DNG, NEF), whose first page is a thumbnail
DECISIVE = {256, 257, 258, 259, 262, 266, 274, 277, 284, 317, 320, 338, 339}
"""Tags that decide what the samples are, Orientation among them."""
WEBP = 50001
NO_DATA = 42113  # GDAL's tag: the value of pixels that no camera saw, in mosaics of maps
PILLOWS = {2, 3, 4, 6}  # CCITT RLE, G3, G4; JPEG as TIFF 6.0 had it


def decode(data: bytes, path: str | Path) -> Samples:
    """Any strips, tiles, planes and byte order; 1 to 64 bits, integer or float; gray, RGB, palette, CMYK, YCbCr."""
    notes = []
    _quieten()
    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            page = _page(file, notes)
            _refuse_lost_pieces(file.tiff, page, data, path)
            if page.compression in PILLOWS:
                return _by_pillow(data, path, notes)
            _refuse_unknown(page, path)
            if page.compression == WEBP:
                for at, length in zip(page.dataoffsets, page.databytecounts, strict=True):
                    webp.refuse_damaged(data[at : at + length], path)
            values = _with_data_alone(page, _pixels(page, path), notes)
            image = _meaning(page, values, path, notes)
            return of_type(oriented(image, _tag(page, ORIENTATION, 1)), notes)
    except (IndexError, KeyError, struct.error):  # no first page where the header says it is
        raise truncated(path, data) from None
    except (tifffile.TiffFileError, OSError) as error:
        raise ValueError(f"{path} cannot be decoded: {_short(error)}; fetch it again") from None


def _quieten() -> None:
    """What tifffile finds wrong reaches people as our one line, not as log lines on stderr."""
    log = logging.getLogger("tifffile")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def size(path: str | Path) -> tuple[int, int]:
    """(height, width) as shown, from the header. Raises ValueError."""
    _quieten()
    try:
        with tifffile.TiffFile(path) as file:
            page = _page(file, [])
            h, w = page.imagelength, page.imagewidth
            return (w, h) if _tag(page, ORIENTATION, 1) in (5, 6, 7, 8) else (h, w)
    except (tifffile.TiffFileError, IndexError, KeyError) as error:
        raise ValueError(f"{path} cannot be decoded: {_short(error)}; fetch it again") from None


def _page(file: tifffile.TiffFile, notes: list) -> tifffile.TiffPage:
    """The first page that is a picture of its own, not a thumbnail or a mask of another."""
    pages = [page for page in (file.pages.get(i) for i in range(len(file.pages))) if not (_tag(page, 254, 0) & 5)]
    if len(pages) > 1:
        notes.append(("pages", f"holds {len(pages)} pages: the first is read; save the page you mean as a file"))
    if not pages and _has(file.pages.first, SUB_PAGES):
        raise tifffile.TiffFileError("it holds a thumbnail and a camera's raw data: develop it first")
    return (pages[0] if pages else file.pages.first).aspage()


def _has(page, code: int) -> bool:
    return page.aspage().tags.valueof(code) is not None


def _tag(page, code: int, default: int) -> int:
    value = page.aspage().tags.valueof(code, default)
    return value if isinstance(value, int) else default


def _refuse_lost_pieces(form, page: tifffile.TiffPage, data: bytes, path: str | Path) -> None:
    """Pieces and tags behind the end of the file; tifffile makes the ones black and does without the others."""
    (number,) = struct.unpack_from(form.tagnoformat, data, page.offset)
    at = page.offset + form.tagnosize
    stated = {struct.unpack_from(form.byteorder + "H", data, at + i * form.tagsize)[0] for i in range(number)}
    lost = (stated & DECISIVE) - {tag.code for tag in page.tags}
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if lost or not pieces or any(n == 0 or at + n > len(data) for at, n in pieces):
        raise truncated(path, data)


def _refuse_unknown(page: tifffile.TiffPage, path: str | Path) -> None:
    meaning = page.photometric
    if meaning not in (*GRAY, *COLOURS, PHOTOMETRIC.PALETTE, PHOTOMETRIC.SEPARATED, PHOTOMETRIC.MASK):
        name = getattr(meaning, "name", meaning)
        raise ValueError(f"{path} holds {name} colours: expected gray, RGB, palette, CMYK or YCbCr; convert it first")
    if page.dtype is None or page.dtype.kind not in "biuf":
        bits = page.bitspersample
        kind = page.dtype.name if page.dtype is not None else f"{bits}-bit"
        raise ValueError(f"{path} holds {kind} samples: expected integers or floats; convert it first")
    if page.imagedepth > 1:
        raise ValueError(f"{path} holds a volume of {page.imagedepth} slices: expected one picture; save one slice")


def _pixels(page: tifffile.TiffPage, path: str | Path) -> np.ndarray:
    """The samples as stored, (H, W) or (H, W, channels)."""
    codec = getattr(page.compression, "name", page.compression)
    try:
        values = page.asarray()
    except MemoryError:
        raise
    except NotImplementedError as error:
        raise ValueError(f"{path} cannot be read ({codec}): {_short(error)}; save it uncompressed") from None
    except Exception as error:  # every codec has errors of its own
        if "not supported" in str(error) or "requires" in str(error) or "not implemented" in str(error):
            raise ValueError(f"{path} is compressed by {codec}, which cannot be read here; save it anew") from None
        raise ValueError(
            f"{path} is damaged: {codec} data cannot be decoded ({_short(error)}); fetch it again"
        ) from None
    values = values.reshape(page.shape)
    return np.moveaxis(values, 0, -1) if page.axes.startswith("S") else values


def _with_data_alone(page: tifffile.TiffPage, values: np.ndarray, notes: list) -> np.ndarray:
    """Pixels that the file says are none become its lowest: -10000 would leave a thermal map no range."""
    try:
        nothing = float(page.tags.valueof(NO_DATA))
    except (TypeError, ValueError):
        return values
    empty = np.isnan(values) if np.isnan(nothing) else values == nothing
    if values.dtype == np.uint8 or not empty.any() or empty.all():
        return values
    text = f"has no data in {empty.mean():.1%} of its pixels (marked {nothing:g}): read as its lowest"
    notes.append(("no data", text))
    return np.where(empty, values[~empty].min(), values)


def _meaning(page: tifffile.TiffPage, values: np.ndarray, path: str | Path, notes: list) -> np.ndarray:
    """Stored samples -> (H, W) or (H, W, 3), black low and white high."""
    base = 3 if page.photometric in COLOURS else 4 if page.photometric == PHOTOMETRIC.SEPARATED else 1
    channels = values.shape[2] if values.ndim == 3 else 1
    if base == 1 and channels in (3, 4):
        base = 3  # gray by name, three bands by content
    if channels > base + 1 or channels < base:
        raise ValueError(
            f"{path} has {channels} channels: expected 1 or 3, with or without transparency; split it first"
        )
    if page.photometric == PHOTOMETRIC.PALETTE:
        return _palette(page.colormap[:, values if values.ndim == 2 else values[..., 0]])
    bits = page.bitspersample
    if values.dtype.kind == "u" and bits <= 16:
        values = of_bits(values, bits)
    if channels == base + 1:
        values = _opaque(values, base, notes)
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return _inks(values)
    if page.photometric != PHOTOMETRIC.MINISWHITE:
        return values
    if values.dtype.kind == "f":
        raise ValueError(f"{path} holds floats with white low (PhotometricInterpretation 0): save it with black low")
    return ~values  # of unsigned, signed and bool alike: the highest becomes the lowest


def _opaque(values: np.ndarray, base: int, notes: list) -> np.ndarray:
    return values[..., :4] if base == 4 else without_alpha(values, notes)


def _palette(colours: np.ndarray) -> np.ndarray:
    """(3, H, W) of 16 bits -> (H, W, 3) of 8, which palettes are made of."""
    return (np.moveaxis(colours, 0, -1) >> 8).astype(np.uint8)


def _inks(values: np.ndarray) -> np.ndarray:
    """C, M, Y, K -> R, G, B without a colour profile, as viewers do: (1 - ink) (1 - black)."""
    top = np.iinfo(values.dtype).max
    left = top - values.astype(np.float64)
    return np.rint(left[..., :3] * left[..., 3:] / top).astype(values.dtype)


def _by_pillow(data: bytes, path: str | Path, notes: list) -> Samples:
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()  # turns the picture upright
            return of_type(np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB")), notes)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be decoded: {_short(error)}; fetch it again") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
