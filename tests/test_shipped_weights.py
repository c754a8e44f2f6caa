"""The weights in models/: small, described by their cards, made again by a config, and strangers to every test set."""

import hashlib
import importlib.util
import json
import re

import cv2
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

NAMES = ("cddfuse_msrs", "ship_msrs", "swift_msrs", "swift_medical")
CONFIGS = {name: f"{name}.yml" for name in NAMES} | {"cddfuse_msrs": "cddfuse_small.yml", "ship_msrs": "ship_short.yml"}
HELD_OUT = ("swift_msrs", "swift_medical")  # trained on what scripts/hold_out.py leaves, as the heads of configs say
FIRST_PAIRS = 119  # what weights before those were trained on, nothing held out
LEFT_OUT = "21"  # the patient of MRI_CT's test pictures 21 to 31, who is among the training pairs of MRI_SPECT
MEDICAL = {f"MRI_{kind}": kind for kind in ("CT", "PET", "SPECT")}
STRIDE = 100  # of the patches, as the head of cddfuse_small.yml says
every_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def file(root, name):
    return root / "models" / f"{name}.safetensors"


def card_of(root, name):
    return json.loads((root / "models" / f"{name}.json").read_text(encoding="utf-8"))


@every_name
def test_small_and_its_network_loads(file, name):
    assert file.stat().st_size < 6e6
    stated, _ = weights.stated(file)
    assert stated == name.split("_")[0]
    network = fusion.load(stated, file)
    assert all(p.isfinite().all() for p in network.parameters())


@every_name
def test_the_card_says_how_to_make_it_again(root, name):
    card = card_of(root, name)
    options = config.load(root / "configs" / CONFIGS[name], [], TrainOptions)
    # Options that came later have their defaults; whether code was compiled does not decide the weights.
    assert TrainOptions(**card["config"] | {"compile": options.compile}) == options
    assert card["seed"] == options.seed
    assert re.fullmatch(r"[0-9a-f]{40}.*", card["commit"])
    assert re.fullmatch(r"[0-9a-f]{64}", card["data"]["sha256"])
    assert card["steps"] == sum(phase.length for phase in options.phases)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_msrs")])
def test_pictures_are_fused_and_not_one_of_the_sources(root, file, name):
    """On every third sample pair the result has more contrast than the average, is neither source, and goes with the
    brighter of both."""
    network = fusion.load(name.split("_")[0], file)
    for pair in find_pairs(root / "test_img" / "sample").pairs[::3]:
        fused = fusion.fuse(network, pair.ir, pair.vis, output="gray").astype(float)
        ir, vis = (images.grey_levels(images.read(path)) for path in (pair.ir, pair.vis))
        assert fused.std() > ((ir + vis) / 2).std()
        assert all(np.abs(fused - source).mean() > 1 for source in (ir, vis))
        assert np.corrcoef(fused.ravel(), np.maximum(ir, vis).ravel())[0, 1] > 0.75


# --- no test picture was seen in training ---------------------------------------------------------------------------


