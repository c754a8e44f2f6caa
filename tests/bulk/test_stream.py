"""Large folders, paired while they are listed: the same pairs as whole listings give, and as few surprises."""

import collections
import shutil
import unicodedata

import numpy as np
import pytest

from fusion import images
from fusion.bulk import stream
from fusion.bulk.share import Share
from fusion.bulk.stream import Stream, found_pairs
from fusion.pairing import Pairing, pair_folders


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 8)


def folders(root, ir, vis):
    images.write(root / "one.png", np.zeros((2, 2), np.uint8))
    for folder, names in (("ir", ir), ("vi", vis)):
        for name in names:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "one.png", root / folder / name)
    return root / "ir", root / "vi"


NAMES = [f"frame{i}" for i in range(50)]


@pytest.mark.parametrize(
    ("ir", "vis"),
    [
        ([f"{n}.png" for n in NAMES], [f"{n}.png" for n in NAMES]),
        ([f"{n}.png" for n in NAMES], [f"{n}.jpg" for n in NAMES]),
        ([f"{n}.PNG" for n in NAMES], [f"{n}.png" for n in NAMES]),
        ([f"{n}.nii.gz" for n in NAMES], [f"{n}.png" for n in NAMES]),
        ([f"a/{n}.png" for n in NAMES] + ["b/c/x.png"], [f"a/{n}.tif" for n in NAMES] + ["b/c/x.png"]),
        ([f"{n}.png" for n in NAMES[3:]], [f"{n}.bmp" for n in NAMES[:-4]]),
        (
            [unicodedata.normalize("NFD", f"ä{n}.png") for n in NAMES],
            [unicodedata.normalize("NFC", f"ä{n}.png") for n in NAMES],
        ),
        ([f"{n}.png" for n in NAMES], [f"{n}.png" if i % 2 else f"{n}.jpeg" for i, n in enumerate(NAMES)]),
    ],
    ids=("equal", "endings", "capitals", "nifti", "folders", "lonely", "composed", "mixed"),
)
def test_streams_find_what_listings_find(tmp_path, ir, vis):
    found = found_pairs(*folders(tmp_path, ir, vis))
    expected = pair_folders(tmp_path / "ir", tmp_path / "vi")
    assert isinstance(found, Stream)
    lines = []
    found.note = lines.append
    pairs = list(found)
    assert sorted(pairs, key=lambda p: p.name) == sorted(expected.pairs, key=lambda p: p.name)
    assert len(found.first) <= 8
    assert set(found.first) <= set(pairs)
    found.finish()
    assert sorted(lines) == sorted(expected.report())
    assert found.lonely == len(lines)
    assert found.failed == []


def test_small_folders_and_other_names_are_listed(tmp_path, monkeypatch):
    small = found_pairs(*folders(tmp_path / "small", NAMES_OF_7, NAMES_OF_7))
    assert isinstance(small, Pairing)
    other = folders(tmp_path / "other", [f"IR{n}.png" for n in NAMES], [f"VIS{n}.png" for n in NAMES])
    assert found_pairs(*other).rule == "IRframe*=VISframe*"
    large = folders(tmp_path / "large", [f"{n}.png" for n in NAMES], [f"{n}.png" for n in NAMES])
    assert isinstance(found_pairs(*large, ordered=True), Pairing)
    assert isinstance(found_pairs(*large, match="*=*"), Pairing)
    with pytest.raises(ValueError, match="its own partner"):
        found_pairs(large[0], large[0])
    with pytest.raises(ValueError, match="is not a folder"):
        found_pairs(large[0], tmp_path / "nowhere")


NAMES_OF_7 = [f"{n}.png" for n in NAMES[:7]]


def test_a_name_that_stands_twice_is_no_pair(tmp_path):
    names = [f"{n}.png" for n in NAMES]
    found = found_pairs(*folders(tmp_path, [*names, "frame7.jpg"], [*names, "frame9.tif"]))
    pairs = collections.Counter(pair.name for pair in found)
    assert max(pairs.values()) == 1
    assert len(pairs) >= len(NAMES) - 1
    found.finish()
    assert any("frame7.png and frame7.jpg" in line or "frame7.jpg and frame7.png" in line for line in found.failed)
    assert any("frame9" in line and "one picture per name" in line for line in found.failed)


def test_processes_share_all_of_it(tmp_path):
    ir, vis = folders(tmp_path, [f"{n}.png" for n in NAMES], [f"{n}.png" for n in NAMES])
    parts = [{pair.name for pair in found_pairs(ir, vis).of(Share(rank, 3))} for rank in range(3)]
    assert set().union(*parts) == set(NAMES)
    assert sum(map(len, parts)) == len(NAMES)
    assert all(parts)


def test_pairs_come_in_natural_order_within_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", len(NAMES))
    found = found_pairs(*folders(tmp_path, [f"{n}.png" for n in NAMES], [f"{n}.png" for n in NAMES]))
    assert [pair.name for pair in found] == NAMES


def test_links_that_lead_back_up_end(tmp_path):
    ir, vis = folders(tmp_path, [f"a/{n}.png" for n in NAMES], [f"a/{n}.png" for n in NAMES])
    (ir / "a" / "up").symlink_to(ir)
    assert len(list(found_pairs(ir, vis))) == len(NAMES)


def test_links_that_lead_nowhere_are_streamed_as_they_are_listed(tmp_path):
    ir, vis = folders(tmp_path, [f"{n}.png" for n in NAMES], [f"{n}.png" for n in NAMES])
    for side in (ir, vis):
        (side / "frame7.png").unlink()
        (side / "frame7.png").symlink_to(tmp_path / "gone.png")
    assert {p.name for p in found_pairs(ir, vis)} == {p.name for p in pair_folders(ir, vis).pairs} == set(NAMES)
