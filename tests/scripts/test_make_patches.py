"""scripts/make_patches.py from its command line."""

import importlib.util
import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path):
    random = np.random.default_rng(0)
    for folder in ("ir", "vis"):
        (tmp_path / "root" / folder).mkdir(parents=True)
        for name in "abc":
            pixels = random.integers(0, 256, (40, 56), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "root" / folder / f"{name}.png"), pixels)
    return tmp_path / "root"


@pytest.fixture
def run(root, tmp_path, capsys):
    """Run the script on `root` with more arguments -> status, stdout, stderr."""
    main = script("make_patches").main

    def run(*more):
        status = main([str(root), "-o", str(tmp_path / "x.h5"), "--size", "16", "--stride", "20", *more])
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


def test_makes_the_file_once(run, root, tmp_path):
    status, out, err = run()
    assert (status, err) == (0, "")
    assert "3 pairs, 18 patches kept, 0 dropped" in out
    written = os.stat(tmp_path / "x.h5")
    status, out, _ = run()
    assert status == 0
    assert "up to date: nothing to do" in out
    assert os.stat(tmp_path / "x.h5") == written
    assert "patches kept" in run("--force")[1]
    assert "patches kept" in run("--layout", "authors")[1]
    os.utime(root / "ir" / "b.png", ns=(0, 0))
    assert "patches kept" in run("--layout", "authors")[1]


def test_layouts_hold_the_same(run, tmp_path):
    run()
    with h5py.File(tmp_path / "x.h5") as file:
        stacked = file["vis"][:]
    run("--layout", "authors", "--workers", "3")
    with h5py.File(tmp_path / "x.h5") as file:
        assert (np.stack([file["vis_patchs"][str(i)] for i in range(18)]) == stacked).all()


def test_unmatched_files_are_reported(run, root):
    (root / "ir" / "b.png").rename(root / "ir" / "z.png")
    status, out, err = run()
    assert status == 0
    assert "2 pairs" in out
    assert "z.png has no visible partner" in err
    assert "b.png has no infrared partner" in err


def test_files_of_others_are_not_overwritten(run, tmp_path):
    (tmp_path / "x.h5").write_bytes(b"a picture, a thesis")
    status, _, err = run()
    assert status == 2
    assert "--force replaces it" in err
    assert (tmp_path / "x.h5").read_bytes() == b"a picture, a thesis"
    assert run("--force")[0] == 0


def test_errors_are_one_line(run, root):
    for more, said in (
        (["--size", "99"], "smaller than 99x99"),
        (["--stride", "0"], "at least 1 pixel"),
        (["--workers", "0"], "1 worker"),
    ):
        status, out, err = run(*more)
        assert (status, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
    (root / "vis" / "b.png").write_bytes(b"")
    status, _, err = run()
    assert status == 2
    assert "b.png" in err
    assert err.count("\n") == 1


def test_a_missing_folder(tmp_path, capsys):
    assert script("make_patches").main([str(tmp_path / "no"), "-o", str(tmp_path / "x.h5")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_an_interrupt_is_said(run, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fusion.data.patches.PatchWriter.append", interrupt)
    status, _, err = run()
    assert status == 130
    assert "is as it was" in err
    assert [p.name for p in tmp_path.iterdir()] == ["root"]
