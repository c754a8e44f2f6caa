"""Pictures: reading and writing files, value ranges, luminance and chroma.

Arrays are numpy, (H, W) or (H, W, 3) in RGB order. A file's array keeps its depth (uint8 or uint16); everything
else works on float32 in [0, 1]. The luminance is BT.601's: Y = 0.299 R + 0.587 G + 0.114 B, no gamma removed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".webp", ".jpg", ".jpeg")

DEEP_SUFFIXES = (".png", ".tif", ".tiff")  # formats that keep 16 bits
OPENCV_LOG = getattr(cv2.utils, "logging", cv2)  # where OpenCV 5 and 4 keep getLogLevel and setLogLevel
PNG_END = b"IEND\xae\x42\x60\x82"  # the last chunk of every PNG and its checksum

# --- files ----------------------------------------------------------------------------------------------------------


def read(path: str | Path) -> np.ndarray:
    """The picture in a file: (H, W) or (H, W, 3) RGB, uint8 or uint16. Transparency is dropped.

    Raises OSError where the file cannot be opened, ValueError where it is no whole 8- or 16-bit picture.
    """
    data = Path(path).read_bytes()
    _refuse_truncated(path, data)
    image = _decode(data)
    if image is None:
        raise ValueError(f"{path} cannot be decoded: expected a whole {', '.join(s[1:] for s in SUFFIXES)} picture")
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} holds {image.dtype} samples: expected 8 or 16 bits, unsigned; convert the file first")
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB)


def _decode(data: bytes) -> np.ndarray | None:
    """OpenCV's decoder without its chatter on stderr; None where it gives up."""
    if not data:
        return None
    level = OPENCV_LOG.getLogLevel()
    OPENCV_LOG.setLogLevel(0)  # silent
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        OPENCV_LOG.setLogLevel(level)


def _refuse_truncated(path: str | Path, data: bytes) -> None:
    """OpenCV 4 fills the missing half of a cut PNG or JPEG with gray and says nothing; so look for the end marks."""
    png = data.startswith(b"\x89PNG") and PNG_END not in data
    # In JPEG's entropy-coded data 0xFF is followed by 0x00, so an end mark after the last scan header is the real one.
    jpeg = data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if png or jpeg:
        raise ValueError(f"{path} is truncated: it ends before its picture does ({len(data)} bytes); fetch it again")


def write(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) RGB, uint8 or uint16, in the format of the suffix; the whole file or none of it.

    uint16 goes into PNG and TIFF only. Raises ValueError for a suffix or an array that cannot be written, OSError where
    the disk or the folder refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: cannot write '{path.suffix}' files; use one of {', '.join(SUFFIXES)}")
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


def grey_levels(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB, any depth -> (H, W) float64 of whole numbers 0..255, halves rounded to even.

    What the published evaluation sees of a picture: its 8-bit luminance.
    """
    if image.dtype == np.uint8 and image.ndim == 2:
        return image.astype(np.float64)
    scaled = image.astype(np.float32) if image.dtype == np.uint8 else to_float(image) * np.float32(255)
    if scaled.ndim == 3:
        scaled = cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY)
    return np.rint(scaled).astype(np.float64)


def recolour(fused: np.ndarray, source: np.ndarray, how: Literal["ycrcb", "shift"]) -> np.ndarray:
    """Give a fused luminance the colour of `source`.

    fused: (H, W) float32; source: (H, W, 3) RGB float32 in [0, 1]; returns (H, W, 3), clipped to [0, 1].
    how: `ycrcb` replaces Y of YCrCb with OpenCV's (and SHIP's) rounded constants; `shift` adds the change in
    luminance to each channel, which is replacing Y in exact BT.601.
    """
    if how == "shift":
        return np.clip(source + (fused - luminance(source))[..., None], 0, 1)
    planes = cv2.cvtColor(source, cv2.COLOR_RGB2YCrCb)
    planes[..., 0] = fused
    return np.clip(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB), 0, 1)


def to_uint8(image: np.ndarray, quantise: Literal["round", "truncate"] = "round") -> np.ndarray:
    """Float in [0, 1] -> uint8, to the nearest level or to the one below."""
    levels = image * np.float32(255)
    return (np.rint(levels) if quantise == "round" else np.floor(levels)).astype(np.uint8)
