"""Which decoder reads a file: decided by its first bytes, not by its name. The table of docs/formats.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fusion.reading import medical, plain, rare, tiff, webp
from fusion.reading.samples import Samples

HEAD = 352  # bytes that tell a kind: NIfTI's mark is the last of its header

WRITTEN = (".png", ".tif", ".tiff", ".bmp", ".webp", ".jpg", ".jpeg")
MORE = (".jpe", ".jfif", ".dib", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm", ".avif", ".tga", ".npy")
MEDICAL = (".dcm", ".dicom", ".nii", ".nii.gz")
SUFFIXES = WRITTEN + MORE + MEDICAL


class Kind(NamedTuple):
    """A format: how it is told by its first bytes (and suffix), and who reads it."""

    name: str
    told: Callable[[bytes, str], bool]
    decode: Callable[[bytes, str | Path], Samples]


def _brand(*brands: bytes) -> Callable[[bytes, str], bool]:
    """ISO media files say what they are in their first box."""
    return lambda head, _: head[4:8] == b"ftyp" and any(brand in head[8:32] for brand in brands)


def _starts(*marks: bytes) -> Callable[[bytes, str], bool]:
    return lambda head, _: head.startswith(marks)


def _tga(head: bytes, suffix: str) -> bool:
    return suffix == ".tga" and len(head) > 18 and head[2] in (1, 2, 3, 9, 10, 11)


def _nifti(head: bytes, suffix: str) -> bool:
    return head[344:348] in (b"n+1\0", b"ni1\0") or (suffix == ".gz" and head.startswith(b"\x1f\x8b"))


KINDS = (
    Kind("JPEG", _starts(b"\xff\xd8"), plain.jpeg),
    Kind("PNG", _starts(b"\x89PNG\r\n\x1a\n"), plain.png),
    Kind("TIFF", _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff.decode),
    Kind("WebP", lambda head, _: head.startswith(b"RIFF") and head[8:12] == b"WEBP", webp.decode),
    Kind("BMP", _starts(b"BM"), plain.bmp),
    Kind("AVIF", _brand(b"avif", b"avis"), rare.by_pillow),
    Kind("JPEG 2000", _starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), rare.jpeg2000),
    Kind("Netpbm", lambda head, _: head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace(), rare.netpbm),
    Kind("NumPy", _starts(b"\x93NUMPY"), rare.array),
    Kind("DICOM", lambda head, _: head[128:132] == b"DICM", medical.dicom),
    Kind("NIfTI", _nifti, medical.nifti),
    Kind("TGA", _tga, rare.by_pillow),
    Kind("DIB", lambda head, suffix: suffix == ".dib" and head[:4] == b"\x28\0\0\0", rare.by_pillow),
)

STRANGERS = (
    ("a GIF, whose frames are read as a video", _starts(b"GIF8")),
    ("HEIC: save it as PNG", _brand(b"heic", b"heix", b"mif1", b"msf1", b"hevc")),
    ("JPEG XL: save it as PNG", _starts(b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    ("JPEG XR: save it as PNG or TIFF", _starts(b"II\xbc\x01")),
    ("a PFM: save it as TIFF or .npy", _starts(b"Pf\n", b"PF\n")),
    ("a PAM: save it as PNG", _starts(b"P7\n")),
    ("FLIR's raw format (FFF, SEQ): export it as radiometric JPEG or TIFF", _starts(b"FFF\0", b"AFF\0")),
    ("OpenEXR: save it as TIFF", _starts(b"\x76\x2f\x31\x01")),
    ("Radiance HDR: save it as TIFF", _starts(b"#?RADIANCE", b"#?RGBE")),
    ("a Photoshop file: save it as TIFF", _starts(b"8BPS")),
    ("a video", lambda head, _: head[4:8] == b"ftyp" or head[8:12] == b"AVI " or head[:4] == b"\x1a\x45\xdf\xa3"),
    ("a Git LFS pointer: fetch the file itself (git lfs pull)", _starts(b"version https://git-lfs")),
    ("a web page: the download went wrong", lambda head, _: head.lstrip()[:9].lower() in (b"<!doctype", b"<html>")),
    ("a PDF", _starts(b"%PDF")),
    ("an SVG", lambda head, _: head.lstrip()[:4] in (b"<svg", b"<?xm")),
    ("compressed: unpack it first", _starts(b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf")),
    ("an HDF5 or MATLAB file: save its arrays as .npy or TIFF", _starts(b"\x89HDF", b"MATLAB")),
)


def kind_of(head: bytes, path: str | Path) -> Kind:
    """Who reads a file of these first bytes. Raises ValueError for one that nobody does."""
    suffix = Path(path).suffix.lower()
    for kind in KINDS:
        if kind.told(head, suffix):
            return kind
    what = "empty" if not head else next((text for text, is_it in STRANGERS if is_it(head, suffix)), "")
    known = ", ".join(kind.name for kind in KINDS)
    raise ValueError(f"{path} cannot be decoded: it is {what or 'of no kind that is read here'} (read are {known})")


def is_picture(path: str | Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return Path(path).name.lower().endswith(SUFFIXES)


def stranger(path: str | Path) -> str:
    """What a file is that is no picture read here and no video: in words, or nothing. Raises OSError."""
    what = told(path)
    return "" if what.startswith(("a video", "a GIF")) else what


def told(path: str | Path) -> str:
    """What a file is that is no picture read here: in words, or nothing. A GIF and a video are told, too."""
    with Path(path).open("rb") as file:
        head = file.read(HEAD)
    return next((text for text, is_it in STRANGERS if is_it(head, "")), "")


def holds_picture(path: str | Path) -> bool:
    """Whether a file is a picture by its name or by its first bytes. Raises OSError."""
    if is_picture(path):
        return True
    with Path(path).open("rb") as file:
        head = file.read(HEAD)
    return any(kind.told(head, Path(path).suffix.lower()) for kind in KINDS)
