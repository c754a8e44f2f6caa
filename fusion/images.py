"""Pictures: reading and writing files, value ranges, luminance and chroma.

Arrays are numpy, (H, W) or (H, W, 3) in RGB order. A file's array keeps its depth (uint8 or uint16); everything
else works on float32 in [0, 1]. The luminance is BT.601's: Y = 0.299 R + 0.587 G + 0.114 B, no gamma removed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from fusion.reading import OPENCV_LOG, SUFFIXES, WRITTEN, How, holds_picture, is_picture, of_pair, read, set_range

__all__ = ["OPENCV_LOG", "SUFFIXES", "WRITTEN", "holds_picture", "is_picture", "read"]

DEEP_SUFFIXES = (".png", ".tif", ".tiff")  # formats that keep 16 bits

# --- files ----------------------------------------------------------------------------------------------------------


def write(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) RGB, uint8 or uint16, in the format of the suffix; the whole file or none of it.

    uint16 goes into PNG and TIFF only. Raises ValueError for a suffix or an array that cannot be written, OSError where
    the disk or the folder refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: cannot write '{path.suffix}' files; use one of {', '.join(WRITTEN)}")
    check_shape(image, str(path))
    # OpenCV would cut other types to 0..255 without a word.
    if image.dtype != np.uint8 and not (image.dtype == np.uint16 and suffix in DEEP_SUFFIXES):
        raise ValueError(
            f"{path}: cannot write {image.dtype} samples as '{suffix}': expected uint8, or uint16 in PNG and TIFF"
        )
    ok, data = cv2.imencode(suffix, image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise ValueError(f"{path}: {image.dtype} {image.shape} cannot be written as '{suffix}'")
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(data)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A path in the same folder to write to; it takes the name `path` when the block ends well, and goes when not.

    The folder is made where it is missing. Raises OSError (`cannot write ...: No space left on device`).
    """
    path = Path(path)
    unfinished = path.with_name(_unfinished(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        # Anything may have stopped the block, Ctrl-C included: no half-written file stays behind.
        with suppress(OSError):
            unfinished.unlink()


def _unfinished(path: Path) -> str:
    """A name for the time of writing; of a long name, whose extra letters no disk would take, a hash."""
    end = f".{os.getpid()}.part{path.suffix}"
    whole = f".{path.stem}{end}"
    return whole if len(os.fsencode(whole)) <= 255 else f".{hashlib.sha256(path.stem.encode()).hexdigest()[:32]}{end}"


def stamp(path: Path) -> list[int] | None:
    """[bytes, time of change in ns], or None where there is no such file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


# --- values ---------------------------------------------------------------------------------------------------------


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float in [0, 1] -> float32 in [0, 1], same shape.

    Raises ValueError for other types, for floats outside [0, 1] (0..255, say) and for NaN.
    """
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    if image.dtype.kind != "f":
        raise ValueError(f"expected uint8, uint16 or float samples, got {image.dtype}")
    if image.size and not (image.min() >= 0 and image.max() <= 1):
        found = f"{image.min():.4g} to {image.max():.4g}"
        raise ValueError(f"expected float samples in [0, 1], got {found}: scale them first")
    return image.astype(np.float32)


def is_coloured(image: np.ndarray) -> bool:
    """Whether any pixel has unequal channels; gray stored as RGB is not coloured."""
    return image.ndim == 3 and bool((image[..., 0] != image[..., 1]).any() or (image[..., 1] != image[..., 2]).any())


def colourfulness(image: np.ndarray) -> float:
    """Grey levels between a pixel's greatest and least channel, on average; 0 for (H, W).

    Of a copy at a quarter of the size, because JPEG keeps colour at half the resolution and lets it bleed over edges.
    Gray pictures saved as JPEG stay below 1, PET and SPECT lie above 10; a coloured mark on a gray slice counts little.
    """
    if image.ndim == 2:
        return 0.0
    h, w = image.shape[:2]
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    image = image.astype(np.float32, copy=False) if image.dtype.kind == "f" else image
    small = cv2.resize(image, (max(1, w // 4), max(1, h // 4)), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float((small.max(2) - small.min(2)).mean()) * 255 / top


def check_shape(image: np.ndarray, what: str) -> None:
    """Raise ValueError unless `image` is (H, W) or (H, W, 3)."""
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        raise ValueError(f"{what} has the shape {image.shape}: expected (H, W) or (H, W, 3) RGB")


def luminance(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB, any depth -> (H, W) float32 in [0, 1]."""
    x = to_float(image)
    if x.ndim == 2:
        return x
    # Written out, in this order, because the authors' training patches are made so: bit-equal float32.
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    return np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b


def rounded_luminance(image: np.ndarray) -> np.ndarray:
    """`luminance` in whole 8-bit levels over 255."""
    return (grey_levels(image) / 255).astype(np.float32)


_RED, _GREEN, _BLUE = (float(np.float32(share)) for share in (0.299, 0.587, 0.114))


def grey_levels(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB, any depth -> (H, W) float64 of whole numbers 0..255, halves rounded to even.

    What the published evaluation sees of a picture: its 8-bit luminance.
    """
    if image.dtype == np.uint8 and image.ndim == 2:
        return image.astype(np.float64)
    scaled = image.astype(np.float32) if image.dtype == np.uint8 else to_float(image) * np.float32(255)
    if scaled.ndim == 3:
        # 16,782 colours lie halfway between two levels, and there the last bit of float32 decides. This is the sum of
        # OpenCV's COLOR_BGR2GRAY, which the authors call: two fused multiply-adds, here exact in float64 and then
        # rounded, so that no processor without them gives another picture.
        red, green, blue = (scaled[..., i].astype(np.float64) for i in range(3))
        partial = (green * _GREEN).astype(np.float32)
        partial = (blue * _BLUE + partial).astype(np.float32)
        scaled = (red * _RED + partial).astype(np.float32)
    return np.rint(scaled).astype(np.float64)


def recolour(fused: np.ndarray, source: np.ndarray, how: Literal["ycrcb", "ycrcb8", "shift"]) -> np.ndarray:
    """Give a fused luminance the colour of `source`.

    fused: (H, W) float32; source: (H, W, 3) RGB float32 in [0, 1]; returns (H, W, 3), clipped to [0, 1].
    how: `ycrcb` replaces Y of YCrCb with OpenCV's (and SHIP's) rounded constants; `ycrcb8` does so with Cr and Cb in
    whole 8-bit levels over 255, the neutral 128 left where it is; `shift` adds the change in luminance to each
    channel, which is replacing Y in exact BT.601.
    """
    if how == "shift":
        return np.clip(source + (fused - luminance(source))[..., None], 0, 1)
    planes = cv2.cvtColor(to_uint8(source) if how == "ycrcb8" else source, cv2.COLOR_RGB2YCrCb)
    planes = to_float(planes) if how == "ycrcb8" else planes
    planes[..., 0] = fused
    return np.clip(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB), 0, 1)


def to_uint8(image: np.ndarray, quantise: Literal["round", "truncate"] = "round") -> np.ndarray:
    """Float in [0, 1] -> uint8, to the nearest level or to the one below."""
    levels = image * np.float32(255)
    return (np.rint(levels) if quantise == "round" else np.floor(levels)).astype(np.uint8)


# --- sets ------------------------------------------------------------------------------------------------------------


def ranges_of(pairs: Sequence, how: str | How = "auto") -> tuple[How, How]:
    """What becomes black and white in all infrared and in all visible pictures of a set (`fusion.reading.ranges`).

    pairs: of files `ir` and `vis` (`fusion.pairing.Pair`). how: `IR` or `IR,VIS`, each `auto`, `full`, `percentile` or
    LOW..HIGH. Raises ValueError for anything else.
    """
    of_ir, of_vis = of_pair(how)
    return set_range([pair.ir for pair in pairs], of_ir), set_range([pair.vis for pair in pairs], of_vis)
