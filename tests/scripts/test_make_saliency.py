"""scripts/make_saliency.py from its command line."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion import images
from fusion.data.saliency import saliency_mask

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def main():
    spec = importlib.util.spec_from_file_location("make_saliency", SCRIPTS / "make_saliency.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def root(tmp_path):
    random = np.random.default_rng(0)
    for folder in ("ir", "vi"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            cv2.imwrite(str(tmp_path / folder / f"{name}.jpg"), random.integers(0, 256, (20, 30), dtype=np.uint8))
    return tmp_path


def test_masks_have_the_pairs_names(main, root):
    assert main([str(root), "-o", str(root / "mask")]) == 0
    assert sorted(p.name for p in (root / "mask").iterdir()) == ["a.png", "b.png"]
    mask = saliency_mask(vis=images.read(root / "vi" / "a.jpg"), ir=images.read(root / "ir" / "a.jpg"))
    written = images.read(root / "mask" / "a.png")
    assert written.dtype == np.uint8
    assert np.abs(written / 255 - mask).max() <= 0.5 / 255 + 1e-7  # to the nearest of 256 levels


def test_errors_are_one_line(main, root, capsys):
    cv2.imwrite(str(root / "ir" / "b.jpg"), np.zeros((10, 10), np.uint8))
    assert main([str(root), "-o", str(root / "mask")]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err == "make_saliency: b: vis is 20x30 but ir is 10x10: use one size"
    assert main([str(root / "nowhere"), "-o", str(root / "mask")]) == 2
