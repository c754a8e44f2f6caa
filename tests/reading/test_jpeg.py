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
    with pytest.raises(ValueError, match=r"x\.png is damaged: part of its picture is lost"):
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


@pytest.mark.parametrize("bits", range(8))
def test_any_damaged_byte_of_a_png_is_found_and_nothing_reaches_stderr(tmp_path, capfd, bits):
    data = bytearray(by_pillow(noisy()[:16, :16], "PNG"))
    for at in range(16 + bits, len(data) - 12, 23):  # from the header to the sum of the pixels
        changed = bytes(data[:at]) + bytes([data[at] ^ 1 << bits]) + bytes(data[at + 1 :])
        with pytest.raises(ValueError, match=r"x\.png (is damaged|is truncated|cannot be decoded)"):
            read(tmp_path / "x.png", changed)
    assert capfd.readouterr().err == ""


# --- headers that promise too much ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_of_few_bytes_that_calls_itself_huge_is_refused_unmade(tmp_path, kind, monkeypatch):
    import simplejpeg

    data = bytearray(by_pillow(scene(), "JPEG", **KINDS[kind]))
    frame = data.find(b"\xff\xc2" if kind == "progressive" else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", None)  # would take 13 GB
    with pytest.raises(ValueError, match=r"x\.jpg is truncated"):
        read(tmp_path / "x.jpg", bytes(data))


@pytest.mark.parametrize("picture", [scene(), np.zeros((512, 512, 3), np.uint8)])
def test_a_flat_jpeg_is_not_taken_for_one(tmp_path, picture):
    for kind in KINDS.values():
        assert read(tmp_path / "x.jpg", by_pillow(picture, "JPEG", quality=1, **kind))[0].shape == picture.shape


# --- other makers' radiometric files, other JPEGs -------------------------------------------------------------------


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    data = by_pillow(scene(), "JPEG")
    return data[:2] + b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(b) + 2) + b for m, b in segments) + data[2:]


def made_by(name: str) -> bytes:
    from PIL import Image

    block = Image.Exif()
    block[271] = name
    return block.tobytes()


@pytest.mark.parametrize(
    ("segments", "maker"),
    [
        ([(0xE1, made_by("DJI")), (0xE3, bytes(2000))], "DJI"),
        ([(0xE2, b"\1\0\0\0IJPEG\0\1")], "InfiRay"),
        ([(0xE1, made_by("DJI"))], None),  # a drone's visible picture
        ([(0xE1, made_by("Canon")), (0xE3, bytes(2000))], None),
        ([(0xE2, b"MPF\0" + bytes(20))], None),
    ],
)
def test_the_preview_of_a_makers_own_format_is_said_to_be_one(tmp_path, segments, maker):
    plain, _ = read(tmp_path / "plain.jpg", by_pillow(scene(), "JPEG"))
    image, notes = read(tmp_path / "x.jpg", with_segments(*segments))
    np.testing.assert_array_equal(image, plain)
    assert len(notes) == (maker is not None)
    assert all(f"radiometric file of {maker}: only its preview is read; export its counts" in note for note in notes)


def test_jpeg_ls_is_named(tmp_path):
    import imagecodecs

    with pytest.raises(ValueError, match="is a JPEG-LS file; save it as PNG or TIFF"):
        read(tmp_path / "x.jpg", imagecodecs.jpegls_encode(heat()))


def test_a_header_that_is_not_to_the_letter_costs_a_note_and_no_picture(tmp_path, capfd):
    data = by_pillow(noisy(), "JPEG")
    whole, _ = read(tmp_path / "whole.jpg", data)
    scan = data.find(b"\xff\xda") + 5 + 2 * 3  # its first and last coefficient stand after the three channels
    bad_scan = data[:scan] + b"\0\0" + data[scan + 2 :]
    profile = b"ICC_PROFILE\0\1\1"  # the first of one, of nothing
    bad_profile = data[:2] + b"\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile + data[2:]
    for bad in (bad_scan, bad_profile):
        image, notes = read(tmp_path / "x.jpg", bad)
        np.testing.assert_array_equal(image, whole)
        assert len(notes) == 1
        assert "is a slightly damaged JPEG" in notes[0]
    middle = len(bad_profile) // 2
    with pytest.raises(ValueError, match="part of its picture is lost"):  # the profile hides no other damage
        read(tmp_path / "x.jpg", bad_profile[:middle] + bytes(2000) + bad_profile[middle + 2000 :])
    assert capfd.readouterr().err == ""
