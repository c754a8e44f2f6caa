"""JPEG and PNG that are cut, damaged, followed by something, or carry thermal counts: the right picture or one line."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from tests.reading.made import by_pillow, exif, heat, png_chunk, read, scene

END = b"\xff\xd9"


def noisy() -> np.ndarray:
    """A picture that takes JPEG some 10 KB."""
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


KINDS = {"plain": {}, "progressive": {"progressive": True}, "restart": {"restart_marker_blocks": 4}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"MotionPhoto_Data" + b"\xff\xda" * 9, END * 3 + b"\xff\xda", b"\0" * 500, b"\xff"])
def test_what_follows_the_picture_does_no_harm(tmp_path, kind, tail):
    data = by_pillow(noisy(), "JPEG", **KINDS[kind])
    whole, _ = read(tmp_path / "whole.jpg", data)
    image, notes = read(tmp_path / "x.jpg", data + tail)
    np.testing.assert_array_equal(image, whole)
    assert notes == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_end_mark_is_missing(tmp_path, kind):
    data = by_pillow(noisy(), "JPEG", **KINDS[kind])
    whole, _ = read(tmp_path / "whole.jpg", data)
    for lost in (1, 2):
        image, notes = read(tmp_path / "x.jpg", data[:-lost])
        np.testing.assert_array_equal(image, whole)
        assert len(notes) == 1
        assert "x.jpg lacks its end mark" in notes[0]


@pytest.mark.parametrize(
    ("kind", "end"), [(kind, b"") for kind in KINDS] + [(kind, END) for kind in KINDS if kind != "progressive"]
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_in_the_middle(tmp_path, kind, end, share, capfd):
    """With an end mark, too; a progressive file that ends between its scans is then a whole one of less detail."""
    data = by_pillow(noisy(), "JPEG", **KINDS[kind])
    with pytest.raises(ValueError, match=r"x\.jpg is (truncated|damaged)") as caught:
        read(tmp_path / "x.jpg", data[: int(share * len(data))] + end)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("gray", [False, True])
def test_damaged_inside(tmp_path, gray, capfd):
    data = by_pillow(noisy()[..., 0] if gray else noisy(), "JPEG")
    middle = len(data) // 2
    with pytest.raises(ValueError, match=r"x\.jpg is damaged: part of its picture is lost"):
        read(tmp_path / "x.jpg", data[:middle] + bytes(2000) + data[middle + 2000 :])
    assert capfd.readouterr().err == ""


def test_a_few_stray_bytes_are_read_over_with_a_note(tmp_path, capfd):
    data = by_pillow(noisy(), "JPEG")
    whole, _ = read(tmp_path / "whole.jpg", data)
    image, notes = read(tmp_path / "x.jpg", data[:-2] + b"abcdefgh" + END)
    np.testing.assert_array_equal(image, whole)
    assert "slightly damaged" in notes[0]
    assert capfd.readouterr().err == ""


def test_pixels_are_opencvs(tmp_path):
    """Of all subsamplings, baseline and progressive: results of before the decoder changed stay what they were."""
    for options in ({}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"quality": 30}):
        for picture in (scene(47, 61), heat(47, 61)):
            data = by_pillow(picture, "JPEG", **options)
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            expected = expected if expected.ndim == 2 else expected[..., ::-1]
            np.testing.assert_array_equal(read(tmp_path / "x.jpg", data)[0], expected)


def test_cmyk(tmp_path):
    from PIL import Image

    image = Image.fromarray(scene()).convert("CMYK")
    image.save(tmp_path / "made.jpg", quality=100, subsampling=0)
    back, _ = read(tmp_path / "x.jpg", (tmp_path / "made.jpg").read_bytes())
    assert np.abs(back.astype(int) - scene()).mean() < 3


# --- radiometric ----------------------------------------------------------------------------------------------------


def flir(counts: np.ndarray, *, png: bool, order: str, swapped: bool = False, pieces: int = 3) -> bytes:
    """A coloured preview with the counts in FLIR's container, cut into segments that stand in the wrong order."""
    h, w = counts.shape
    stored = counts.byteswap() if swapped else counts
    data = cv2.imencode(".png", stored)[1].tobytes() if png else counts.astype(f"{order}u2").tobytes()
    record = struct.pack(f"{order}HHH", 2, w, h).ljust(32, b"\0") + data
    entries = [(0x20, 400, 4), (1, 200, len(record))]
    directory = b"".join(struct.pack(">H10xII12x", *entry) for entry in entries)
    head = b"FFF\0" + b"camera".ljust(16, b"\0") + struct.pack(">III", 100, 64, len(entries))
    fff = head.ljust(64, b"\0") + directory
    fff = fff.ljust(200, b"\0") + record
    size = len(fff) // pieces + 1
    parts = [fff[i : i + size] for i in range(0, len(fff), size)]
    bodies = [b"FLIR\0\1" + bytes([i, len(parts) - 1]) + part for i, part in enumerate(parts)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(b) + 2) + b for b in reversed(bodies))
    preview = by_pillow(scene(), "JPEG")
    return preview[:2] + segments + preview[2:]


