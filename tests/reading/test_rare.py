"""Other formats: read like their PNG twin, or refused by what they are; Pillow images and arrays in Python."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image

import fusion
from fusion import images, infer
from fusion.reading.kinds import KINDS, SUFFIXES
from tests.reading.made import by_pillow, exif, heat, read, scene


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


LOSSLESS = {
    "x.pgm": lambda: (by_pillow(heat(), "PPM"), heat()),
    "x.ppm": lambda: (by_pillow(scene(), "PPM"), scene()),
    "x.pbm": lambda: (by_pillow(heat() > 99, "PPM"), (heat() > 99) * np.uint8(255)),
    "plain.pgm": lambda: (b"P2\n2 2\n255\n0 1\n2 255\n", np.array([[0, 1], [2, 255]], np.uint8)),
    "x.jp2": lambda: (imagecodecs.jpeg2k_encode(scene(), level=0), scene()),
    "gray.jp2": lambda: (imagecodecs.jpeg2k_encode(heat().astype(np.uint16) * 257, level=0), heat() * np.uint16(257)),
    "x.j2k": lambda: (imagecodecs.jpeg2k_encode(heat(), level=0, codecformat="j2k"), heat()),
    "x.tga": lambda: (by_pillow(scene(), "TGA"), scene()),
    "rle.tga": lambda: (by_pillow(heat(), "TGA", compression="tga_rle"), heat()),
    "x.dib": lambda: (by_pillow(scene(), "DIB"), scene()),
    "file.dib": lambda: (by_pillow(scene(), "BMP"), scene()),
    "x.npy": lambda: (npy(scene()), scene()),
    "chw.npy": lambda: (npy(np.moveaxis(scene(), -1, 0)), scene()),
    "hw1.npy": lambda: (npy(heat()[..., None]), heat()),
    "big.npy": lambda: (npy(heat().astype(">u2") * 257), heat() * np.uint16(257)),
    "bool.npy": lambda: (npy(heat() > 99), (heat() > 99) * np.uint8(255)),
    "a.png": lambda: (by_pillow(scene(), "BMP"), scene()),  # content decides, not the name
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_read_like_their_twin(tmp_path, name):
    data, expected = LOSSLESS[name]()
    image, notes = read(tmp_path / name, data)
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == expected.dtype
    assert notes == []


@pytest.mark.parametrize("name", ["x.jfif", "x.jpe", "x.avif"])
def test_lossy_ones_are_near(tmp_path, name):
    data = by_pillow(scene(), "AVIF" if name == "x.avif" else "JPEG", quality=95)
    assert np.abs(read(tmp_path / name, data)[0].astype(int) - scene()).mean() < 5


@pytest.mark.parametrize("top", [1, 15, 100, 255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("colours", [1, 3])
def test_netpbm_counts_to_its_own_maximum(tmp_path, top, colours):
    picture = heat() if colours == 1 else scene()
    counts = np.rint(picture * (top / 255)).astype(np.uint8 if top < 256 else ">u2")
    head = f"P{5 if colours == 1 else 6}\n# made here\n36 24\n{top}\n".encode()
    image, _ = read(tmp_path / "x.pnm", head + counts.tobytes())
    full = 255 if top < 256 else 65535
    np.testing.assert_allclose(image, counts.astype(float) * full / top, atol=0.51)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_jpeg_2000_of_more_than_8_bits(tmp_path, bits):
    counts = np.rint(heat() * ((2**bits - 1) / 255)).astype(np.uint16)
    data = imagecodecs.jpeg2k_encode(counts, level=0, bitspersample=bits)
    image, _ = read(tmp_path / "x.jp2", data)
    np.testing.assert_array_equal(image, np.rint(counts.astype(float) * 65535 / (2**bits - 1)))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\xff\x0a" + b"\0" * 40, "JPEG XL"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"%PDF-1.7", "PDF"),
        (b"GIF89a" + b"\0" * 20, "GIF"),
        (b"II\xbc\x01" + b"\0" * 40, "JPEG XR"),
        (b"Pf\n2 2\n-1.0\n" + b"\0" * 16, "PFM"),
        (b"P7\nWIDTH 2\n", "PAM"),
        (b"FFF\0" + b"\0" * 400, "FLIR's raw format"),
        (b"hello", "of no kind that is read here"),
    ],
)
@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_strangers_are_named(tmp_path, name, content, what):
    with pytest.raises(ValueError, match=rf"cannot be decoded: it is .*{what}") as caught:
        read(tmp_path / name, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 3, 4, 5)),
        np.zeros(7),
        np.zeros((9, 9, 5)),
        np.array([["a"]]),
        np.zeros((3, 3), complex),
        np.zeros((0, 5)),
    ],
)
def test_arrays_that_are_no_pictures(tmp_path, values):
    with pytest.raises(ValueError, match=r"x\.npy holds an array .*: expected \(H, W\) or \(H, W, 3\)"):
        read(tmp_path / "x.npy", npy(values))


def test_an_array_larger_than_the_memory_is_one_line(tmp_path):
    file = io.BytesIO()
    head = {"descr": "|u1", "fortran_order": False, "shape": (10**7, 10**7)}
    np.lib.format.write_array_header_1_0(file, head)
    with pytest.raises(ValueError, match=r"x\.npy is larger than the memory, or its header is damaged") as caught:
        read(tmp_path / "x.npy", file.getvalue())
    assert "\n" not in str(caught.value)


def test_an_array_that_carries_code_is_refused(tmp_path):
    file = io.BytesIO()
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x\.npy cannot be decoded"):
        read(tmp_path / "x.npy", file.getvalue())


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s not in (".dcm", ".dicom", ".nii", ".nii.gz")])
def test_cut_files_are_refused(tmp_path, suffix):
    """Of every kind 60 % of the file."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    kinds = {".jp2": "JPEG2000", ".j2k": "JPEG2000", ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF", ".tga": "TGA"}
    kinds |= {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".dib": "DIB"}
    kinds |= dict.fromkeys((".pbm", ".pgm", ".ppm", ".pnm"), "PPM")
    data = npy(picture) if suffix == ".npy" else by_pillow(picture, kinds.get(suffix, "JPEG"))
    with pytest.raises(ValueError, match=r"is truncated|cannot be decoded|is damaged"):
        read(tmp_path / f"x{suffix}", data[: len(data) * 6 // 10])


def test_every_kind_is_documented(root):
    text = (root / "docs" / "formats.md").read_text(encoding="utf-8")
    missing = [kind.name for kind in KINDS if f"| {kind.name} |" not in text]
    assert missing == []
    assert [suffix for suffix in SUFFIXES if f"`{suffix}`" not in text] == []


# --- in Python ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LA", "PA", "I;16"])
def test_pillow_images_of_every_mode(mode):
    gray = mode in ("1", "L", "LA", "I;16")
    if mode == "I;16":
        image = Image.fromarray(heat().astype(np.uint16) * 257)
    elif mode in ("LA", "L", "1"):
        image = Image.fromarray(heat()).convert(mode)
    else:
        image = Image.fromarray(scene()).convert(mode)
    array = infer.as_array(image, "ir")
    expected = (
        np.asarray(image.convert("L" if mode != "I;16" else "I;16")) if gray else np.asarray(image.convert("RGB"))
    )
    np.testing.assert_array_equal(array, expected)


def test_a_pillow_image_is_turned_like_its_file(tmp_path):
    data = by_pillow(scene(), "JPEG", exif=exif(6))
    image, _ = read(tmp_path / "x.jpg", data)
    assert infer.as_array(Image.open(tmp_path / "x.jpg"), "vis").shape == image.shape


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4"])
def test_arrays_of_either_byte_order(dtype):
    values = (heat() / 255).astype(dtype) if "f" in dtype else (heat().astype(np.uint16) * 257).astype(dtype)
    network = fusion.load("average")
    expected = fusion.fuse(network, values.astype(dtype.replace(">", "<")), heat())
    np.testing.assert_array_equal(fusion.fuse(network, values, heat()), expected)


def test_a_network_of_half_precision_is_refused_in_one_line():
    for network in (fusion.load("swift").half(), fusion.load("swift").to(torch.bfloat16)):
        with pytest.raises(ValueError, match=r"the network is in torch\..*, expected float32: network\.float\(\)"):
            fusion.fuse(network, heat(64, 64), heat(64, 64))


def test_what_a_folder_lists(tmp_path):
    for name in ("a.pgm", "b.JFIF", "c.nii.gz", "d.txt", "e.gz", "f.npy"):
        (tmp_path / name).write_bytes(b"")
    assert sorted(p.name for p in tmp_path.iterdir() if images.is_picture(p)) == [
        "a.pgm",
        "b.JFIF",
        "c.nii.gz",
        "f.npy",
    ]
