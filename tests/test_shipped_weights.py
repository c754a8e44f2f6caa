"""The weights in models/: small, described by their cards, made again by a config, and strangers to every test set."""

import hashlib
import json
import re

import numpy as np
import pytest

import fusion
from fusion import config, images, weights
from fusion.data import patches
from fusion.data.doctor import Folders, examine
from fusion.data.folder import FolderData, find_pairs
from fusion.data.patch_data import PatchData
from fusion.options import TrainOptions
from fusion.pairing import pair_folders

NAMES = ("cddfuse_msrs", "ship_msrs", "swift_msrs")
CONFIGS = {"cddfuse_msrs": "cddfuse_small.yml", "ship_msrs": "ship_short.yml", "swift_msrs": "swift_msrs.yml"}
STRIDE = 100  # of the patches, as the head of cddfuse_small.yml says
every_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def file(root, name):
    return root / "models" / f"{name}.safetensors"


@pytest.fixture
def card(file):
    return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))


@every_name
def test_small_and_its_network_loads(file, name):
    assert file.stat().st_size < 6e6
    stated, _ = weights.stated(file)
    assert stated == name.removesuffix("_msrs")
    network = fusion.load(stated, file)
    assert all(p.isfinite().all() for p in network.parameters())


@every_name
def test_the_card_says_how_to_make_it_again(root, card, name):
    options = config.load(root / "configs" / CONFIGS[name], [], TrainOptions)
    assert TrainOptions(**card["config"]) == options  # options that came later have their defaults
    assert card["seed"] == options.seed
    assert re.fullmatch(r"[0-9a-f]{40}.*", card["commit"])
    assert re.fullmatch(r"[0-9a-f]{64}", card["data"]["sha256"])
    assert card["steps"] == sum(phase.length for phase in options.phases)


@every_name
def test_pictures_are_fused_and_not_one_of_the_sources(root, file, name):
    """On every third sample pair the result has more contrast than the average, is neither source, and goes with the
    brighter of both."""
    network = fusion.load(name.removesuffix("_msrs"), file)
    for pair in find_pairs(root / "test_img" / "sample").pairs[::3]:
        fused = fusion.fuse(network, pair.ir, pair.vis, output="gray").astype(float)
        ir, vis = (images.grey_levels(images.read(path)) for path in (pair.ir, pair.vis))
        assert fused.std() > ((ir + vis) / 2).std()
        assert all(np.abs(fused - source).mean() > 1 for source in (ir, vis))
        assert np.corrcoef(fused.ravel(), np.maximum(ir, vis).ravel())[0, 1] > 0.75


# --- no test picture was seen in training ---------------------------------------------------------------------------


@every_name
def test_the_data_were_msrs_training_pairs_and_nothing_else(shared, card, name, tmp_path):
    """The card's hash is that of the training half as it lies there."""
    root = shared / "data" / "MSRS" / "train"
    data, options = card["data"], card["config"]["data"]["options"]
    if data["name"] == "folder":
        found = FolderData(root=str(root), mask=options.get("mask", False))
    else:
        size = patches.Options(128, STRIDE, False, "stacked")
        patches.write_patches(find_pairs(root).pairs, tmp_path / "p.h5", size, workers=1)
        found = PatchData(path=str(tmp_path / "p.h5"))
    assert len(found) == data["pairs"]
    assert found.data_hash == data["sha256"]


SETS = {"TNO": ("ir", "vi"), "RoadScene": ("ir", "vi"), "MSRS/test": ("ir", "vi")}
SETS |= {f"MRI_{kind}": (kind, "MRI") for kind in ("CT", "PET", "SPECT")}


def test_training_and_test_sets_share_no_file(shared):
    def hashes(pairs):
        return {hashlib.sha256(path.read_bytes()).hexdigest() for p in pairs for path in (p.ir, p.vis)}

    trained = find_pairs(shared / "data" / "MSRS" / "train").pairs
    for name, sides in SETS.items():
        tested = pair_folders(*(shared / "data" / name / side for side in sides)).pairs
        if name == "MSRS/test":
            assert not {p.name for p in trained} & {p.name for p in tested}
        assert not hashes(trained) & hashes(tested), name


@pytest.mark.slow
def test_training_and_msrs_test_share_no_picture(shared):
    """Perceptually: no crop, no other compression of the same picture."""
    train, test = (Folders.of(shared / "data" / "MSRS" / half) for half in ("train", "test"))
    found = examine(train, against=test, shifts=False, workers=2)
    assert [f for f in found.problems if f.check == "leak"] == []