def divided(root, shared, out, name):
    """OUT/train and OUT/validation, as scripts/hold_out.py makes them for `name`."""
    spec = importlib.util.spec_from_file_location("hold_out", root / "scripts" / "hold_out.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = shared / "data"
    if not (data / "medical_train").is_dir():
        pytest.skip("the training pairs are not all there")
    if name.endswith("_msrs"):
        arguments = [str(data / "MSRS" / half) for half in ("train", "train_more")]
    else:
        roots = [f"{data / 'medical_train' / kind}:{ir}:MRI" for kind, ir in MEDICAL.items()]
        arguments = [*roots, "--patients", "--first", "2", "--leave-out", LEFT_OUT]
    assert module.main([*arguments, "-o", str(out)]) == 0
    return out


def test_the_data_were_the_training_pairs_and_nothing_else(root, shared, tmp_path):
    """The cards' hashes are those of the training pairs as they lie there."""
    for name in NAMES:
        assert_trained_on_what_lies_there(root, shared, name, tmp_path / name)


def assert_trained_on_what_lies_there(root, shared, name, tmp_path):
    card = card_of(root, name)
    data, options = card["data"], card["config"]["data"]["options"]
    source = shared / "data" / "MSRS" / "train"
    if data["name"] == "folder" and data["pairs"] != FIRST_PAIRS:
        source = divided(root, shared, tmp_path / "data", name) / "train"
    if data["name"] == "folder":
        found = FolderData(root=str(source), mask=options.get("mask", False))
    else:
        tmp_path.mkdir()
        size = patches.Options(128, STRIDE, False, "stacked")
        patches.write_patches(find_pairs(source).pairs, tmp_path / "p.h5", size, workers=1)
        found = PatchData(path=str(tmp_path / "p.h5"))
    assert len(found) == data["pairs"], name
    assert found.data_hash == data["sha256"], name


SETS = {"TNO": ("ir", "vi"), "RoadScene": ("ir", "vi"), "MSRS/test": ("ir", "vi")}
SETS |= {name: (kind, "MRI") for name, kind in MEDICAL.items()}


def files(pairs):
    return [path for pair in pairs for path in (pair.ir, pair.vis)]


def hashes(pairs):
    """Of the files, and of the pictures in them, whatever they are stored as."""
    paths = files(pairs)
    found = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return found | {hashlib.sha256(images.read(path).tobytes()).hexdigest() for path in paths}


def test_training_and_test_sets_share_no_file_and_no_picture(root, shared, tmp_path):
    for weights_name in HELD_OUT:
        parts = divided(root, shared, tmp_path / weights_name, weights_name)
        trained = [pair for part in ("train", "validation") for pair in find_pairs(parts / part).pairs]
        seen = hashes(trained)
        for name in SETS.keys() - MEDICAL.keys() if weights_name == "swift_msrs" else MEDICAL:
            tested = pair_folders(*(shared / "data" / name / side for side in SETS[name])).pairs
            if name == "MSRS/test":
                assert not {p.name for p in trained} & {p.name for p in tested}
            assert not seen & hashes(tested), name


def likeness(scans, others):
    """The largest correlation of each scan with any of the others, at 64x64."""
    features = []
    for paths in (scans, others):
        planes = [cv2.resize(images.luminance(images.read(p)), (64, 64), interpolation=cv2.INTER_AREA) for p in paths]
        centred = np.stack([(plane - plane.mean()).ravel() for plane in planes])
        features.append(centred / np.linalg.norm(centred, axis=1, keepdims=True))
    return (features[0] @ features[1].T).max(1)


def test_no_patient_of_a_medical_test_set_was_trained_on(root, shared, tmp_path):
    """Test pictures have no patient's number, so the scans must tell. Among the training pairs, scans of two patients
    correlate by 0.90 at most, neighbouring slices of one by 0.93 in the median and every patient's nearest ones by
    more. Patient 21 would be found: MRI_CT's test set holds eleven of the scans themselves."""
    parts = divided(root, shared, tmp_path / "data", "swift_medical")
    trained = [pair.vis for part in ("train", "validation") for pair in find_pairs(parts / part).pairs]
    tested = [path for name in MEDICAL for path in sorted((shared / "data" / name / "MRI").iterdir())]
    assert likeness(tested, trained).max() < 0.92
    folder = shared / "data" / "medical_train" / "MRI_SPECT" / "MRI"
    assert (likeness(tested, sorted(folder.glob(f"{LEFT_OUT}*"))) > 0.999).sum() == 11


@pytest.mark.slow
def test_training_and_msrs_test_share_no_picture(shared):
    """Perceptually: no crop, no other compression of the same picture."""
    train, test = (Folders.of(shared / "data" / "MSRS" / half) for half in ("train", "test"))
    found = examine(train, against=test, shifts=False, workers=2)
    assert [f for f in found.problems if f.check == "leak"] == []
