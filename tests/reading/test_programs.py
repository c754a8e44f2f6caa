"""The programs on pictures as cameras write them: the picture that the plain files give, or one line."""

from __future__ import annotations

import io
import shutil
import warnings

import cv2
import numpy as np
import pytest
import tifffile

import fusion
from fusion import images, infer
from tests.reading.made import by_pillow, exif, heat, read, scene
from tests.reading.test_rare import npy


def tiff(image: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


@pytest.fixture
def plain(tmp_path):
    """What `average` makes of the plain pair."""
    (tmp_path / "plain.png").write_bytes(by_pillow(heat(), "PNG"))
    (tmp_path / "plain_vi.png").write_bytes(by_pillow(scene(), "PNG"))
    return fusion.fuse(fusion.load("average"), tmp_path / "plain.png", tmp_path / "plain_vi.png")


STORED = {
    "pgm and ppm": ("ir.pgm", lambda: by_pillow(heat(), "PPM"), "vi.ppm", lambda: by_pillow(scene(), "PPM")),
    "npy and tga": ("ir.npy", lambda: npy(heat()), "vi.tga", lambda: by_pillow(scene(), "TGA")),
    "no suffix at all": ("ir", lambda: by_pillow(heat(), "PNG"), "vi", lambda: by_pillow(scene(), "TIFF")),
    "planes": ("ir.tif", lambda: tiff(heat(), photometric="minisblack"), "vi.tif", lambda: planes(scene())),
    "white low": (
        "ir.tif",
        lambda: tiff(~heat(), photometric="miniswhite"),
        "vi.bmp",
        lambda: by_pillow(scene(), "BMP"),
    ),
    "turned": (
        "ir.png",
        lambda: by_pillow(np.rot90(heat(), 1).copy(), "PNG", exif=exif(6)),
        "vi.webp",
        lambda: by_pillow(scene()[::-1, ::-1].copy(), "WEBP", lossless=True, exif=exif(3)),
    ),
}


def planes(image: np.ndarray) -> bytes:
    return tiff(np.moveaxis(image, -1, 0), photometric="rgb", planarconfig="separate")


@pytest.mark.parametrize(
    ("kind", "folders"),
    [(kind, False) for kind in STORED] + [(kind, True) for kind in STORED if kind != "no suffix at all"],
)
def test_fuse_py(run, tmp_path, plain, kind, folders):
    """In a folder the suffix says what is a picture."""
    ir_name, ir, vis_name, vis = STORED[kind]
    if folders:
        ir_name, vis_name = (f"{side}/x.{name.split('.')[1]}" for side, name in (("ir", ir_name), ("vi", vis_name)))
    for name, made in ((ir_name, ir), (vis_name, vis)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(made())
    sources = (tmp_path / "ir", tmp_path / "vi") if folders else (tmp_path / ir_name, tmp_path / vis_name)
    out = tmp_path / "out" / "x.png"
    status, _, errors = run("scripts/fuse.py", *sources, "-o", out.parent if folders else out, "--model", "average")
    assert (status, errors) == (0, "")
    np.testing.assert_array_equal(images.read(out), plain)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("vi.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "vi.heic is no kind of picture or video that is read here"),
        ("vi.pdf", b"%PDF-1.7", "vi.pdf is no kind of picture or video that is read here: it is a PDF"),
        ("vi.jpg", b"<!doctype html>", "vi.jpg cannot be decoded: it is a web page"),
        ("vi.png", by_pillow(scene(), "PNG")[:-99], "vi.png is truncated"),
    ],
)
def test_fuse_py_names_what_it_cannot_read(run, tmp_path, name, content, line):
    (tmp_path / "ir.png").write_bytes(by_pillow(heat(), "PNG"))
    (tmp_path / name).write_bytes(content)
    call = [tmp_path / "ir.png", tmp_path / name, "-o", tmp_path / "out.png", "--model", "average"]
    status, _, errors = run("scripts/fuse.py", *call)
    assert status in (1, 2)
    assert errors.startswith("error: ")
    assert line in errors
    assert errors.count("\n") == 1


def test_two_pictures_are_no_video(run, tmp_path):
    for name, image in (("ir.pgm", heat()), ("vi.pgm", heat())):
        (tmp_path / name).write_bytes(by_pillow(image, "PPM"))
    status, _, errors = run("scripts/fuse.py", tmp_path / "ir.pgm", tmp_path / "vi.pgm", "-o", tmp_path / "out.mp4")
    assert status == 2
    assert "a picture is written as one of .png" in errors


def test_notes_name_the_file_and_come_once(run, tmp_path):
    for i in range(3):
        for side, data in (
            ("ir", tiff(np.stack([heat()] * 2), photometric="minisblack")),
            ("vi", by_pillow(scene(), "PNG")),
        ):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / f"{i}.{'tif' if side == 'ir' else 'png'}").write_bytes(data)
    status, _, errors = run(
        "scripts/fuse.py", tmp_path / "ir", tmp_path / "vi", "-o", tmp_path / "o", "--model", "average"
    )
    assert status == 0
    assert errors.count("note: ") == 1
    assert "0.tif holds 2 pages" in errors


