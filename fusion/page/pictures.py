"""What a browser needs beside the fused pictures, under `OUT/index_files/DATASET/`:

    ir/ vis/     the sources as browsers can show them: 8 bits, no transparency, no colour profile
    thumbs/      one JPEG per pair with every picture of it side by side, small
    values/      one script per pair with the 8-bit luminance of every picture, which is what the metrics see
    sources.json what the two sources are called, and their files

Why scripts: from `file://` no browser lets a page read the pixels of a picture file, but it may run a script, and a
picture that a script carries within itself (as a `data:` address) may be read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from fusion.reading import How, read

FOLDER = "index_files"
THUMB = (144, 108)  # pixels; shown at two thirds of that, so sharp on dense screens too
GAP_LEVEL = 128  # what stands in a thumbnail's place where there is no picture
PLAIN_COLOURS = (0, 2)  # PNG colour types without palette and transparency: gray, RGB
PROFILES = (b"gAMA", b"iCCP", b"cHRM", b"tRNS", b"eXIf", b"ICC_PROFILE", b"Exif\0", b"FLIR\0")


def write_whole(path: Path, data: bytes) -> None:
    """The whole file or none of it; its folder is made."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


# --- sources --------------------------------------------------------------------------------------------------------


def add_sources(
    out: Path,
    dataset: str,
    pairs: list[tuple[str, Path, Path]],
    labels: tuple[str, str] = ("infrared", "visible"),
    ranges: tuple[How, How] = ("auto", "auto"),
) -> None:
    """Put copies of a data set's sources into the result folder, so that the page can show them.

    pairs: (name, infrared file, visible file). labels: what the page calls the two, e.g. ("PET", "MRI").
    ranges: what becomes black and white in the two.
    A file that cannot be read is left out: it is listed among the failures already.
    """
    folder = out / FOLDER / dataset
    files: dict[str, list[str | None]] = {}
    for name, *paths in pairs:
        sides = zip(paths, ("ir", "vis"), ranges, strict=True)
        files[name] = [_add(path, folder / kind, name, how) for path, kind, how in sides]
    text = json.dumps({"labels": list(labels), "files": files}, indent=1)
    write_whole(folder / "sources.json", text.encode())


def _add(source: Path, folder: Path, name: str, how: How) -> str | None:
    """Copy `source` and its time of change; returns the copy's place in `folder`, or None."""
    try:
        data, times = source.read_bytes(), source.stat()
        as_is = shows_as_read(data)
        copy = folder / f"{name}{source.suffix.lower() if as_is else '.png'}"
        fresh = copy.is_file() and copy.stat().st_mtime_ns == times.st_mtime_ns
        if fresh and (copy.read_bytes() == data if as_is else how == "full"):  # a range may have changed since
            return copy.relative_to(folder).as_posix()
        if not as_is:
            data = cv2.imencode(".png", _eight_bits(read(source, how)))[1].tobytes()
    except (OSError, ValueError):
        return None
    write_whole(copy, data)
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    return copy.relative_to(folder).as_posix()


def shows_as_read(data: bytes) -> bool:
    """Whether a browser shows the very numbers that are read here: plain 8-bit PNG or JPEG, no profile, no rotation."""
    if any(mark in data[: 2**16] for mark in PROFILES) or b"eXIf" in data[-4096:]:
        return False
    png = data.startswith(b"\x89PNG") and len(data) > 26 and data[24] == 8 and data[25] in PLAIN_COLOURS
    return png or data.startswith(b"\xff\xd8")


