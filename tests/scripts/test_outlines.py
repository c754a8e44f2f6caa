"""scripts/outlines.py: what counts as an outline, and what does not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fusion import images

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "outlines.py"


@pytest.fixture(scope="module")
def outlines():
    spec = importlib.util.spec_from_file_location("outlines", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sources():
    """Two smooth pictures that cross: each is the brighter one somewhere, neither has a contour."""
    y, x = np.mgrid[:96, :128] / 32
    return 120 + 50 * np.sin(x + 0.3 * y), 120 + 50 * np.sin(1.1 * y + 1)


def test_contrast_alone_is_no_outline(outlines, sources):
    ir, vis = sources
    assert outlines.unexplained(1.3 * ir - 30, ir, ir) < 1e-6
    assert outlines.unexplained(np.full_like(ir, 7.0), ir, vis) == 0


def test_a_hard_switch_between_two_pictures_is_one(outlines, sources):
    ir, vis = sources
    soft, hard = (ir + vis) / 2, np.where(np.mgrid[:96, :128][1] < 64, ir, vis)
    assert outlines.unexplained(soft, ir, vis) < 0.02
    assert outlines.unexplained(hard, ir, vis) > 0.3


def test_the_table(outlines, sources, tmp_path, capsys):
    ir, vis = (np.rint(x).astype(np.uint8) for x in sources)
    for folder, picture in (("ir", ir), ("vi", vis), ("same", ir), ("ring", np.where(ir > 140, ir, 0))):
        for name in "ab":
            images.write(tmp_path / folder / f"{name}.png", picture)
    fixed = ["--ir", str(tmp_path / "ir"), "--vis", str(tmp_path / "vi")]
    assert outlines.main([*fixed, "--fused", str(tmp_path / "same"), "--fused", str(tmp_path / "ring")]) == 0
    same, ring = (float(line.split(": ")[1].split(" %")[0]) for line in capsys.readouterr().out.splitlines())
    assert same < 0.1
    assert ring > 10
    (tmp_path / "ring" / "b.png").unlink()
    assert outlines.main([*fixed, "--fused", str(tmp_path / "ring")]) == 2
    assert "has no picture called b" in capsys.readouterr().err
