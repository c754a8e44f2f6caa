"""Scoring files: matching three folders, what is missing, what is stray, and many processes."""

import math

import numpy as np
import pytest

from fusion import evaluate, images
from fusion.metrics import profile, scoring
from fusion.metrics.published import COLUMNS, ROWS, difference, rows_for
from fusion.metrics.scoring import Triple, find, score, score_all

KEYS = [m.key for m in profile("cddfuse").values()]


def noise(seed, h=48, w=56, *channels):
    return np.random.default_rng(seed).integers(0, 256, (h, w, *channels), dtype=np.uint8)


@pytest.fixture
def folders(tmp_path):
    """(fused, ir, vis) of three scenes; the fused one is a JPEG-free PNG whatever the sources are."""
    for i, name in enumerate(("a", "b", "c")):
        images.write(tmp_path / "ir" / f"{name}.bmp", noise(i))
        images.write(tmp_path / "vi" / f"{name}.png", noise(i + 10, 48, 56, 3))
        images.write(tmp_path / "out" / f"{name}.png", noise(i + 20))
    return tmp_path / "out", tmp_path / "ir", tmp_path / "vi"


def test_files_belong_together_by_their_stems(folders):
    found = find(*folders)
    fused, ir, vis = folders
    assert found.triples[0] == Triple("a", fused / "a.png", ir / "a.bmp", vis / "a.png", ("full", "full"))
    assert [t.name for t in found.triples] == ["a", "b", "c"]
    assert (found.missing, found.stray) == ([], [])


def test_stray_files_are_listed_and_missing_results_are_too(folders):
    fused, ir, _ = folders
    (fused / "b.png").unlink()
    images.write(fused / "stranger.png", noise(0))
    images.write(ir / "alone.png", noise(0))
    (fused / "notes.txt").write_text("no picture")
    found = find(*folders)
    assert [t.name for t in found.triples] == ["a", "c"]
    assert found.missing == [f"b: no result in {fused}"]
    assert found.stray == [f"{ir / 'alone.png'} has no visible partner", f"{fused / 'stranger.png'} belongs to no pair"]


def test_scores_are_those_of_the_public_api(folders):
    for triple in find(*folders).triples:
        expected = evaluate(triple.fused, triple.ir, triple.vis)
        assert score(triple, KEYS).values == {f"cddfuse/{name}": value for name, value in expected.items()}


def test_processes_give_the_same_in_the_same_order(folders):
    triples = find(*folders).triples
    assert list(score_all(triples, KEYS, workers=2)) == list(score_all(triples, KEYS))


def test_a_picture_that_cannot_be_scored_is_an_error_with_its_name(folders):
    fused, _, _ = folders
    images.write(fused / "a.png", noise(0, 50, 56))
    (fused / "b.png").write_bytes(b"not a picture")
    a, b, c = score_all(find(*folders).triples, KEYS)
    assert a.error.startswith("a: fused is 50x56 but ir is 48x56: ")
    assert b.error.startswith(f"b: {fused / 'b.png'} cannot be decoded")
    assert "\n" not in a.error + b.error
    assert (a.values, b.values, c.error) == ({}, {}, "")


def test_a_picture_too_small_for_a_metric_has_no_value_of_it(folders):
    values = score(find(*folders).triples[0], ["strict/MS-SSIM", "strict/EN"]).values
    assert math.isnan(values["strict/MS-SSIM"])
    assert 7 < values["strict/EN"] <= 8


def test_16_bit_files_are_scored_as_the_8_bit_pictures_that_they_are(folders, tmp_path):
    fused, ir, vis = folders
    before = score(find(*folders).triples[0], KEYS).values
    deep = tmp_path / "deep"
    images.write(deep / "a.png", images.read(fused / "a.png").astype(np.uint16) * 257)
    assert score(Triple("a", deep / "a.png", ir / "a.bmp", vis / "a.png"), KEYS).values == before


def test_published_rows():
    assert all(tuple(row) == COLUMNS for row in ROWS.values())
    assert list(rows_for("tno")) == ["TNO"]
    assert list(rows_for("MRI_CT")) == ["MRI_CT", "MRI_CT (IVF weights)"]
    assert rows_for("nothing") == {}


@pytest.mark.parametrize(("printed", "value", "off"), [("46.00", 46.0026, 0), ("46.00", 45.994, -0.01), ("7", 7.4, 0)])
def test_values_agree_where_they_print_alike(printed, value, off):
    assert difference(printed, value) == off


@pytest.mark.shared
def test_published_rows_are_those_of_the_specification(shared):
    text = (shared / "spec/cddfuse.md").read_text().partition("## Published results")[2]
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|") and "---" not in line]
    printed = {cells[0].strip().replace(", MIF weights", ""): [c.strip() for c in cells[1:]] for cells in lines[1:]}
    printed = {name.replace(", IVF weights", " (IVF weights)"): cells for name, cells in printed.items()}
    assert {name: list(row.values()) for name, row in ROWS.items()} == printed


@pytest.mark.parametrize(
    "error", [OSError(30, "Read-only file system"), ImportError("no sem_open"), PermissionError(13)]
)
def test_without_shared_memory_one_process_does_the_work(folders, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    triples = find(*folders).triples
    monkeypatch.setattr(scoring, "ProcessPoolExecutor", refuse)
    with pytest.warns(UserWarning, match="workers: 1 instead of 2"):
        assert list(score_all(triples, KEYS, workers=2)) == list(score_all(triples, KEYS))