def sources(out: Path, dataset: str) -> dict:
    """{"labels": [ir, vis], "files": {image: [ir file or None, vis file or None]}}; no files where none were added."""
    try:
        return json.loads((out / FOLDER / dataset / "sources.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"labels": ["infrared", "visible"], "files": {}}


# --- thumbnails and values ------------------------------------------------------------------------------------------


def prepare(out: Path, dataset: dict) -> list[list[int] | None]:
    """Thumbnails and values of every image of a data set of the page; returns [width, height] of each image."""

    def one(i: int) -> list[int] | None:
        return _prepare(out / FOLDER / dataset["name"], dataset["images"][i], _files(out, dataset, i), dataset["name"])

    jobs = range(len(dataset["images"]))
    # OpenCV lets go of Python's lock while it decodes and encodes.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        bar = tqdm(pool.map(one, jobs), total=len(jobs), desc="page", unit="pair", delay=2, leave=False, disable=None)
        return list(bar)


def _files(out: Path, dataset: dict, i: int) -> list[Path | None]:
    """The pictures of an image in the order of the page: infrared, visible, then the models."""
    name, folder = dataset["images"][i], out / FOLDER / dataset["name"]
    kinds = zip(dataset["sources"][i] or (None, None), ("ir", "vis"), strict=True)
    found = [folder / kind / file if file else None for file, kind in kinds]
    models = zip(dataset["models"], dataset["scores"], strict=True)
    return found + [out / dataset["name"] / model / f"{name}.png" if s[i] else None for model, s in models]


def _prepare(folder: Path, name: str, files: list[Path | None], dataset: str) -> list[int] | None:
    """Write a pair's thumbnails and values unless they are there and made of these very files."""
    values, thumbs = folder / "values" / f"{name}.js", folder / "thumbs" / f"{name}.jpg"
    stamps = [f"{path.relative_to(folder.parents[1])} {_stamp(path)}" if path else "" for path in files]
    key = hashlib.sha256("\n".join(stamps).encode()).hexdigest()[:16]
    if thumbs.is_file() and (size := _stated_size(values, key)):
        return size
    images = [_read(path) if path else None for path in files]
    sizes = [(image.shape[1], image.shape[0]) for image in images if image is not None]
    if not sizes:
        return None
    w, h = sizes[-1]  # the last is a model's, where any has run; sources of two sizes have no fused picture
    write_whole(thumbs, cv2.imencode(".jpg", np.hstack([_thumb(x) for x in images]), [cv2.IMWRITE_JPEG_QUALITY, 82])[1])
    planes = [_embedded(image) for image in images]
    script = f"// {w} {h} {key}\nluminance({json.dumps(dataset)}, {json.dumps(name)}, {json.dumps(planes)});\n"
    write_whole(values, script.encode())
    return [w, h]


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _stated_size(values: Path, key: str) -> list[int] | None:
    try:
        with values.open("rb") as file:
            _, w, h, stated = file.readline(100).decode().split()
    except (OSError, ValueError):
        return None
    return [int(w), int(h)] if stated == key else None


def _read(path: Path) -> np.ndarray | None:
    try:
        return _decode(path.read_bytes())
    except OSError:
        return None


def _decode(data: bytes) -> np.ndarray | None:
    """(H, W) or (H, W, 3) BGR, 8 bits; None where it is no picture."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        return None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        return None
    if image.dtype == np.uint16:
        image = np.rint(image / np.float32(257)).astype(np.uint8)
    return np.ascontiguousarray(image[..., :3]) if image.ndim == 3 else image


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB, uint8 or uint16 -> the same in BGR, 8 bits."""
    if image.dtype == np.uint16:
        image = np.rint(image / np.float32(257)).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image


def _thumb(image: np.ndarray | None) -> np.ndarray:
    """The middle of a picture in the shape of a thumbnail."""
    w, h = THUMB
    if image is None:
        return np.full((h, w, 3), GAP_LEVEL, np.uint8)
    image = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    rows, columns = image.shape[:2]
    cut_h, cut_w = min(rows, max(1, columns * h // w)), min(columns, max(1, rows * w // h))
    top, left = (rows - cut_h) // 2, (columns - cut_w) // 2
    return cv2.resize(image[top : top + cut_h, left : left + cut_w], THUMB, interpolation=cv2.INTER_AREA)


def _embedded(image: np.ndarray | None) -> str | None:
    """A picture's 8-bit luminance as a PNG in base64."""
    if image is None:
        return None
    if image.ndim == 3:
        # In float32 and rounded once, as the metrics have it; OpenCV's own 8-bit conversion is off by one now and then.
        image = np.rint(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_BGR2GRAY)).astype(np.uint8)
    return base64.b64encode(cv2.imencode(".png", image)[1]).decode("ascii")
