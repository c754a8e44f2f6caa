"""scripts/other_cameras.py from its command line: ways of changing pictures, and the infrared's parts of scores."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fusion.metrics import Scene, evaluate

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "other_cameras.py"


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("other_cameras", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_line_for_every_way_and_method(module, root, capsys):
    status = module.main([str(root / "test_img" / "sample"), "average", "maximum", "--limit", "1", "--metrics", "Qabf"])
    out = capsys.readouterr().out.splitlines()
    assert status == 0
    assert len(out) == 1 + 2 * len(module.WAYS)
    assert [len(line.split()) - len(line[:14].split()) for line in out] == [3] + [4] * (len(out) - 1)


def test_the_infrareds_parts_and_the_visibles_are_the_whole(module):
    random = np.random.default_rng(0)
    fused, ir, vis = random.integers(0, 256, (3, 60, 70)).astype(float)
    parts = np.add(module.infrared(Scene(fused, ir, vis)), module.infrared(Scene(fused, vis, ir)))
    scores = evaluate(fused, ir, vis, names=["VIF", "Qabf"])
    np.testing.assert_allclose(parts, [scores["VIF"], scores["Qabf"]], rtol=1e-9)


@pytest.mark.parametrize("way", ["black-hot", "noise", "stripes", "low contrast", "over-exposure"])
def test_ways_change_what_they_say(module, way):
    plane = np.tile(np.linspace(0.2, 0.7, 64, dtype=np.float32), (64, 1))
    ir, vis = (change(plane, np.random.default_rng(0)) for change in module.WAYS[way])
    if way == "black-hot":
        np.testing.assert_allclose(ir, 1 - plane, atol=1e-6)
        assert (vis == plane).all()
    elif way == "noise":
        assert (ir - plane).std() == pytest.approx(8 / 255, rel=0.1)
    elif way == "stripes":
        assert np.ptp(ir - plane, axis=0).max() < 1e-6 < np.ptp(ir - plane)
    elif way == "low contrast":
        assert np.ptp(ir) == pytest.approx(0.4 * np.ptp(plane), rel=1e-4)
    else:
        assert (module.levels(vis) == 255).mean() > 0.2


def test_what_cannot_be_done_is_refused_in_one_line(module, root, capsys):
    sample = str(root / "test_img" / "sample")
    for more in (["nothing"], ["average", "--ways", "upside down"], ["average", "--only", "none*"]):
        assert module.main([sample, *more]) == 2
        assert capsys.readouterr().err.count("\n") == 1
