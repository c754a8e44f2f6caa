"""Folders of pairs: what samples hold, that all of a sample is cropped and turned alike, and masks."""

import itertools

import cv2
import numpy as np
import pytest
import torch

from fusion import images
from fusion.data.folder import FolderData, find_pairs
from fusion.data.saliency import saliency_mask
from fusion.data.sampler import Batches, Key, Tone, loader, tone
from fusion.registry import DATASETS

H, W = 30, 44


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


@pytest.fixture
def root(tmp_path):
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        save(tmp_path / "ir" / f"{name}.png", random.integers(0, 256, (H, W), dtype=np.uint8))
        save(tmp_path / "vi" / f"{name}.png", random.integers(0, 200, (H, W, 3), dtype=np.uint8))
    return tmp_path


def test_a_sample_is_the_pair(root):
    sample = FolderData(root=str(root))[1]
    assert sample["name"] == "b"
    vis = images.luminance(images.read(root / "vi" / "b.png"))
    np.testing.assert_array_equal(sample["vis"].numpy()[0], vis)
    assert sample["ir"].shape == (1, H, W)
    assert "mask" not in sample


def test_vis_stands_in_for_vi(root):
    (root / "vi").rename(root / "vis")
    assert len(find_pairs(root).pairs) == len(FolderData(root=str(root))) == 3


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_all_of_a_sample_is_cropped_and_turned_alike(root, cache_mb):
    for name in ("a", "b", "c"):  # three times the same picture
        grey = images.read(root / "ir" / f"{name}.png")
        save(root / "vi" / f"{name}.png", grey)
        save(root / "mask" / f"{name}.png", grey)
    data = FolderData(root=str(root), mask=True, size=16, augment=True, cache_mb=cache_mb)
    seen = set()
    for epoch in range(20):
        sample = data[Key(3, epoch, 1)]
        assert sample["ir"].shape == (1, 16, 16)
        assert torch.equal(sample["ir"], sample["vis"])
        assert torch.equal(sample["ir"], sample["mask"])
        seen.add(sample["ir"].numpy().tobytes())
    assert len(seen) == 20


def test_masks_are_computed_of_whole_pictures(root):
    whole = FolderData(root=str(root), mask=True)[0]["mask"].numpy()[0]
    ir, vis = images.read(root / "ir" / "a.png"), images.read(root / "vi" / "a.png")
    np.testing.assert_array_equal(whole, saliency_mask(vis=vis, ir=ir))
    crop = FolderData(root=str(root), mask=True, size=10)[0]["mask"].numpy()[0]
    np.testing.assert_array_equal(crop, whole[10:20, 17:27])
    assert 0 <= whole.min() < whole.max() <= 1


def test_batches_do_not_depend_on_cache_workers_and_ranks(root):
    options = {"root": str(root), "mask": True, "size": 16, "augment": True}
    data = FolderData(**options, cache_mb=0)
    joined = [data.batch(keys) for keys in itertools.islice(Batches(n=3, batch_size=4, seed=1), 4)]
    cached = FolderData(**options)
    for workers in (0, 1, 3):
        with loader(cached, 4, seed=1, workers=workers) as batches:
            for expected in joined:
                got = next(batches)
                assert got["name"] == expected["name"]
                assert all(torch.equal(got[k], expected[k]) for k in ("ir", "vis", "mask"))
    ranks = [loader(cached, 4, seed=1, rank=rank, world=2) for rank in (0, 1)]
    for expected in joined:
        assert torch.equal(torch.cat([next(rank)["mask"] for rank in ranks]), expected["mask"])


def test_the_cache_keeps_to_its_limit(root):
    data = FolderData(root=str(root))
    data._cache_left = 2 * (H * W + 3 * H * W)  # two pairs
    for index in range(3):
        data[index]
    assert len(data._cache) == 2
    assert data._cache_left == 0


def test_hash_is_of_the_files(root):
    before = FolderData(root=str(root)).data_hash
    assert FolderData(root=str(root)).data_hash == before
    save(root / "ir" / "a.png", np.zeros((H, W), np.uint8))
    assert FolderData(root=str(root)).data_hash != before


def test_is_registered(root):
    assert len(DATASETS.build("folder", {"root": str(root), "size": 16})) == 3


# --- bad folders ----------------------------------------------------------------------------------------------------


def test_missing_folders(root):
    with pytest.raises(ValueError, match="nowhere/ir is not a folder"):
        FolderData(root=str(root / "nowhere"))
    with pytest.raises(ValueError, match="thermal is not a folder"):
        FolderData(root=str(root), ir="thermal")


