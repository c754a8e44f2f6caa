"""What samples mean: decided in one place, said once, the same for all pictures of a set and in every program."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

import fusion
from fusion import images, infer
from fusion.data.folder import FolderData
from fusion.data.patches import Options, write_patches
from fusion.metrics import scoring
from fusion.reading import Range, of_pair, once, parse, set_range
from fusion.reading.samples import Note
from tests.reading.made import heat, read, scene

TOP = 65535


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def counts(low: float, step: float, picture: np.ndarray | None = None, dtype=np.uint16) -> np.ndarray:
    return (low + step * (heat() if picture is None else picture).astype(float)).astype(dtype)


RAW = {
    "14-bit counts": counts(7000, 8),
    "bright counts": counts(51241, 4),
    "centikelvin": counts(29000, 6),
    "14 of 16 bits": counts(0, 64),
    "12 of 16 bits": counts(0, 16),
    "10 of 16 bits": counts(0, 4),
}


@pytest.mark.parametrize("name", RAW)
def test_auto_stretches_what_uses_a_fraction_and_says_so(tmp_path, name):
    image, notes = read(tmp_path / "x.png", png(RAW[name]), "auto")
    np.testing.assert_allclose(image, heat() * 257.0, atol=0.51)
    assert len(notes) == 1
    for part in ("x.png uses", "of its 16 bits", "--range full", "LOW..HIGH", f"{RAW[name].min()} becomes black"):
        assert part in notes[0]


WHOLE = {
    "8 bits": heat(),
    "16 bits": heat().astype(np.uint16) * 257,
    "narrow 8 bits": heat() // 8 + 100,
    "narrow 8 bits in 16": (heat() // 8 + 100).astype(np.uint16) * 257,
    "8 bits shifted": (heat() // 8 + 100).astype(np.uint16) << 8,
    "half of 16 bits": counts(1000, 128),
}


@pytest.mark.parametrize("name", WHOLE)
def test_auto_leaves_the_others_alone(tmp_path, name):
    image, notes = read(tmp_path / "x.png", png(WHOLE[name]), "auto")
    np.testing.assert_array_equal(image, WHOLE[name])
    assert notes == []


def test_dead_pixels_do_not_decide(tmp_path):
    raw = counts(7000, 8, heat(100, 100))
    raw[3, 4], raw[50, 60] = 0, TOP
    image, notes = read(tmp_path / "x.png", png(raw), "auto")
    expected = np.clip((raw - 7000.0) / (8 * 255), 0, 1) * TOP
    assert np.abs(image - expected).mean() < 0.01 * TOP
    assert "becomes black" in notes[0]


@pytest.mark.parametrize("how", ["full", None])
def test_full_is_as_stored(tmp_path, how):
    image, notes = read(tmp_path / "x.png", png(RAW["14-bit counts"]), how)
    np.testing.assert_array_equal(image, RAW["14-bit counts"])
    assert notes == []


@pytest.mark.parametrize("how", ["7000..9040", (7000, 9040), Range(7000, 9040)])
def test_low_and_high_are_the_samples_own(tmp_path, how):
    image, notes = read(tmp_path / "x.png", png(counts(6500, 10)), how)
    expected = np.clip((counts(6500, 10) - 7000.0) / 2040, 0, 1) * TOP
    np.testing.assert_allclose(image, expected, atol=0.51)
    assert notes == []


def test_degrees_by_low_and_high(tmp_path):
    celsius = (heat() / 255 * 60 - 20).astype(np.float32)
    tifffile.imwrite(tmp_path / "x.tif", celsius, photometric="minisblack")
    expected = np.clip((celsius.astype(float) + 20) / 60, 0, 1) * TOP
    np.testing.assert_allclose(images.read(tmp_path / "x.tif", "-20..40"), expected, atol=0.51)


def test_percentiles(tmp_path):
    raw = counts(7000, 8, heat(100, 100))
    low, high = np.percentile(raw, (1, 99))
    image, _ = read(tmp_path / "x.png", png(raw), "percentile")
    expected = np.clip((raw - low) / (high - low), 0, 1) * TOP
    np.testing.assert_allclose(image, expected, atol=0.51)


def test_full_of_what_has_no_range_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", heat().astype(np.float32), photometric="minisblack")
    with pytest.raises(ValueError, match=r"x\.tif holds float32 samples from 0 to 255, which have no full range"):
        images.read(tmp_path / "x.tif", "full")


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int16])
def test_a_constant_picture_is_black(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "x.tif", np.full((9, 9), 7000, dtype), photometric="minisblack")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        assert not images.read(tmp_path / "x.tif", "auto").any()


@pytest.mark.parametrize("bad", ["", "min", "9..3", "3..3", "a..b", "1..inf", "7000", "..", "1..2,auto,full"])
def test_what_is_no_range(bad):
    with pytest.raises(ValueError, match=r"range: expected auto, full, percentile or LOW\.\.HIGH"):
        of_pair(bad)


def test_one_value_is_of_the_infrared_picture():
    assert of_pair("auto") == ("auto", "auto")
    assert of_pair("full") == ("full", "full")
    assert of_pair("7000..9040") == (Range(7000, 9040), "auto")
    assert of_pair("percentile, 0..4095") == ("percentile", Range(0, 4095))
    assert parse("-20..40.5") == Range(-20, 40.5)


# --- sets -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def warm(tmp_path) -> Path:
    """Three scenes of raw counts, each warmer than the one before, with 8-bit visible partners."""
    for folder in ("ir", "vi"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for i in range(3):
        (tmp_path / "set" / "ir" / f"{i}.png").write_bytes(png(counts(7000 + 500 * i, 2, heat(96, 128))))
        (tmp_path / "set" / "vi" / f"{i}.png").write_bytes(png(scene(96, 128)))
    return tmp_path / "set"


LOW, HIGH = 7000, 8000 + 2 * 255


def stretched(i: int) -> np.ndarray:
    return np.rint((counts(7000 + 500 * i, 2, heat(96, 128)) - float(LOW)) / (HIGH - LOW) * TOP)


def test_one_range_for_all_pictures(warm):
    paths = sorted((warm / "ir").iterdir())
    with pytest.warns(Note, match=r"ir uses 2\.3% of its 16 bits: 7000 becomes black and 8510 white"):
        how = set_range(paths)
    for i, path in enumerate(paths):
        np.testing.assert_array_equal(images.read(path, how), stretched(i))
    assert set_range(sorted((warm / "vi").iterdir())) == "full"


def test_percentiles_of_all_pictures(warm):
    paths = sorted((warm / "ir").iterdir())
    every = np.concatenate([counts(7000 + 500 * i, 2, heat(96, 128)).ravel() for i in range(3)])
    np.testing.assert_allclose(set_range(paths, "percentile")[:2], np.percentile(every, (1, 99)), atol=2)


def test_8_bit_pictures_in_a_deep_set_stay(warm):
    (warm / "ir" / "0.png").write_bytes(png(heat(96, 128)))
    with pytest.warns(Note):
        how = set_range(sorted((warm / "ir").iterdir()))
    np.testing.assert_array_equal(images.read(warm / "ir" / "0.png", how), heat(96, 128))


def test_a_set_of_which_some_pictures_are_narrow(warm):
    """A fire among raw counts widens the range of all, and is said; one dark scene among others changes nothing."""
    wide = counts(7000, 150, heat(96, 128))
    (warm / "ir" / "2.png").write_bytes(png(wide))
    with pytest.warns(
        Note, match="2 of 3 use less than a quarter of their 16 bits: 7000 becomes black and 45250 white"
    ):
        assert set_range(sorted((warm / "ir").iterdir()))[:2] == (7000, 45250)
    (warm / "ir" / "1.png").write_bytes(png(wide))
    with pytest.warns(Note, match="1 of 3 pictures use less than a quarter of their 16 bits, the others more"):
        assert set_range(sorted((warm / "ir").iterdir())) == "full"


def test_a_black_frame_changes_nothing(warm):
    (warm / "ir" / "x.png").write_bytes(png(np.zeros((96, 128), np.uint16)))
    with pytest.warns(Note, match="7000 becomes black and 8510 white"):
        set_range(sorted((warm / "ir").iterdir()))


def test_training_data(warm, tmp_path):
    with pytest.warns(Note, match="of its 16 bits"):
        data = FolderData(root=str(warm))
    np.testing.assert_allclose(data[1]["ir"][0] * TOP, stretched(1), atol=0.01)
    stored = FolderData(root=str(warm), range="full")
    np.testing.assert_allclose(stored[1]["ir"][0] * TOP, counts(7500, 2, heat(96, 128)), atol=0.01)
    with pytest.warns(Note, match="of its 16 bits"):
        written = write_patches(data.pairs, tmp_path / "x.h5", Options(size=64, stride=32))
    assert written.dropped == 0
    with pytest.raises(ValueError, match="no patch to keep"):  # as counts of 65535 nothing has contrast
        write_patches(data.pairs, tmp_path / "y.h5", Options(size=64, stride=32, range="full"))


def test_scores_see_what_was_fused(warm, tmp_path):
    network = fusion.load("average")
    with pytest.warns(Note):
        ranges = images.ranges_of(FolderData(root=str(warm)).pairs)
    for i in range(3):
        ir, vis = images.read(warm / "ir" / f"{i}.png", ranges[0]), images.read(warm / "vi" / f"{i}.png", ranges[1])
        images.write(tmp_path / "fused" / f"{i}.png", infer.fuse(network, ir, vis, range="full"))
    with pytest.warns(Note):
        found = scoring.find(tmp_path / "fused", warm / "ir", warm / "vi")
    scored = scoring.score(found.triples[1], ["cddfuse/MI", "cddfuse/SD"])
    plain = fusion.evaluate(
        tmp_path / "fused" / "1.png", np.rint(stretched(1)).astype(np.uint16), warm / "vi" / "1.png", range="full"
    )
    assert scored.values["cddfuse/MI"] == plain["MI"]


# --- in Python ------------------------------------------------------------------------------------------------------


def test_fusing_arrays_and_files_of_raw_counts(tmp_path):
    network, raw = fusion.load("average"), RAW["14-bit counts"]
    expected = fusion.fuse(network, heat().astype(np.uint16) * 257, scene())
    (tmp_path / "ir.png").write_bytes(png(raw))
    for picture, name in ((raw, "ir"), (raw.astype(">u2"), "ir"), (tmp_path / "ir.png", "ir.png")):
        with pytest.warns(Note, match=rf"{name} uses 3\.1% of its 16 bits"):
            np.testing.assert_array_equal(fusion.fuse(network, picture, scene()), expected)
        np.testing.assert_array_equal(fusion.fuse(network, picture, scene(), range="7000..9040"), expected)
    celsius = heat() / 255 * 60 - 20
    np.testing.assert_array_equal(fusion.fuse(network, celsius, scene(), range="-20..40"), expected)


@pytest.mark.parametrize("bad", [heat().astype(np.float32), heat() > 9, np.full((24, 36), np.nan)])
def test_floats_without_a_range_are_refused_as_before(bad):
    with pytest.raises(ValueError, match="expected"):
        fusion.fuse(fusion.load("average"), bad, scene())


# --- notes ----------------------------------------------------------------------------------------------------------


def test_one_note_of_a_kind():
    shown = []
    show = once(shown.append)
    for text in ("a.png has x", "b.png has x"):
        show(Note(text, "x"))
        show(Note(text.replace("x", "y"), "y"))
        show(UserWarning("other"))
    assert shown == ["a.png has x", "a.png has y", "other", "other"]


def test_fuse_py_says_it_once_and_shares_the_range(run, warm, tmp_path):
    call = ["scripts/fuse.py", warm / "ir", warm / "vi", "--model", "average"]
    status, _, errors = run(*call, "-o", tmp_path / "auto")
    assert (status, errors.count("note:")) == (0, 1)
    assert "of its 16 bits: 7000 becomes black and 8510 white" in errors
    network = fusion.load("average")
    for i in range(3):
        expected = fusion.fuse(network, stretched(i).astype(np.uint16), scene(96, 128)[..., ::-1].copy(), range="full")
        np.testing.assert_array_equal(images.read(tmp_path / "auto" / f"{i}.png"), expected)
    # Another range is another picture, also where the first one lies.
    assert "3 fused" in run(*call, "-o", tmp_path / "auto", "--range", "7000..9000")[1]
    assert "3 were there" in run(*call, "-o", tmp_path / "auto", "--range", "7000..9000")[1]
    status, _, errors = run(*call, "-o", tmp_path / "x", "--range", "9000..7000")
    assert (status, errors.count("\n")) == (2, 1)
    assert "range: expected auto, full, percentile or LOW..HIGH" in errors


@pytest.mark.parametrize("stated", [f"'{LOW}..{HIGH}'", f"[{LOW}, {HIGH}]", "auto"])
def test_test_py_fuses_and_scores_in_the_range_of_the_set(run, warm, tmp_path, stated):
    config = tmp_path / "x.yml"
    config.write_text(
        f"out: {tmp_path / 'out'}\nmodels: [{{name: average}}]\n"
        f"datasets: [{{name: warm, root: {warm}, range: {stated}}}]\nmetrics: {{names: [MI]}}\n"
    )
    status, _, errors = run("test.py", "-opt", config)
    assert status == 0, errors
    for i in range(3):
        fused = tmp_path / "out" / "warm" / "average" / f"{i}.png"
        ir = stretched(i).astype(np.uint16)
        np.testing.assert_array_equal(
            images.read(fused), fusion.fuse(fusion.load("average"), ir, warm / "vi" / f"{i}.png", range="full")
        )
        shown = images.read(tmp_path / "out" / "index_files" / "warm" / "ir" / f"{i}.png")
        np.testing.assert_array_equal(shown, np.rint(ir / np.float32(257)))
    status, _, errors = run("test.py", "-opt", config, "datasets.0.range=nonsense")
    assert status == 2
    assert "range: expected auto" in errors
