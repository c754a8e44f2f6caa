"""scripts/methods.py: sizes and costs as the published networks have them, and nothing left out."""

import importlib.util
import sys
from pathlib import Path

import pytest

from fusion import weights
from fusion.networks.base import About
from fusion.registry import NETWORKS

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def methods():
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location("methods", SCRIPTS / "methods.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
    return module


def test_every_method_has_a_row(methods, capsys):
    assert methods.main(["--size", "64x48", "--papers"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()]
    assert {row[0] for row in rows[2:]} == set(NETWORKS)
    assert len({len(row) for row in rows}) == 1


def test_parameters_and_flops(methods):
    """Multiply-adds per pixel, each two FLOPs: counted by hand from the networks' descriptions."""
    for name, parameters, per_pixel in [("seafusion", 166_657, 166_000), ("densefuse", 74_193, 87_984)]:
        row = methods.row(name, 480, 640)
        assert row["parameters"] == f"{parameters:,}"
        assert float(row["GFLOPs"]) == pytest.approx(2 * per_pixel * 640 * 480 / 1e9, rel=1e-3)


def test_weights_that_are_here(methods, tmp_path, monkeypatch):
    monkeypatch.setattr(methods.places, "home", lambda: tmp_path)
    (tmp_path / "models/sage").mkdir(parents=True)
    (tmp_path / "models/sage/checkpoints.pt").touch()
    assert methods.row("sage", 32, 32)["here"] == "sage/checkpoints.pt"
    shipped = [weights.shipped("swift", task).name for task in ("", "medical")]
    assert methods.row("swift", 32, 32)["here"].split(", ") == shipped


def test_measured(methods, capsys):
    assert (
        methods.main(["--names", "mmdrfuse", "--measure", "--size", "64x48", "--repeats", "1", "--threads", "1"]) == 0
    )
    head, _, row, *_ = capsys.readouterr().out.splitlines()
    cells = dict(zip(*([cell.strip() for cell in line.split("|")] for line in (head, row)), strict=True))
    assert float(cells["seconds"]) > 0
    assert float(cells["MiB"]) > 0


def test_an_unknown_name_is_one_line(methods, capsys):
    assert methods.main(["--names", "seafusio"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "seafusion" in err


def test_published_methods_say_where_they_come_from():
    for name, cls in NETWORKS.items():
        if cls.about:
            assert isinstance(cls.about, About), name
            assert cls.about.paper, name
            assert 1980 < cls.about.year < 2100, name
            assert cls.about.licence or not cls.about.weights, name
