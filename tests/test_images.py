"""Files, values, colours, pairs: what is written comes back, what is damaged is refused, nothing half-written stays."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import zlib
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion import images

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".webp")
LOSSY = (".jpg", ".jpeg")
SHAPES = {"gray": (23, 31), "rgb": (23, 31, 3)}


def noise(shape, dtype=np.uint8, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def smooth(h=48, w=64) -> np.ndarray:
    """A colourful picture without edges: JPEG keeps it within a few levels."""
    y, x = np.mgrid[:h, :w] / h
    return np.stack([255 * x / x.max(), 255 * y / y.max(), 128 + 60 * np.sin(3 * x)], axis=-1).round().astype(np.uint8)


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_8_bits_come_back(tmp_path, suffix, shape):
    image = noise(SHAPES[shape])
    images.write(tmp_path / f"x{suffix}", image)
    back = images.read(tmp_path / f"x{suffix}")
    assert back.dtype == np.uint8
    if suffix == ".webp" and shape == "gray":  # the format knows no gray
        assert not images.is_coloured(back)
        back = back[..., 0]
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_16_bits_come_back(tmp_path, suffix, shape):
    image = noise(SHAPES[shape], np.uint16)
    images.write(tmp_path / f"x{suffix}", image)
    back = images.read(tmp_path / f"x{suffix}")
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("suffix", LOSSY)
def test_jpeg_is_close(tmp_path, suffix):
    for image in (smooth(), smooth()[..., 0]):
        images.write(tmp_path / f"x{suffix}", image)
        back = images.read(tmp_path / f"x{suffix}")
        assert back.shape == image.shape
        # Quality 95 halves the chroma's resolution; red and blue taken for each other would differ by up to 255.
        assert np.abs(back.astype(int) - image).max() <= 12
        assert np.abs(back.astype(int) - image).mean() < 1.5


@pytest.mark.parametrize("suffix", images.WRITTEN)
def test_upper_case_suffix(tmp_path, suffix):
    path = tmp_path / f"x{suffix.upper()}"
    images.write(path, smooth())
    assert images.read(path).shape == smooth().shape


@pytest.mark.parametrize("name", ["with space", "Ünï-códe_図", "dots.in.name", "quote'\"<&>", "%41"])
def test_names(tmp_path, name):
    folder = tmp_path / name
    images.write(folder / f"{name}.png", noise((5, 6)))
    np.testing.assert_array_equal(images.read(str(folder / f"{name}.png")), noise((5, 6)))
    assert [p.name for p in folder.iterdir()] == [f"{name}.png"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparency_is_dropped(tmp_path, suffix, dtype):
    rgba = noise((9, 11, 4), dtype)
    (tmp_path / f"x{suffix}").write_bytes(cv2.imencode(suffix, rgba[..., [2, 1, 0, 3]])[1])
    np.testing.assert_array_equal(images.read(tmp_path / f"x{suffix}"), rgba[..., :3])


def png(header: tuple, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from scratch. header: width, height, bits, colour type."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(chunk(*c) for c in chunks) + chunk(b"IEND", b"")


def test_palette(tmp_path):
    colours = noise((4, 3))
    places = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    rows = b"".join(b"\0" + row.tobytes() for row in places)
    palette = (b"PLTE", colours.tobytes())
    for name, chunks in (("plain", [palette]), ("clear", [palette, (b"tRNS", b"\0\x80")])):
        path = tmp_path / f"{name}.png"
        path.write_bytes(png((4, 3, 8, 3), *chunks, (b"IDAT", zlib.compress(rows))))
        np.testing.assert_array_equal(images.read(path), colours[places])


def test_gray_with_transparency_and_one_bit(tmp_path):
    gray = noise((3, 4))
    rows = b"".join(b"\0" + np.stack([row, 255 - row], -1).tobytes() for row in gray)
    (tmp_path / "la.png").write_bytes(png((4, 3, 8, 4), (b"IDAT", zlib.compress(rows))))
    back = images.read(tmp_path / "la.png")
    assert not images.is_coloured(back)
    np.testing.assert_array_equal(images.grey_levels(back), gray)
    (tmp_path / "bit.png").write_bytes(png((8, 1, 1, 0), (b"IDAT", zlib.compress(b"\0\xa5"))))
    np.testing.assert_array_equal(images.read(tmp_path / "bit.png"), [[255, 0, 255, 0, 0, 255, 0, 255]])


def test_gray_stored_as_rgb_is_not_coloured(tmp_path):
    gray = noise((20, 30))
    for suffix in images.WRITTEN:
        images.write(tmp_path / f"x{suffix}", np.stack([gray] * 3, axis=-1))
        back = images.read(tmp_path / f"x{suffix}")
        assert back.shape == (20, 30, 3)
        assert not images.is_coloured(back)
    for channel in range(3):
        one_pixel = np.stack([gray] * 3, axis=-1)
        one_pixel[7, 8, channel] ^= 1
        assert images.is_coloured(one_pixel)
    assert not images.is_coloured(gray)


# --- files that are no whole pictures -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", images.WRITTEN)
def test_a_truncated_file_is_refused(tmp_path, suffix, capfd):
    images.write(tmp_path / f"whole{suffix}", noise((40, 50, 3)))
    data = (tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    # TIFF's last four bytes say that no page follows, JPEG's last two that nothing does: the picture is whole.
    harmless = {".tif": 4, ".tiff": 4, ".jpg": 2, ".jpeg": 2}.get(suffix, 0)
    for cut in (0, 1, 10, 60, len(data) // 3, len(data) // 2, *(len(data) - n for n in (200, 8, harmless + 1))):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match=r"is truncated|cannot be decoded|is damaged") as caught:
            images.read(path)
        assert str(path) in one_line(caught)
    if suffix in (".png", ".jpg", ".jpeg", ".webp"):  # TIFF's decoder has no switch, nor has OpenCV 4's for BMP
        assert capfd.readouterr().err == ""


def test_a_progressive_jpeg_cut_between_its_scans_is_refused(tmp_path):
    data = cv2.imencode(".jpg", smooth(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    assert images.read(path).shape == smooth().shape
    scans = [i for i in range(len(data)) if data.startswith(b"\xff\xda", i)]
    assert len(scans) > 3
    for cut in scans[1:]:
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match="truncated"):
            images.read(path)


def test_a_jpegs_thumbnail_does_not_count_as_its_end(tmp_path):
    def jpeg(image):
        return cv2.imencode(".jpg", image)[1].tobytes()

    thumbnail, data = jpeg(smooth(8, 8)), jpeg(noise((48, 64, 3)))
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + data[2:]
    path = tmp_path / "x.jpg"
    path.write_bytes(with_thumbnail)
    assert images.read(path).shape == (48, 64, 3)
    path.write_bytes(with_thumbnail[: -len(data) // 3])
    with pytest.raises(ValueError, match="truncated"):
        images.read(path)


def test_bytes_after_the_end_do_no_harm(tmp_path):
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"x{suffix}"
        images.write(path, smooth())
        whole = images.read(path)
        path.write_bytes(path.read_bytes() + b"\0" * 500)
        np.testing.assert_array_equal(images.read(path), whole)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"<svg/>" * 99])
@pytest.mark.parametrize("suffix", images.WRITTEN)
def test_another_file_named_as_a_picture(tmp_path, suffix, content, capfd):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is truncated|cannot be decoded") as caught:
        images.read(path)
    assert str(path) in one_line(caught)
    assert capfd.readouterr().err == ""


def test_a_directory_named_as_a_picture(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(OSError, match=r"x\.png"):
        images.read(tmp_path / "x.png")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.png"):
        images.read(tmp_path / "x.png")


def test_reading_leaves_opencv_as_talkative_as_it_was(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no")
    before = images.OPENCV_LOG.getLogLevel()
    images.OPENCV_LOG.setLogLevel(2)
    with pytest.raises(ValueError, match="decoded"):
        images.read(tmp_path / "x.png")
    after = images.OPENCV_LOG.getLogLevel()
    images.OPENCV_LOG.setLogLevel(before)
    assert after == 2


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".jpg", ".jpeg"])
def test_16_bits_are_refused_where_the_format_has_8(tmp_path, suffix):
    """OpenCV would cut them to 255 and say nothing."""
    with pytest.raises(ValueError, match=rf"cannot write uint16 samples as '{suffix}'"):
        images.write(tmp_path / f"x{suffix}", noise((9, 9), np.uint16))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool, np.int64, np.int16])
def test_other_types_are_refused(tmp_path, dtype):
    with pytest.raises(ValueError, match="expected uint8, or uint16 in PNG and TIFF"):
        images.write(tmp_path / "x.png", np.ones((9, 9), dtype))


@pytest.mark.parametrize("shape", [(9, 9, 4), (9, 9, 1), (9, 9, 2), (9,), (0, 9), (9, 0, 3), (1, 9, 9)])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=r"has the shape .*: expected \(H, W\) or \(H, W, 3\) RGB") as caught:
        images.write(tmp_path / "x.png", np.ones(shape, np.uint8))
    one_line(caught)


@pytest.mark.parametrize("name", ["x.gif", "x", "x.png.txt", "x.jp2"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"cannot write '.*' files; use one of \.png, \.tif"):
        images.write(tmp_path / name, noise((9, 9)))


def test_any_memory_order_is_written(tmp_path):
    image = noise((20, 30, 3))
    for changed in (np.asfortranarray(image), image.transpose(1, 0, 2), image[::-1], image[:, ::2], image[..., ::-1]):
        images.write(tmp_path / "x.png", changed)
        np.testing.assert_array_equal(images.read(tmp_path / "x.png"), changed)


def test_folders_are_made(tmp_path):
    images.write(tmp_path / "a" / "b" / "x.png", noise((4, 4)))
    assert (tmp_path / "a" / "b" / "x.png").is_file()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, SystemExit, ValueError])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, old, stop):
    path = tmp_path / "x.txt"
    if old:
        path.write_bytes(old)
    with pytest.raises(stop), images.atomic_path(path) as unfinished:  # noqa: PT012 -- the block is the test
        unfinished.write_text("ne")
        raise stop
    assert files(tmp_path) == ({"x.txt": old} if old else {})


def test_the_new_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with images.atomic_path(path) as unfinished:
        assert unfinished.parent == path.parent  # another disk could not rename in one step
        assert unfinished.name.startswith(".")  # so that pairing and people overlook it
        assert unfinished.suffix == path.suffix  # so that writers choose the right format
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert files(tmp_path) == {"x.txt": b"new"}


def test_a_full_disk_leaves_the_old_picture(tmp_path, monkeypatch):
    images.write(tmp_path / "x.png", noise((9, 9)))
    before = files(tmp_path)

    def fill_up(path, data):
        with open(path, "wb") as file:
            file.write(bytes(data)[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match=r"^cannot write .*x\.png: No space left on device$"):
        images.write(tmp_path / "x.png", noise((9, 9), seed=1))
    assert files(tmp_path) == before


def test_a_really_full_disk_leaves_no_half_written_picture(tmp_path):
    """A limit on the size of files stops the write in the middle, as a full disk does."""
    pytest.importorskip("resource", reason="limits are POSIX")
    program = (
        f"import sys; sys.path.insert(0, {str(Path(images.__file__).parents[1])!r})\n"
        "import resource, numpy\n"
        "from fusion import images\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "images.write('small.png', numpy.zeros((8, 8), 'uint8'))\n"
        "try:\n"
        "    images.write('large.png', numpy.random.default_rng(0).integers(0, 255, (200, 200), 'uint8'))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("cannot write large.png: File too large\n", "")
    assert list(files(tmp_path)) == ["small.png"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("I am no folder")  # permissions would not stop root
    with pytest.raises(OSError, match=r"^cannot write .*x\.png: ") as caught:
        images.write(tmp_path / "file" / "deep" / "x.png", noise((4, 4)))
    one_line(caught)
    assert files(tmp_path) == {"file": b"I am no folder"}


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(OSError, match=r"^cannot write .*x\.png: "):
        images.write(tmp_path / "x.png", noise((4, 4)))
    assert files(tmp_path) == {}


# --- values ---------------------------------------------------------------------------------------------------------


def test_to_float():
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        values = images.to_float(np.array([[0, 1, top // 2, top]], dtype))
        assert values.dtype == np.float32
        np.testing.assert_allclose(values[0], [0, 1 / top, top // 2 / top, 1], rtol=1e-7)  # float32
    for dtype in (np.float16, np.float32, np.float64):
        assert images.to_float(np.array([0, 0.5, 1], dtype)).dtype == np.float32


def test_to_float_gives_a_picture_of_its_own():
    image = np.zeros((3, 3), np.float32)
    images.to_float(image)[0] = 1
    assert image.max() == 0


@pytest.mark.parametrize("bad", [-0.01, 1.01, 255.0, np.nan, np.inf, -np.inf])
def test_floats_out_of_range_are_refused(bad):
    image = np.full((4, 4), 0.5)
    image[2, 1] = bad
    with pytest.raises(ValueError, match=r"expected float samples in \[0, 1\], got .*: scale them first"):
        images.to_float(image)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.int64, np.uint32, complex])
def test_other_samples_are_refused(dtype):
    with pytest.raises(ValueError, match=f"expected uint8, uint16 or float samples, got {np.dtype(dtype)}"):
        images.to_float(np.ones((2, 2), dtype))


def test_luminance_is_bt601():
    for colour, expected in (((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114), ((255, 255, 255), 1)):
        pixel = np.array(colour, np.uint8)[None, None]
        assert images.luminance(pixel)[0, 0] == pytest.approx(expected, abs=1e-7)
    rgb = noise((30, 40, 3), np.uint16)
    np.testing.assert_allclose(
        images.luminance(rgb),
        rgb.astype(float) @ [0.299, 0.587, 0.114] / 65535,
        atol=2e-7,  # float32
    )
    gray = noise((30, 40))
    np.testing.assert_array_equal(images.luminance(gray), gray.astype(np.float32) / np.float32(255))


# What OpenCV 5.0's COLOR_BGR2GRAY gave, rounded half to even, on a processor with a fused multiply-add.
LEVELS_OF_TIES = "8969a93ce7638d33915197477e7199834ef7b24681acb897fe121277628fde0e"


def test_grey_levels_halfway_between_two_levels_fall_as_the_authors_do():
    """All 16,782 colours with 299 R + 587 G + 114 B at an odd multiple of 500. The authors call OpenCV's
    COLOR_BGR2GRAY, whose last bit of float32 decides; in the order of COLOR_RGB2GRAY 652 come out otherwise."""
    share, level = np.array([299, 587, 114]), np.arange(256)
    sums = (share[0] * level[:, None] + share[1] * level)[..., None] + share[2] * level
    ties = np.argwhere(sums % 1000 == 500).astype(np.uint8)[None]
    assert ties.shape == (1, 16782, 3)
    found = images.grey_levels(ties)
    assert set((1000 * found - ties.astype(int) @ share).ravel()) == {-500, 500}
    assert sha256(found.astype(np.uint8)).hexdigest() == LEVELS_OF_TIES


def test_grey_levels_are_whole():
    rgb = noise((200, 300, 3))
    levels = images.grey_levels(rgb)
    assert levels.dtype == np.float64
    np.testing.assert_array_equal(levels, np.rint(levels))
    exact = rgb.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(levels - exact).max() <= 0.5 + 1e-4  # float32 next to a half
    gray = noise((20, 30))
    for same in (
        gray,
        np.stack([gray] * 3, axis=-1),
        gray / 255,
        (gray / 255).astype(np.float32),
        gray.astype(np.uint16) * 257,
    ):
        np.testing.assert_array_equal(images.grey_levels(same), gray)


@pytest.mark.parametrize("how", ["ycrcb", "shift"])
def test_the_colours_own_luminance_gives_the_picture_back(how):
    rgb = images.to_float(noise((40, 50, 3)))
    back = images.recolour(images.luminance(rgb), rgb, how)
    # OpenCV's YCrCb constants are rounded to three digits; the shift is exact but for float32.
    assert np.abs(back - rgb).max() < {"ycrcb": 2e-3, "shift": 1e-6}[how]


@pytest.mark.parametrize("how", ["ycrcb", "shift"])
def test_recolouring_sets_the_luminance_and_keeps_the_chroma(how):
    rgb = (0.4 + 0.2 * np.random.default_rng(0).random((40, 50, 3))).astype(np.float32)
    wanted = (0.4 + 0.2 * np.random.default_rng(1).random((40, 50))).astype(np.float32)  # nothing needs clipping
    result = images.recolour(wanted, rgb, how)
    assert result.dtype == np.float32
    np.testing.assert_allclose(images.luminance(result), wanted, atol=1e-3)  # OpenCV's rounded constants
    for channel in (0, 2):  # R - Y and B - Y are the chroma
        chroma, given = result[..., channel] - images.luminance(result), rgb[..., channel] - images.luminance(rgb)
        np.testing.assert_allclose(chroma, given, atol=1e-3)


@pytest.mark.parametrize("how", ["ycrcb", "shift"])
def test_recolouring_stays_in_range(how):
    rgb = images.to_float(noise((40, 50, 3)))
    for value in (0.0, 1.0):
        result = images.recolour(np.full((40, 50), value, np.float32), rgb, how)
        assert result.min() >= 0
        assert result.max() <= 1


def test_to_uint8():
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    np.testing.assert_array_equal(images.to_uint8(levels), np.arange(256))
    values = np.array([0, 0.499, 0.501, 1.499, 254.4, 254.6, 255], np.float32) / 255
    np.testing.assert_array_equal(images.to_uint8(values), [0, 0, 1, 1, 254, 255, 255])
    np.testing.assert_array_equal(images.to_uint8(values, "truncate"), [0, 0, 0, 1, 254, 254, 255])
