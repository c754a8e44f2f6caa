"""Weight files: ours round-trip, the authors' load as they are, and nothing else gets in or is run."""

from __future__ import annotations

import argparse
import errno
import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from fusion import build, weights
from fusion.networks import SHIP, CDDFuse, Network
from fusion.training.checkpoint import Checkpoints

SMALL = {"dim": 8, "heads": 2, "blocks": 1}


@pytest.fixture(scope="module")
def cddfuse() -> CDDFuse:
    torch.manual_seed(0)
    return CDDFuse(**SMALL)


@pytest.fixture(scope="module")
def ship() -> SHIP:
    torch.manual_seed(0)
    return SHIP(channels=4, interactions=1)


def fresh(**changes) -> CDDFuse:
    torch.manual_seed(1)
    return CDDFuse(**{**SMALL, **changes})


def same(a: Network, b: Network) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# The authors' names of the parts of a block; restormer blocks and base blocks differ.
RESTORMER = {
    "attention.temperature": "attn.temperature",
    "attention.qkv": "attn.qkv",
    "attention.local": "attn.qkv_dwconv",
    "attention.project": "attn.project_out",
    "feed_forward.expand": "ffn.project_in",
    "feed_forward.local": "ffn.dwconv",
    "feed_forward.project": "ffn.project_out",
}
BASE = {
    "attention.temperature": "attn.scale",
    "attention.qkv": "attn.qkv1",
    "attention.local": "attn.qkv2",
    "attention.project": "attn.proj",
    "feed_forward.expand": "mlp.project_in",
    "feed_forward.local": "mlp.dwconv",
    "feed_forward.project": "mlp.project_out",
}
TOP = {
    "encoder.embed": "patch_embed.proj",
    "encoder.blocks": "encoder_level1",
    "encoder.base": "baseFeature",
    "encoder.detail": "detailFeature",
    "decoder.blocks": "encoder_level2",
    "decoder.reduce": "reduce_channel",
    "decoder.head": "output",
}
PARTS = {
    "encoder": "DIDF_Encoder",
    "decoder": "DIDF_Decoder",
    "base_fusion": "BaseFuseLayer",
    "detail_fusion": "DetailFuseLayer",
}


def authors_format(network: CDDFuse, prefix: str = "") -> dict[str, dict]:
    """The checkpoint that the authors' program would have saved of `network`."""
    checkpoint: dict[str, dict] = {name: {} for name in PARTS.values()}
    for ours, tensor in network.state_dict().items():
        for mine, theirs in (RESTORMER if ".blocks." in ours else BASE).items():
            key = ours.replace(mine, theirs)
            if key != ours:
                break
        key = re.sub(r"(norm\d)\.", r"\1.body.", key)
        key = key.replace("nodes.", "net.").replace(".mix.", ".shffleconv.")
        for step, number in (("expand", 0), ("local", 3), ("project", 5)):
            key = re.sub(rf"\.(phi|rho|eta)\.{step}", rf".theta_\1.bottleneckBlock.{number}", key)
        part = ours.split(".")[0]
        for mine, theirs in TOP.items():
            key = key.replace(f"{mine}.", f"{part}.{theirs}.")
        linear = tensor.ndim == 2 and key.endswith("weight")
        checkpoint[PARTS[part]][prefix + key.removeprefix(f"{part}.")] = tensor[..., None, None] if linear else tensor
    return checkpoint


def refusal(network: Network, path: Path) -> str:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            weights.load(network, path)
    assert warned == []
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path} ")


# --- ours -----------------------------------------------------------------------------------------------------------


def test_our_file_round_trips_with_its_options(tmp_path, cddfuse):
    path = tmp_path / "new" / "x.safetensors"
    weights.save(path, cddfuse, name="cddfuse", options={**SMALL, "skip": "vis"})
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]
    assert weights.stated(str(path)) == ("cddfuse", {**SMALL, "skip": "vis"})
    assert same(build.network("cddfuse", path), cddfuse)
    network = fresh()
    assert not same(network, cddfuse)
    weights.load(network, str(path))
    assert same(network, cddfuse)