@pytest.mark.parametrize(
    "how",
    [
        {"png": True, "order": "<", "swapped": True},
        {"png": True, "order": "<"},
        {"png": False, "order": "<"},
        {"png": False, "order": ">"},
    ],
)
def test_radiometric_jpeg_gives_its_counts(tmp_path, how):
    counts = 7000 + 8 * heat(60, 80).astype(np.uint16)
    image, notes = read(tmp_path / "x.jpg", flir(counts, **how))
    np.testing.assert_array_equal(image, counts)
    assert "x.jpg is radiometric: its raw thermal counts are read" in notes[0]


def test_a_radiometric_jpeg_without_counts_says_so(tmp_path):
    data = flir(heat().astype(np.uint16), png=False, order="<")
    image, notes = read(tmp_path / "x.jpg", data.replace(b"FFF\0", b"QQQ\0"))
    assert image.shape == scene().shape
    assert "only its preview could be read" in notes[0]


# --- PNG and WebP ---------------------------------------------------------------------------------------------------


def rgba(alpha: np.ndarray) -> np.ndarray:
    return np.dstack([scene(), alpha]).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("alpha", "note"),
    [
        (np.full((24, 36), 255), None),
        (np.full((24, 36), 255) * (heat() > 20), "has colours under its transparent pixels"),
        (heat(), "has a fourth channel that varies like a picture"),
    ],
)
def test_a_fourth_channel_with_content_is_noted(tmp_path, kind, alpha, note):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image, notes = read(tmp_path / f"x.{kind}", by_pillow(rgba(alpha), kind, **options))
    np.testing.assert_array_equal(image, scene())
    assert [note in text for text in notes] == ([True] if note else [])


def test_transparent_black_is_not_noted(tmp_path):
    clear = rgba(np.full((24, 36), 255))
    clear[:5] = 0
    assert read(tmp_path / "x.png", by_pillow(clear, "PNG"))[1] == []


def test_an_animation_is_noted(tmp_path):
    from PIL import Image

    frames = [Image.fromarray(scene()), Image.fromarray(255 - scene())]
    for kind in ("png", "webp", "avif"):
        path = tmp_path / f"x.{kind}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True, quality=100)
        image, notes = read(path, path.read_bytes())
        assert np.abs(image.astype(int) - scene()).mean() < 5
        assert len(notes) == 1
        assert "first frame" in notes[0] or "the first is read" in notes[0]


def test_a_damaged_png(tmp_path):
    data = by_pillow(noisy(), "PNG")
    middle = len(data) // 2
    with pytest.raises(ValueError, match=r"x\.png cannot be decoded"):
        read(tmp_path / "x.png", data[:middle] + bytes(400) + data[middle + 400 :])


def test_an_end_mark_inside_the_pixels_is_not_the_end(tmp_path):
    data = by_pillow(noisy(), "PNG")
    fake = data[:33] + png_chunk(b"prVt", b"IEND\xae\x42\x60\x82") + data[33:]
    with pytest.raises(ValueError, match="is truncated"):
        read(tmp_path / "x.png", fake[:-500])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", [1, 6])
def test_gray_with_transparency_is_gray(tmp_path, kind, orientation):
    gray = heat().astype(kind) * (1 if kind == np.uint8 else 257)
    rows = np.dstack([gray, np.full_like(gray, np.iinfo(kind).max)]).astype(np.dtype(kind).newbyteorder(">"))
    h, w = gray.shape
    header = struct.pack(">IIBBBBB", w, h, 8 * gray.itemsize, 4, 0, 0, 0)  # colour type 4
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = [(b"IHDR", header), (b"eXIf", exif(orientation)), (b"IDAT", pixels), (b"IEND", b"")]
    got, notes = read(tmp_path / "x.png", b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    np.testing.assert_array_equal(got, gray if orientation == 1 else np.rot90(gray, -1))
    assert notes == []
