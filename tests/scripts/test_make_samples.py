"""scripts/make_samples.py: the committed pairs are what it renders today, and what test_img/README.md promises."""

from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS, SAMPLE = ROOT / "scripts", ROOT / "test_img" / "sample"
PAIRS = {  # name: visible shape, infrared type
    "01_street_day": ((240, 320, 3), np.uint8),
    "02_street_night": ((241, 321, 3), np.uint8),
    "03_field_smoke": ((256, 256), np.uint8),
    "04_harbour_dusk": ((217, 383, 3), np.uint8),
    "05_house_wood": ((191, 255, 3), np.uint8),
    "06_parking_night": ((225, 300, 3), np.uint16),
    "07_road_fog": ((198, 352), np.uint8),
    "08_alley_day": ((271, 191, 3), np.uint8),
}


@pytest.fixture(scope="module")
def main():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        import make_samples

        yield make_samples.main


def pair(folder, name):
    """The two files as stored: infrared, visible (BGR or gray)."""
    ir, vis = (cv2.imread(str(folder / kind / f"{name}.png"), cv2.IMREAD_UNCHANGED) for kind in ("ir", "vi"))
    assert ir is not None, f"{folder}/ir/{name}.png is missing or broken"
    assert vis is not None, f"{folder}/vi/{name}.png is missing or broken"
    return ir, vis


@pytest.fixture(scope="module")
def rendered(main, tmp_path_factory):
    """All pairs rendered afresh."""
    folder = tmp_path_factory.mktemp("samples")
    assert main(["-o", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("name", PAIRS)
def test_committed_pixels_are_rendered_pixels(rendered, name):
    for new, old in zip(pair(rendered, name), pair(SAMPLE, name), strict=True):
        assert new.dtype == old.dtype
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("name", PAIRS)
def test_kind(name):
    (shape, dtype), (ir, vis) = PAIRS[name], pair(SAMPLE, name)
    assert (vis.shape, vis.dtype) == (shape, np.uint8)
    assert (ir.shape, ir.dtype) == (shape[:2], dtype)
    spread = np.ptp(vis.astype(int), axis=-1).max() if vis.ndim == 3 else 0
    assert (spread > 60) == (vis.ndim == 3 and name != "05_house_wood")  # 05 is gray in three channels


@pytest.mark.parametrize("name", PAIRS)
def test_pair_is_worth_fusing(name):
    """Both sources vary, the infrared one fills its range, and neither repeats the other."""
    ir, vis = pair(SAMPLE, name)
    ir = ir / (np.iinfo(ir.dtype).max / 255)
    vis = vis.astype(float) if vis.ndim == 2 else cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY).astype(float)
    assert min(ir.std(), vis.std()) > 15
    assert ir.min() == 0
    assert ir.max() == 255
    assert np.corrcoef(ir.ravel(), vis.ravel())[0, 1] < 0.9


def test_no_other_files_and_small():
    files = sorted(path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*") if path.is_file())
    assert files == sorted(f"{kind}/{name}.png" for kind in ("ir", "vi") for name in PAIRS)
    assert sum((SAMPLE / file).stat().st_size for file in files) < 1_500_000


def test_unknown_name_is_refused_in_one_line(main, tmp_path, capsys):
    assert main(["-o", str(tmp_path), "09_moon"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("No scene named '09_moon'. Known: 01_street_day")
    assert error.count("\n") == 1


def test_unwritable_folder_is_one_line(main, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["-o", str(tmp_path / "file"), "08_alley_day"]) == 1
    error = capsys.readouterr().err
    assert "cannot write" in error
    assert error.count("\n") == 1