def test_our_file_is_plain_safetensors(tmp_path, cddfuse):
    weights.save(tmp_path / "x.safetensors", cddfuse, name="cddfuse")
    read = safetensors.torch.load_file(tmp_path / "x.safetensors")
    assert {k: v.shape for k, v in read.items()} == {k: v.shape for k, v in cddfuse.state_dict().items()}
    assert weights.stated(tmp_path / "x.safetensors") == ("cddfuse", {})


def test_options_stated_by_a_user_win_over_the_files_over_the_tasks(tmp_path, cddfuse):
    path = tmp_path / "x.safetensors"
    weights.save(path, cddfuse, name="cddfuse", options=SMALL)
    assert build.network("cddfuse", path, task="infrared-visible").skip == "vis"
    assert build.network("cddfuse", path, task="medical").skip == "sum"
    assert build.network("cddfuse", path, {"skip": "none"}, task="medical").skip == "none"
    weights.save(path, cddfuse, name="cddfuse", options={**SMALL, "skip": "vis"})
    assert build.network("cddfuse", path, task="medical").skip == "vis"
    assert build.network("cddfuse", path, {"skip": "none"}).skip == "none"


def test_a_loaded_network_is_ready(tmp_path, cddfuse):
    weights.save(tmp_path / "x.safetensors", cddfuse, name="cddfuse", options=SMALL)
    assert not build.network("cddfuse", tmp_path / "x.safetensors").training


def test_foreign_safetensors_load_by_their_names(tmp_path, cddfuse):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(cddfuse.state_dict(), path)
    assert weights.stated(path) == (None, {})
    assert same(build.network("cddfuse", path, SMALL), cddfuse)


@pytest.mark.parametrize("options", ["no json", "[1]", "3", None])
def test_our_file_with_damaged_metadata(tmp_path, cddfuse, options):
    path = tmp_path / "x.safetensors"
    metadata = {"format": weights.FORMAT, "network": "cddfuse"} | ({"options": options} if options else {})
    safetensors.torch.save_file(cddfuse.state_dict(), path, metadata)
    with pytest.raises(ValueError, match=r"x.safetensors says 'fusion-1' but lacks"):
        weights.stated(path)


def test_our_file_of_another_network_names_it(tmp_path, cddfuse):
    path = tmp_path / "x.safetensors"
    weights.save(path, cddfuse, name="cddfuse", options=SMALL)
    with pytest.raises(ValueError, match=r"x\.safetensors holds weights of cddfuse, not of ship$"):
        build.network("ship", path)


def test_a_full_disk_leaves_the_old_file(tmp_path, cddfuse, monkeypatch):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")

    whole = Path.write_bytes

    def fill_up(file, data):
        whole(file, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match=r"^cannot write .*x\.safetensors: No space left on device"):
        weights.save(path, cddfuse, name="cddfuse")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.safetensors": b"old"}


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_others_may_read_it_as_the_umask_says(tmp_path, cddfuse):
    before = os.umask(0o022)
    try:
        weights.save(tmp_path / "x.safetensors", cddfuse, name="cddfuse")
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_written(tmp_path, cddfuse):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^cannot write .*x\.safetensors: "):
        weights.save(tmp_path / "file" / "x.safetensors", cddfuse, name="cddfuse")


