"""WebP: what is whole is read, and what is damaged is refused, though lossy files carry no checksum."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from fusion import images
from tests.reading.made import by_pillow, exif, read

KINDS = {
    "noise": lambda r: r.integers(0, 255, (120, 160, 3)).astype(np.uint8),
    "black": lambda r: np.zeros((240, 320, 3), np.uint8),
    "box": lambda r: np.pad(r.integers(0, 255, (60, 90, 3)).astype(np.uint8), [(50, 90), (70, 100), (0, 0)]),
    "ramp": lambda r: np.repeat(np.tile(np.linspace(0, 255, 301).astype(np.uint8), (203, 1))[..., None], 3, axis=2),
}


@pytest.mark.parametrize("quality", [1, 80, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_read_as_pillow_reads_them(tmp_path, kind, quality):
    image = KINDS[kind](np.random.default_rng(0))
    data = by_pillow(image, "WEBP", quality=quality, exif=exif(1))
    got, notes = read(tmp_path / "x.webp", data)
    np.testing.assert_array_equal(got, np.asarray(Image.open(io.BytesIO(data))))
    assert notes == []


def test_lossy_with_transparency_is_read(tmp_path):
    image = np.dstack([KINDS["noise"](np.random.default_rng(0)), np.full((120, 160), 255, np.uint8)])
    image[:20, :20, 3] = 128
    got, _ = read(tmp_path / "x.webp", by_pillow(image, "WEBP", quality=80))
    assert got.shape == (120, 160, 3)


@pytest.mark.parametrize("zeros", [3, 8, 9, 100, 4096])
@pytest.mark.parametrize("kind", ["noise", "box"])
def test_a_stream_filled_up_with_zeros_is_read(tmp_path, kind, zeros):
    data = by_pillow(KINDS[kind](np.random.default_rng(0)), "WEBP", quality=80)
    plain, _ = read(tmp_path / "plain.webp", data)
    stream = data[20:] + bytes(zeros + (len(data) + zeros) % 2)
    filled = data[:4] + (len(stream) + 12).to_bytes(4, "little") + data[8:16] + len(stream).to_bytes(4, "little")
    np.testing.assert_array_equal(read(tmp_path / "x.webp", filled + stream)[0], plain)


@pytest.mark.parametrize("lost", [0.01, 0.1, 0.5])
def test_the_end_overwritten_by_zeros_is_damage(tmp_path, lost):
    data = by_pillow(KINDS["noise"](np.random.default_rng(0)), "WEBP", quality=80)
    number = int(lost * len(data))
    with pytest.raises(ValueError, match=r"x\.webp is damaged"):
        read(tmp_path / "x.webp", data[:-number] + bytes(number))


# Of a single bit a stream may recover: a coefficient has another sign, and nothing tells.
DAMAGE = {
    "zeros": lambda part, r: bytes(len(part)),
    "another file": lambda part, r: r.bytes(len(part)),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("where", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("inside_tiff", [False, True])
def test_damage_is_refused(tmp_path, damage, where, inside_tiff):
    random = np.random.default_rng(1)
    image = KINDS["noise"](random)
    file = io.BytesIO(by_pillow(image, "WEBP", quality=80))
    if inside_tiff:
        file = io.BytesIO()
        tifffile.imwrite(
            file, image, photometric="rgb", compression="webp", compressionargs={"level": 80, "lossless": False}
        )
    data = file.getvalue()
    at = data.index(b"VP8 ") + int(where * (len(data) - data.index(b"VP8 ")))
    data = data[:at] + DAMAGE[damage](data[at : at + 500], random) + data[at + 500 :]
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged|cannot be decoded"):
        images.read(tmp_path / "x")
