"""Every kind of TIFF is read right, by its plain twin, or refused by name."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.reading.made import by_pillow, heat, read, scene


def tiff(image: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    options.setdefault("photometric", "rgb" if image.ndim == 3 else "minisblack")
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def deep(image: np.ndarray) -> np.ndarray:
    return image.astype(np.uint16) * 257


CODECS = ("lzw", "deflate", "packbits", "zstd", "lzma", "webp", "png", "jpeg2000", "lerc", "jpegxl")


PICTURES = {"colour": scene(), "gray": heat(), "deep colour": deep(scene()), "deep gray": deep(heat())}
LAYOUTS = ("plain", "tiles", "rows", "planes", "big", "motorola", "predictor")


@pytest.mark.parametrize(
    ("layout", "kind"),
    [(x, kind) for x in LAYOUTS for kind in PICTURES if x != "planes" or "gray" not in kind],  # which has one plane
)
def test_layouts(tmp_path, kind, layout):
    picture = PICTURES[kind]
    options = {
        "plain": {},
        "tiles": {"tile": (16, 16), "compression": "deflate"},
        "rows": {"rowsperstrip": 5},
        "planes": {"planarconfig": "separate", "rowsperstrip": 7},
        "big": {"bigtiff": True},
        "motorola": {"byteorder": ">"},
        "predictor": {"compression": "lzw", "predictor": True},
    }[layout]
    planes = np.moveaxis(picture, -1, 0) if layout == "planes" else picture
    data = tiff(planes, **options)
    image, notes = read(tmp_path / "x.tif", data)
    np.testing.assert_array_equal(image, picture)
    assert image.dtype == picture.dtype
    assert notes == []


@pytest.mark.parametrize("codec", CODECS)
def test_codecs(tmp_path, codec):
    lossless = {"webp": {"level": 100, "lossless": True}, "jpeg2000": {"level": 0}, "jpegxl": {"lossless": True}}
    try:
        data = tiff(scene(64, 96), compression=codec, compressionargs=lossless.get(codec))
    except Exception as error:
        pytest.skip(f"cannot be written here: {error}")
    np.testing.assert_array_equal(read(tmp_path / "x.tif", data)[0], scene(64, 96))


def test_jpeg_inside(tmp_path):
    for data in (tiff(scene(), compression="jpeg"), by_pillow(scene(), "TIFF", compression="jpeg")):
        assert np.abs(read(tmp_path / "x.tif", data)[0].astype(int) - scene()).mean() < 6  # small, chroma halved


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", None])
@pytest.mark.parametrize("turned", [1, 6])
def test_one_bit_and_fax(tmp_path, compression, turned):
    bits = heat() > 100
    file = io.BytesIO()
    Image.fromarray(bits).save(file, "TIFF", compression=compression, tiffinfo={274: turned})
    image, _ = read(tmp_path / "x.tif", file.getvalue())
    expected = np.rot90(bits, -1) if turned == 6 else bits
    np.testing.assert_array_equal(image, expected.astype(np.uint8) * 255)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_white_is_low(tmp_path, bits):
    """The inverted file and its twin with black low are the same picture."""
    picture = {1: heat() > 100, 8: heat(), 16: deep(heat())}[bits]
    inverted = ~picture
    image, _ = read(tmp_path / "x.tif", tiff(inverted, photometric="miniswhite"))
    twin, _ = read(tmp_path / "twin.tif", tiff(picture))
    np.testing.assert_array_equal(image, twin)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
@pytest.mark.parametrize("white_low", [False, True])
def test_odd_numbers_of_bits_count_to_their_own_top(tmp_path, bits, white_low):
    top = 2**bits - 1
    counts = np.rint(heat() * (top / 255)).astype(np.uint8 if bits <= 8 else np.uint16)
    stored = top - counts if white_low else counts
    data = packed(stored, bits, 0 if white_low else 1)
    image, _ = read(tmp_path / "x.tif", data)
    full = 255 if bits <= 8 else 65535
    assert image.dtype == (np.uint8 if bits <= 8 else np.uint16)
    np.testing.assert_array_equal(image, np.rint(counts.astype(float) * full / top))


def packed(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """A TIFF from scratch whose rows are packed, first sample in the highest bits (TIFF 6.0, FillOrder 1)."""
    h, w = values.shape
    rows = ((values[..., None].astype(int) >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(h, -1)
    pixels = np.packbits(rows, axis=1).tobytes()
    tags = [(256, w), (257, h), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, h)]
    tags.append((279, len(pixels)))
    pad = len(pixels) % 2
    ifd = len(tags).to_bytes(2, "little")
    ifd += b"".join(
        code.to_bytes(2, "little") + b"\4\0" + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for code, value in tags
    )
    return b"II*\0" + (8 + len(pixels) + pad).to_bytes(4, "little") + pixels + bytes(pad) + ifd + bytes(4)


def test_palette(tmp_path):
    image = Image.fromarray(scene()).quantize(16)
    image.save(tmp_path / "made.tif")
    back, _ = read(tmp_path / "x.tif", (tmp_path / "made.tif").read_bytes())
    np.testing.assert_array_equal(back, np.asarray(image.convert("RGB")))


def test_inks(tmp_path):
    image = Image.fromarray(scene()).convert("CMYK")
    image.save(tmp_path / "made.tif")
    back, _ = read(tmp_path / "x.tif", (tmp_path / "made.tif").read_bytes())
    np.testing.assert_allclose(back, scene(), atol=1)  # Pillow rounds inks its own way


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparency(tmp_path, dtype):
    top = np.iinfo(dtype).max
    for picture in (scene().astype(dtype), heat().astype(dtype)):
        with_alpha = np.dstack([picture, np.full(picture.shape[:2], top, dtype)])
        data = tiff(with_alpha, photometric="rgb" if picture.ndim == 3 else "minisblack", extrasamples=["unassalpha"])
        image, notes = read(tmp_path / "x.tif", data)
        np.testing.assert_array_equal(image, picture)
        assert notes == []


def test_several_pages_are_noted(tmp_path):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in (heat(), 255 - heat(), heat()):
            writer.write(page, photometric="minisblack")
    image, notes = read(tmp_path / "x.tif", file.getvalue())
    np.testing.assert_array_equal(image, heat())
    assert len(notes) == 1
    assert "x.tif holds 3 pages: the first is read" in notes[0]


@pytest.mark.parametrize("first", [False, True])
def test_a_thumbnail_is_no_page(tmp_path, first):
    file = io.BytesIO()
    pages = [(heat()[::4, ::4], 1), (heat(), 0)] if first else [(heat(), 0), (heat()[::4, ::4], 1)]
    with tifffile.TiffWriter(file) as writer:
        for page, reduced in pages:
            writer.write(page, photometric="minisblack", subfiletype=reduced)
    image, notes = read(tmp_path / "x.tif", file.getvalue())
    np.testing.assert_array_equal(image, heat())
    assert notes == []


def test_a_cameras_raw_file_is_not_read_as_its_thumbnail(tmp_path):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(scene()[::4, ::4], photometric="rgb", subfiletype=1, subifds=1)
        writer.write(heat().astype(np.uint16), photometric="cfa")
    with pytest.raises(ValueError, match=r"x\.tif .*a camera's raw data: develop it first"):
        read(tmp_path / "x.tif", file.getvalue())


NUMBERS = ["int8", "int16", "int32", "uint32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_samples_without_a_range_of_their_own(tmp_path, dtype):
    """Stretched from lowest to highest, and said; the whole picture is there."""
    values = (heat().astype(np.float64) / 255 * 60 - 20).astype(dtype)
    values = values - values.min() if dtype.startswith("u") else values
    image, notes = read(tmp_path / "x.tif", tiff(values))
    expected = (values.astype(float) - values.min()) / (float(values.max()) - values.min()) * 65535
    np.testing.assert_allclose(image, expected, atol=0.51)
    assert len(notes) == 1
    assert f"x.tif holds {values.dtype} samples, which have no range of their own" in notes[0]
    assert "--range LOW..HIGH" in notes[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_from_0_to_1_are_brightness(tmp_path, dtype):
    values = (heat() / 510 + 0.25).astype(dtype)
    image, notes = read(tmp_path / "x.tif", tiff(values))
    np.testing.assert_allclose(image, values.astype(float) * 65535, atol=0.51)
    assert notes == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: tiff(np.zeros((24, 36, 5), np.uint8), photometric="rgb"), "has 5 channels: expected 1 or 3"),
        (lambda: tiff(np.zeros((5, 24, 36), np.uint8), photometric="rgb", planarconfig="separate"), "has 5 channels"),
        (lambda: tiff(heat().astype(np.complex64)), "holds complex64 samples"),
        (lambda: tiff(scene(), photometric="cielab"), "holds CIELAB colours"),
        (lambda: tiff(heat(), photometric="cfa"), "holds CFA colours"),
        (lambda: tiff(np.full((9, 9), np.nan, np.float32)), "holds 81 samples that are no finite numbers"),
    ],
)
def test_refused_by_name(tmp_path, data, message):
    with pytest.raises(ValueError, match=rf"x\.tif {message}") as caught:
        read(tmp_path / "x.tif", data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("codec", ["lzw", "deflate", "packbits"])  # zstd's data may be anything
def test_damaged_strips(tmp_path, codec):
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8) // 4 * 4
    data = tiff(picture, compression=codec, rowsperstrip=96)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        start, length = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    middle = start + length // 2
    size = min(4096, length // 4)
    with pytest.raises(ValueError, match=r"x\.tif is damaged"):
        read(tmp_path / "x.tif", data[:middle] + bytes(size) + data[middle + size :])


def test_a_strip_that_is_not_there(tmp_path):
    data = tiff(scene(), rowsperstrip=5)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages.first.tags[279]
        at = tag.valueoffset
    lost = data[:at] + b"\0\0" + data[at + 2 :]
    with pytest.raises(ValueError, match=r"x\.tif is (truncated|damaged)"):
        read(tmp_path / "x.tif", lost)


@pytest.mark.parametrize(
    ("dtype", "mark", "text"),
    [(np.float32, -10000, "-10000"), (np.float64, np.nan, "nan"), (np.int16, -9999, "-9999"), (np.uint16, 0, "0")],
)
def test_pixels_without_data_do_not_count(tmp_path, dtype, mark, text):
    """As mosaics of thermal maps have them, in a third of the picture; GDAL's tag names the value."""
    scene = heat().astype(dtype) + 7000
    stored, plain = scene.copy(), scene.copy()
    stored[:, :12], plain[:, :12] = mark, scene[:, 12:].min()
    data = tiff(stored, extratags=[(42113, "s", 0, text, True)])
    image, notes = read(tmp_path / "x.tif", data, "auto")
    np.testing.assert_array_equal(image, read(tmp_path / "plain.tif", tiff(plain), "auto")[0])
    assert f"has no data in 33.3% of its pixels (marked {text}): read as its lowest" in notes[0]


def test_black_pixels_of_8_bits_are_a_picture(tmp_path):
    data = tiff(heat() // 2 * 2, extratags=[(42113, "s", 0, "0", True)])
    np.testing.assert_array_equal(read(tmp_path / "x.tif", data)[0], heat() // 2 * 2)


def test_a_tiff_larger_than_the_memory_is_one_line(tmp_path):
    data = bytearray(tiff(scene(), compression="deflate"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tags = [file.pages.first.tags[name] for name in ("ImageWidth", "ImageLength", "RowsPerStrip")]
    for tag in tags:
        data[tag.offset + 2 : tag.offset + 12] = np.array([4], "<u2").tobytes() + np.array([1, 10**7], "<u4").tobytes()
    with pytest.raises(ValueError, match=r"x\.tif is larger than the memory, or its header is damaged"):
        read(tmp_path / "x.tif", bytes(data))
