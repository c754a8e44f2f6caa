"""Every format that carries an orientation is read upright, and its size is that of the upright picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from fusion import images
from fusion.data.picture_facts import file_size
from fusion.reading.samples import oriented
from tests.reading.made import by_pillow, exif, heat, png_chunk, read, scene

ORIENTATIONS = range(1, 9)


def tiff(image: np.ndarray, orientation: int) -> bytes:
    file = io.BytesIO()
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tifffile.imwrite(file, image, photometric=photometric, extratags=[(274, "H", 1, orientation, True)])
    return file.getvalue()


def png_at_the_end(image: np.ndarray, orientation: int) -> bytes:
    data = by_pillow(image, "PNG")
    return data[:-12] + png_chunk(b"eXIf", exif(orientation)[6:]) + data[-12:]


MAKERS = {
    "x.jpg": lambda image, n: by_pillow(image, "JPEG", exif=exif(n), quality=100, subsampling=0),
    "progressive.jpg": lambda image, n: by_pillow(image, "JPEG", exif=exif(n), quality=100, progressive=True),
    "x.tif": tiff,
    "lzw.tif": lambda image, n: by_pillow(image, "TIFF", tiffinfo={274: n}, compression="tiff_lzw"),
    "x.png": lambda image, n: by_pillow(image, "PNG", exif=exif(n)),
    "end.png": png_at_the_end,
    "x.webp": lambda image, n: by_pillow(image, "WEBP", exif=exif(n), lossless=True),
    "x.avif": lambda image, n: by_pillow(image, "AVIF", exif=exif(n), quality=100),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", MAKERS)
def test_files_are_read_upright(tmp_path, name, orientation):
    for stored in (scene(), heat()):
        data = MAKERS[name](stored, orientation)
        expected = oriented(stored, orientation)
        image, notes = read(tmp_path / name, data)
        assert file_size(tmp_path / name) == image.shape[:2] == expected.shape[:2]
        image = image[..., 0] if image.ndim > expected.ndim else image  # WebP and AVIF know no gray
        # Lossy formats are near; another orientation would be some 80 levels away on average.
        assert np.abs(image.astype(int) - expected).mean() < (5 if name.endswith(("jpg", "avif")) else 1e-9)
        assert notes == []


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_eight_values_as_pillow_has_them(orientation):
    for stored in (scene(), heat()):
        image = Image.fromarray(stored)
        image.getexif()[274] = orientation
        np.testing.assert_array_equal(oriented(stored, orientation), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("orientation", [3, 6])
def test_deep_tiff_is_turned_too(tmp_path, dtype, orientation):
    stored = heat().astype(dtype) * 100
    image, _ = read(tmp_path / "x.tif", tiff(stored, orientation), (0, 25500))
    np.testing.assert_allclose(image, oriented(stored, orientation) * (65535 / 25500), atol=0.51)


@pytest.mark.parametrize("block", [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0" + b"\xff" * 30, exif(0), exif(9)])
def test_a_broken_exif_block_changes_nothing(tmp_path, block):
    plain, _ = read(tmp_path / "plain.jpg", by_pillow(scene(), "JPEG"))
    data = by_pillow(scene(), "JPEG", exif=block) if block else by_pillow(scene(), "JPEG")
    image, _ = read(tmp_path / "x.jpg", data)
    np.testing.assert_array_equal(image, plain)
    assert images.read(tmp_path / "x.jpg").shape[:2] == file_size(tmp_path / "x.jpg")