# --- the authors' ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_cddfuses_dictionary_of_four_loads(tmp_path, cddfuse, prefix, zipped):
    checkpoint = authors_format(cddfuse, prefix)
    torch.save(checkpoint, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert weights.stated(tmp_path / "x.pth") == (None, {})
    network = fresh()
    weights.load(network, tmp_path / "x.pth")
    assert same(network, cddfuse)
    assert same(build.network("cddfuse", tmp_path / "x.pth", SMALL), cddfuse)


@pytest.mark.shared
def test_the_authors_format_is_theirs(shared, tmp_path):
    """That `authors_format` above is what their program writes."""
    path = shared / "golden/cddfuse/official_format_seed0_perturbed.pth"
    theirs = torch.load(path, weights_only=True)
    mine = authors_format(build.network("cddfuse", path), "module.")
    assert mine.keys() == theirs.keys()
    for part in theirs:
        assert mine[part].keys() == theirs[part].keys()
        assert all(torch.equal(mine[part][key], theirs[part][key]) for key in theirs[part])


@pytest.mark.shared
def test_ships_file_loads_from_params_and_params_ema(shared, tmp_path):
    path = shared / "golden/ship/SHIP_model.pth"
    expected = build.network("ship", path)
    params = torch.load(path, weights_only=True)["params"]
    wrong = {key: torch.zeros_like(value) for key, value in params.items()}
    prefixed = {f"module.{key}": value for key, value in params.items()}
    for checkpoint in ({"params_ema": params}, {"params": wrong, "params_ema": params}, {"params": prefixed}):
        torch.save(checkpoint, tmp_path / "x.pth")
        assert same(build.network("ship", tmp_path / "x.pth"), expected)


# --- what people have lying about -----------------------------------------------------------------------------------

OPTIONS = {
    "cddfuse": {"dim": 8, "heads": 2, "blocks": 3},
    "ship": {"channels": 4, "interactions": 2},
    "swift": {"width": 8, "depth": 2, "coarse_width": 16, "around": 4, "spread": True},
}


def wrong(state: dict) -> dict:
    return {key: torch.zeros_like(value) for key, value in state.items()}


WRAPPED = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "params_ema": lambda state: {"params": wrong(state), "params_ema": state},
    "params": lambda state: {"params": state},
    "model": lambda state: {"model": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}},
    "model_ema": lambda state: {"model": wrong(state), "model_ema": {"module": state}},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "_orig_mod.": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "both": lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
    "compiled parts": lambda state: {key.replace(".", "._orig_mod.", 1): value for key, value in state.items()},
    "lightning": lambda state: {
        "state_dict": {**{f"net.{key}": value for key, value in state.items()}, "loss.window": torch.ones(3)}
    },
    "a score": lambda state: {"state_dict": state, "psnr": np.float64(31.5), "best": np.float32(1), "n": np.int64(3)},
    "arrays": lambda state: {"net": state, "curve": np.arange(3.0), "random": np.random.RandomState(0).get_state()},
    "arguments": lambda state: {"net": state, "args": argparse.Namespace(lr=1e-4, out=Path("runs"))},
    "parameters": lambda state: {key: torch.nn.Parameter(value) for key, value in state.items()},
    "double": lambda state: {key: value.double() for key, value in state.items()},
    "other order": lambda state: dict(reversed(state.items())),
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_alone_is_enough(tmp_path, name, how):
    torch.manual_seed(0)
    network = build.network(name, options=OPTIONS[name])
    path = tmp_path / "whatever"
    torch.save(WRAPPED[how](network.state_dict()), path)
    assert weights.identify(path) == (name, OPTIONS[name])
    assert same(build.ready(None, path), network)
    assert same(build.ready(name, path), network)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_the_authors_file_alone_is_enough(tmp_path, cddfuse, prefix):
    for checkpoint in (authors_format(cddfuse, prefix), {"nets": authors_format(cddfuse, prefix)}):
        torch.save(checkpoint, tmp_path / "x.pth")
        assert weights.identify(tmp_path / "x.pth") == ("cddfuse", SMALL)
        assert same(build.ready(None, tmp_path / "x.pth"), cddfuse)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_as_many_bytes(tmp_path, cddfuse, kind):
    state = {key: value.to(kind) for key, value in cddfuse.state_dict().items()}
    torch.save(state, tmp_path / "x.pth")
    safetensors.torch.save_file(state, tmp_path / "x.safetensors")
    for file in tmp_path.iterdir():
        loaded = build.ready(None, file).state_dict()
        assert all(torch.equal(loaded[key], value.float()) for key, value in state.items())


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.SAFETENSORS", "x.onnx", "x.pt.bak", "x"])
def test_the_suffix_says_nothing(tmp_path, cddfuse, name):
    path = tmp_path / name
    weights.save(path, cddfuse, name="cddfuse", options=SMALL)
    assert same(build.ready(None, path), cddfuse)
    torch.save(authors_format(cddfuse), path)
    assert same(build.ready(None, path), cddfuse)
    assert same(build.ready(str(path)), cddfuse)