def test_a_note_survives_a_thread_that_compiles(recwarn):
    """numba records all warnings of the process meanwhile and issues them anew, as `warn_explicit` has it."""
    from numba.core.errors import NumbaWarning, WarningsFixer

    from fusion.reading.samples import Note, once

    shown = []
    with WarningsFixer(NumbaWarning).catch_warnings():
        warnings.warn(Note("x.png is radiometric", "radiometric"), stacklevel=1)
    show = once(shown.append)
    for caught in recwarn:
        show(caught.message, caught.category)
    assert shown == ["x.png is radiometric"]


def test_score_py_says_what_it_took_counts_for(run, tmp_path):
    for i in range(2):
        raw = 7000 + 8 * heat(96, 128).astype(np.uint16)
        for side, image in (("ir", raw), ("vi", scene(96, 128)), ("fused", heat(96, 128))):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / f"{i}.png").write_bytes(cv2.imencode(".png", image)[1])
    call = ["--metrics", "MI", "--csv", tmp_path / "x.csv"]
    for side in ("ir", "vis", "fused"):
        call += [f"--{side}", tmp_path / side.replace("vis", "vi")]
    status, _, errors = run("scripts/score.py", *call)
    assert status == 0
    assert "ir uses 3.1% of its 16 bits: 7000 becomes black and 9040 white" in errors
    # The stretched source is the fused picture itself: MI with it is its entropy, which flat gray would not give.
    values = (tmp_path / "x.csv").read_text().splitlines()[1].split(",")
    expected = fusion.evaluate(heat(96, 128), heat(96, 128), tmp_path / "vi" / "0.png")["MI"]
    assert float(values[1]) == pytest.approx(expected, rel=1e-12)


def test_make_patches_keeps_patches_of_raw_counts(run, tmp_path):
    for side, image in (("ir", 29000 + 6 * heat(96, 128).astype(np.uint16)), ("vi", scene(96, 128))):
        (tmp_path / side).mkdir()
        (tmp_path / side / "x.png").write_bytes(cv2.imencode(".png", image)[1])
    status, out, errors = run(
        "scripts/make_patches.py", tmp_path, "-o", tmp_path / "x.h5", "--size", 64, "--stride", 32
    )
    assert status == 0
    assert "6 patches kept, 0 dropped" in out
    assert "of its 16 bits: 29000 becomes black" in errors


# --- whose colour ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [0, 1, 30])
@pytest.mark.parametrize("turned", [False, True])
def test_a_coloured_mark_on_a_gray_slice_is_not_the_colour_of_the_pair(mark, turned):
    pet, mri = scene(96, 128), np.repeat(heat(96, 128)[..., None], 3, axis=2)
    mri[:1, :mark] = (255, 0, 0)
    pair = (mri, pet) if turned else (pet, mri)
    assert infer.colour_source(*pair, "medical") is pet


def test_a_little_colour_of_the_visible_picture_is_kept():
    vis = np.repeat(heat()[..., None], 3, axis=2)
    assert infer.colour_source(scene(), vis, "infrared-visible") is None
    vis[3, 4] = (255, 0, 0)
    assert infer.colour_source(heat(), vis, "infrared-visible") is vis
    assert infer.colour_source(heat(), vis, "medical") is vis


# --- the cases that were reported -----------------------------------------------------------------------------------

CASES = ("01-exif180-visible", "02-exif90-visible", "03c-exif-mirrored", "05a-raw14-counts", "11-float16-tiff")
CASES += ("29-motion-photo", "32-flir-rjpeg")


def turned(image):
    """The eight mirrored and quarter-turned forms of a picture, itself first."""
    return [form for picture in (image, image[:, ::-1]) for form in (np.rot90(picture, k) for k in range(4))]


def test_reported_cases_give_the_picture_of_the_plain_files(root, shared):
    """The expected pictures are of earlier weights, so grey levels may differ and what is where may not."""
    network = fusion.load("swift", root / "models" / "swift_msrs.safetensors")
    for case in CASES:
        folder = shared / "reports" / "cases" / case
        (ir,), (vis,) = (list(folder.glob(f"{side}.*")) for side in ("ir", "vi"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fused = images.luminance(fusion.fuse(network, ir, vis))
        expected = images.luminance(images.read(folder / "expected.png"))
        alike = [np.corrcoef(fused.ravel(), x.ravel())[0, 1] for x in turned(expected) if x.shape == fused.shape]
        assert alike[0] > 0.9, case
        assert alike[0] > max(alike[1:]) + 0.1, case


def test_the_pictures_on_the_page_are_upright(tmp_path):
    from fusion import page

    (tmp_path / "vi.jpg").write_bytes(by_pillow(scene(), "JPEG", exif=exif(6)))
    shutil.copy(tmp_path / "vi.jpg", tmp_path / "ir.jpg")
    page.add_sources(tmp_path / "out", "x", [("a", tmp_path / "ir.jpg", tmp_path / "vi.jpg")])
    shown = images.read(tmp_path / "out" / "index_files" / "x" / "vis" / "a.png")
    np.testing.assert_array_equal(shown, read(tmp_path / "y.jpg", (tmp_path / "vi.jpg").read_bytes())[0])