def test_a_picture_smaller_than_the_crop(root):
    with pytest.raises(ValueError, match=r"3 of 3 .*a\.png is 30x44, smaller than the crop of 32x32 \(and 2"):
        FolderData(root=str(root), size=32)


def test_two_sizes(root):
    save(root / "vi" / "b.png", np.zeros((H, W - 1), np.uint8))
    with pytest.raises(ValueError, match=r"b\.png is 30x44 but .*b\.png is 30x43"):
        FolderData(root=str(root))


def test_missing_masks(root):
    save(root / "mask" / "a.png", np.zeros((H, W), np.uint8))
    with pytest.raises(ValueError, match="lacks the masks of 2 of 3 pairs, b first"):
        FolderData(root=str(root), mask=True)
    assert "mask" not in FolderData(root=str(root))[0]


def test_files_without_a_partner_are_left_out_and_said(root):
    (root / "vi" / "c.png").unlink()
    data = FolderData(root=str(root))
    assert len(data) == 2
    assert data.remarks() == [f"{root / 'ir' / 'c.png'} has no visible partner"]


def test_beyond_the_end(root):
    assert len(list(FolderData(root=str(root)))) == 3


def test_tones_change_both_sources_of_half_of_the_pairs(root):
    plain, toned = (FolderData(root=str(root), size=16, tones=tones) for tones in (0.0, 0.6))
    changed = []
    for epoch in range(60):
        key = Key(0, epoch, 1)
        a, b = plain[key], toned[key]
        changed.append(tuple(not torch.equal(a[side], b[side]) for side in ("ir", "vis")))
        assert torch.equal(b["ir"], toned[key]["ir"])  # a function of the key
        assert all(b[side].min() >= 0 and b[side].max() <= 1 for side in ("ir", "vis"))
    assert set(changed) == {(False, False), (True, True)}
    assert 15 < sum(ir for ir, _ in changed) < 45
    key = next(Key(0, epoch, 1) for epoch in range(60) if changed[epoch][0])
    assert tone(key, 0, 0.6) != tone(key, 1, 0.6)  # each by itself
    assert torch.equal(plain[1]["ir"], toned[1]["ir"])  # as it is, without a key


@pytest.mark.parametrize("source", [0, 1])
def test_a_tone_stays_within_its_strength_and_only_infrared_is_inverted(source):
    drawn = [tone(Key(0, epoch, 0), source, 0.5) for epoch in range(400)]
    assert 140 < sum(one == Tone() for one in drawn) < 260
    changed = [one for one in drawn if one != Tone()]
    assert all(2**-0.75 <= one.gamma <= 2**0.25 and 2**-0.5 <= one.gain <= 2**0.5 for one in changed)
    assert all(abs(one.offset) <= 0.5 / 8 for one in drawn)
    assert any(one.inverted for one in drawn) is (source == 0)
    ramp = np.linspace(0, 1, 5, dtype=np.float32)[None]
    np.testing.assert_allclose(Tone(True, 2, 0.5, 0.25).of(ramp)[0], 0.25 + 0.5 * (1 - ramp[0]) ** 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("1.png", lambda data: data[: len(data) // 2], "1 of 3 pairs cannot be trained on: .*1.png is truncated"),
        ("1.jpg", lambda data: data[: len(data) // 2], "1: vis: .*1.jpg is (truncated|damaged).*: mend it or leave"),
        (
            "1.tif",
            lambda data: data[: len(data) // 2],
            "1 of 3 pairs cannot be trained on|1: vis: .*1.tif is truncated",
        ),
    ],
)
def test_a_picture_that_is_known_to_be_broken_stops_a_run_before_its_first_step(tmp_path, name, change, line):
    for number in range(3):
        for side in ("ir", "vi"):
            noise = np.random.default_rng(number).integers(0, 256, (64, 64), np.uint8)
            images.write(tmp_path / side / f"{number}.png", noise)
    (tmp_path / "vi" / "1.png").unlink()
    images.write(tmp_path / "vi" / name, np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    whole = (tmp_path / "vi" / name).read_bytes()
    assert FolderData(root=str(tmp_path), size=32).remarks() is not None
    (tmp_path / "vi" / name).write_bytes(change(whole))
    with pytest.raises(ValueError, match=line):
        FolderData(root=str(tmp_path), size=32).remarks()