@pytest.mark.parametrize("averaged", [True, False])
def test_a_checkpoint_of_a_run(tmp_path, cddfuse, averaged):
    """Its config states what shapes cannot tell: here `skip`."""
    state = {
        "network": wrong(cddfuse.state_dict()) if averaged else cddfuse.state_dict(),
        "ema": cddfuse.state_dict() if averaged else None,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]},
        "progress": {"step": 3, "metrics": None},
        "config": {"name": "mine", "network": {"name": "cddfuse", "options": {**SMALL, "skip": "none"}}},
    }
    path = Checkpoints(tmp_path, keep=1).save(state, 3)
    assert weights.stated(path) == ("cddfuse", {**SMALL, "skip": "none"})
    loaded = build.ready(None, path)
    assert same(loaded, cddfuse)
    assert loaded.skip == "none"
    with pytest.raises(ValueError, match=r"\.pt holds weights of cddfuse, not of swift$"):
        build.ready("swift", path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_values_that_are_not_finite(tmp_path, cddfuse, suffix, value):
    state = {key: tensor.clone() for key, tensor in cddfuse.state_dict().items()}
    state["decoder.head.2.weight"][0, 0, 1, 1] = value
    path = tmp_path / f"x{suffix}"
    torch.save(state, path) if suffix == ".pth" else safetensors.torch.save_file(state, path)
    message = f"is refused: 1 of {len(state)} tensors hold NaN or infinity, e.g. decoder.head.2.weight: the training"
    assert refusal(fresh(), path).startswith(message)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS, .*: git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n<html>", "a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"\x1f\x8b\x08" + bytes(100), "a gzip archive: unpack it first"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"\x08\x0a\x12\x07pytorch", "an ONNX file, which is a network and its weights in one"),
        (b"", "empty: fetch it again"),
        (b"GGUF\x03\x00" + bytes(50), "a language model"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(50), "a TensorFlow Lite model"),
        (bytes(257) + b"ustar  \x00" + bytes(50), "a tar archive: unpack it first"),
        (b"403 Forbidden", r"text \('403 Forbidden'\), not the file itself"),
        (b"checkpoint:\n model.ckpt\n", r"text \('checkpoint: model.ckpt'\), not the file itself"),
        (b"\x08\x01\x12\xff\x01\n8", "a TensorFlow model"),
        (pickle.dumps({"a": [os.mkdir]}, protocol=0), "a Python pickle, which may carry code and is never run"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a picture"),
    ],
)
def test_what_else_a_file_seems_to_be(tmp_path, content, words):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.pth cannot be read as weights: it is {words}"):
        build.ready("swift", tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ({"features.0.weight": torch.zeros(2, 3, 3, 3)}, r"a VGG or AlexNet of torchvision, it seems"),
        ({"state": {}, "param_groups": []}, r"an optimizer's state, it seems"),
        ({"module.layer1.0.conv1.weight": torch.zeros(1)}, "a ResNet of torchvision, it seems"),
        ({"class_token": torch.zeros(1)}, "a vision transformer, it seems"),
        ({"features.0.0.weight": torch.zeros(1)}, "a MobileNet, .* of torchvision, it seems"),
        ({"a": torch.zeros(1), "b": 3}, r"no weights that are known here \(found 'a', 'b'\)"),
        ({}, r"no weights that are known here \(found nothing\)"),
        ({"state_dict": {"inc.a": torch.zeros(1)}}, r"no weights that are known here \(found 'inc.a'"),
        ({"state_dict": {"model.diffusion_model.a": torch.zeros(1)}}, "a diffusion model, it seems"),
        ({"model.model.0.conv.weight": torch.zeros(1)}, "a YOLO detector, it seems"),
        ({"bert.embeddings.word_embeddings.weight": torch.zeros(1)}, "a language model, it seems"),
        ({"down1.double_conv.0.weight": torch.zeros(1)}, "a U-Net, it seems"),
        ({"model.q_proj.lora_A.weight": torch.zeros(1)}, r"changes to another network \(LoRA\), it seems"),
    ],
)
def test_a_foreign_checkpoint(tmp_path, checkpoint, words):
    torch.save(checkpoint, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth holds {words}.*: expected weights of .*swift") as caught:
        build.ready(None, tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


def test_archives_that_are_no_checkpoints(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    for names, words in [
        (["readme.txt"], r"a ZIP archive \(of readme\.txt"),
        (["x/code/a.py", "x/data.pkl"], "a TorchScript"),
    ]:
        with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
            for name in names:
                archive.writestr(name, "hello")
        with pytest.raises(ValueError, match=rf"cannot be read as a PyTorch checkpoint: it is {words}"):
            build.ready("swift", tmp_path / "x.pth")
    with pytest.raises(ValueError, match="it is an archive of NumPy arrays"):
        build.ready("swift", tmp_path / "a.npz")
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(bytes(100))
    for path in tmp_path.glob("model.ckpt.*"):
        with pytest.raises(ValueError, match="a TensorFlow checkpoint, of no network that is known here"):
            build.ready("swift", path)


def test_a_file_that_is_nearly_one_of_ours(tmp_path):
    state = build.network("swift").state_dict()
    del state["fine.last.bias"]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth holds something like swift \(19 of its 20 tensors\): expected"):
        build.ready(None, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"does not fit Swift: 1 of 20 tensors missing, e\.g\. fine\.last\.bias$"):
        build.ready("swift", tmp_path / "x.pth")


# --- files that do not fit ------------------------------------------------------------------------------------------


def test_checkpoints_of_another_network(tmp_path, cddfuse, ship):
    torch.save(authors_format(cddfuse), tmp_path / "cddfuse.pth")
    torch.save({"params": {"interaction1.spatial.x": torch.zeros(1)}}, tmp_path / "ship.pth")
    weights.save(tmp_path / "cddfuse.safetensors", cddfuse, name="cddfuse")
    weights.save(tmp_path / "ship.safetensors", ship, name="ship")
    for name in ("cddfuse.pth", "cddfuse.safetensors"):
        assert refusal(ship, tmp_path / name) == "does not fit SHIP: it holds weights of cddfuse"
    assert refusal(cddfuse, tmp_path / "ship.safetensors") == "does not fit CDDFuse: it holds weights of ship"
    assert refusal(cddfuse, tmp_path / "ship.pth") == (
        "does not fit CDDFuse: it holds no weights that are known here (found 'interaction1.spatial.x')"
    )
    average = build.network("average")
    assert refusal(average, tmp_path / "ship.safetensors") == "does not fit Average: it holds weights of ship"
    for name in ("cddfuse.pth", "cddfuse.safetensors"):
        with pytest.raises(ValueError, match=rf"{name} holds weights of cddfuse, not of ship$"):
            build.network("ship", tmp_path / name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_another_size(tmp_path, cddfuse, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix == ".pth":
        torch.save(authors_format(cddfuse), path)
    else:
        safetensors.torch.save_file(cddfuse.state_dict(), path)
    assert refusal(fresh(dim=16), path) == (
        "does not fit CDDFuse with these options: encoder.embed.weight is (8, 1, 3, 3), expected (16, 1, 3, 3)"
    )
    assert "tensors missing, e.g. encoder.blocks.1" in refusal(fresh(blocks=2), path)


def test_a_refused_file_changes_nothing(tmp_path, cddfuse):
    state = {**cddfuse.state_dict(), "decoder.head.2.weight": torch.zeros(7)}
    safetensors.torch.save_file(state, tmp_path / "x.safetensors")
    network = fresh()
    refusal(network, tmp_path / "x.safetensors")
    assert same(network, fresh())


def test_too_many_tensors(tmp_path, cddfuse):
    safetensors.torch.save_file({**cddfuse.state_dict(), "extra": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert refusal(fresh(), tmp_path / "x.safetensors") == "does not fit CDDFuse: 1 unknown tensors, e.g. extra"


@pytest.mark.parametrize(
    "checkpoint",
    [
        {},
        [1, 2],
        torch.zeros(3),
        {1: 2},
        {"a\nb": torch.zeros(1)},
        dict.fromkeys(PARTS.values(), 3),
        {part: {"a": 3} for part in PARTS.values()},
        {part: {3: torch.zeros(1)} for part in PARTS.values()},
        {"params": {3: 4}},
        {"params": {"interaction1": 4}},
        {"params": [torch.zeros(1)]},
    ],
)
def test_dictionaries_of_other_things(tmp_path, cddfuse, ship, checkpoint):
    torch.save(checkpoint, tmp_path / "x.pth")
    for network in (cddfuse, ship):
        message = refusal(network, tmp_path / "x.pth")
        assert message.startswith((f"does not fit {type(network).__name__}: ", "holds a ")), message


def test_rule_based_methods_take_no_weights(tmp_path, cddfuse):
    weights.save(tmp_path / "x.safetensors", cddfuse, name="average")
    with pytest.raises(ValueError, match=r"^average is rule-based and takes no weights, but got .*x\.safetensors$"):
        build.network("average", tmp_path / "x.safetensors")


# --- damaged and hostile files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path, kind):
    network = build.network("ship", options={"channels": 4, "interactions": 1})
    state = {"first": {"weight": torch.arange(30.0)}, "second": torch.ones(5)}
    whole, path = tmp_path / "whole", tmp_path / ("x.safetensors" if kind == "safetensors" else "x.pth")
    if kind == "safetensors":
        safetensors.torch.save_file(state["first"], whole)
    else:
        torch.save(state, whole, _use_new_zipfile_serialization=kind == "zip")
    data = whole.read_bytes()
    for cut in {*range(0, len(data), 11), *range(len(data) - 4, len(data))}:
        path.write_bytes(data[:cut])
        assert re.search("cut|is refused" if cut else "it is empty", refusal(network, path))


@pytest.mark.parametrize("content", [b"", b"hello,\nI am text\n", b"PK\x03\x04 almost a zip", b"\x80\x02.", b"\0" * 64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pt", ""])
def test_another_kind_of_file(tmp_path, cddfuse, suffix, content):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    kind = "a PyTorch checkpoint" if content[:1] in (b"P", b"\x80") else "weights"  # not by the suffix
    reasons = {b"": "it is empty: fetch it again", b"h": "it is text ('hello, I am text')"}
    reason = reasons.get(content[:1], "it may be cut, or another kind of file")
    assert refusal(cddfuse, path).startswith(f"cannot be read as {kind}: {reason}")


def test_a_missing_file_or_a_folder(tmp_path, cddfuse, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.pth").mkdir()
    absent, folder = (
        f"is not there (looked in {tmp_path})",
        "is a folder: expected a weight file; name one that is in it",
    )
    for name, words in {"x.pth": absent, "x.safetensors": absent, "folder.pth": folder, ".": folder}.items():
        for action in (lambda path: weights.load(cddfuse, path), weights.stated):
            with pytest.raises(FileNotFoundError) as caught:
                action(Path(name))
            assert str(caught.value) == f"{name} {words}"


class Bomb:
    """Unpickled without restrictions, it makes the folder `path`."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "run")))
    assert (tmp_path / "run").is_dir()


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle 2", "pickle 4", "inside the four"])
@pytest.mark.parametrize("name", ["cddfuse", "ship"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, cddfuse, how, name):
    path, witness = tmp_path / "x.pth", tmp_path / "run"
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps({"params": Bomb(witness)}, protocol=int(how[-1])))
    elif how == "inside the four":
        torch.save({**authors_format(cddfuse), "extra": Bomb(witness)}, path)
    else:
        torch.save({"params": Bomb(witness)}, path, _use_new_zipfile_serialization=how == "zip")
    options = SMALL if name == "cddfuse" else {"channels": 4, "interactions": 1}
    network = build.network(name, options=options)
    message = refusal(network, path)
    # Of protocol 4 PyTorch's restricted reader does not get as far as the code.
    refused = "is refused: it carries code or objects other than tensors, which are never run"
    assert ("it is a Python pickle, which may carry code" if how == "pickle 4" else refused) in message
    with pytest.raises(ValueError, match=r"refused|cannot be read"):
        build.network(name, path, options)
    assert not witness.exists()


def test_a_pickle_named_safetensors_is_not_run(tmp_path, cddfuse):
    (tmp_path / "x.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "run")))
    refusal(cddfuse, tmp_path / "x.safetensors")
    assert not (tmp_path / "run").exists()
