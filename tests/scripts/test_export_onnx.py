"""Exported files agree with PyTorch, are fused like any network, and refuse what is not theirs."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import fusion
from fusion import build, images, infer, places
from fusion.networks import CDDFuse, Swift
from fusion.networks.base import Convention, Network
from fusion.registry import NETWORKS
from tests.rounding import tolerance

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def program(root):
    """export_onnx.py, which traces every module once, however often it is exported."""
    sys.path.insert(0, str(root / "scripts"))
    import export_onnx

    true, traced = torch.onnx.export, {}

    def export(module, *args, **options):
        key = module.network, module.stretch  # kept, so that no other network gets its id
        if key not in traced:
            traced[key] = true(module, *args, **options).model_proto.SerializeToString()
        return SimpleNamespace(model_proto=onnx.ModelProto.FromString(traced[key]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", export)
        yield export_onnx
    sys.path.remove(str(root / "scripts"))


@pytest.fixture(scope="module")
def small():
    """Large enough that most of its numbers stand in large tensors, which `--store` makes smaller."""
    torch.manual_seed(0)
    return CDDFuse(dim=32, heads=4, blocks=1).eval()


@pytest.fixture(scope="module")
def file(program, small, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    assert program.export(small, "cddfuse", path) < 1e-5
    return path


class Stretching(Network):
    """Half of the sum, which is then stretched, as CDDFuse's."""

    convention = Convention(stretch=True)

    def raw(self, ir, vis):
        return (ir + vis) / 2


def test_swift_pads_any_size(program, tmp_path):
    torch.manual_seed(0)
    network = Swift().eval()
    assert program.export(network, "swift", tmp_path / "swift.onnx") < 1e-5
    ir, vis = np.random.default_rng(0).integers(0, 256, (2, 37, 61), np.uint8)
    loaded = fusion.load(str(tmp_path / "swift.onnx"))
    difference = fusion.fuse(loaded, ir, vis).astype(int) - fusion.fuse(network, ir, vis)
    assert abs(difference).max() <= 1


@pytest.mark.parametrize("size", [(2, 2), (40, 31), (33, 70)])
def test_cddfuse_at_other_sizes(small, file, size):
    ir, vis = np.random.default_rng(0).random((2, *size), np.float32)
    loaded = fusion.load(str(file))
    allowed = 2 * tolerance(small, *(torch.from_numpy(x)[None, None] for x in (ir, vis)))
    assert np.abs(infer.run(loaded, ir, vis) - infer.run(small, ir, vis)).max() <= allowed
    picture = fusion.fuse(loaded, ir, vis)
    assert np.abs(picture.astype(int) - fusion.fuse(small, ir, vis)).max() <= 1


def test_the_stretch_can_be_inside(program, tmp_path):
    network = Stretching()
    program.export(network, "cddfuse", tmp_path / "s.onnx", stretch=True)
    ir, vis = np.random.default_rng(0).random((2, 40, 31), np.float32)
    loaded = fusion.load(str(tmp_path / "s.onnx"))
    assert not loaded.convention.stretch
    raw = infer.run(loaded, ir, vis)
    np.testing.assert_allclose([raw.min(), raw.max()], [0, 1], atol=1e-5)
    assert np.abs(fusion.fuse(loaded, ir, vis).astype(int) - fusion.fuse(network, ir, vis)).max() <= 1


@pytest.mark.slow
def test_ship_with_its_fourier_transforms(program, tmp_path):
    torch.manual_seed(0)
    network = build.network("ship")
    assert program.export(network, "ship", tmp_path / "ship.onnx") < 1e-4  # 5e-6 with the released weights
    ir, vis = np.random.default_rng(0).random((2, 51, 38), np.float32)
    assert (
        np.abs(infer.run(fusion.load(str(tmp_path / "ship.onnx")), ir, vis) - infer.run(network, ir, vis)).max() < 1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, cls in NETWORKS.items() if cls.learned))
def test_every_learned_network(program, tmp_path, name):
    """IFCNN cuts to whole 8-bit levels inside, of which rounding may move a pixel by one."""
    network = build.network(name)
    error = program.export(network, name, tmp_path / "any.onnx")
    assert error < program.TOLERANCE + network.whole_levels / 255


@pytest.mark.parametrize(("store", "smaller"), [("float16", 0.5), ("int8", 0.25)])
def test_smaller_weights(program, small, tmp_path, monkeypatch, root, store, smaller):
    """Checked on the sample pairs, of which parts are enough here."""
    for side in ("ir", "vi"):
        for name in ("01_street_day", "05_house_wood"):
            part = images.read(root / f"test_img/sample/{side}/{name}.png")[40:110, 50:130]
            images.write(tmp_path / f"test_img/sample/{side}/{name}.png", part)
    monkeypatch.setattr(program, "ROOT", tmp_path)
    path = tmp_path / "x.onnx"
    assert 0 <= program.export(small, "cddfuse", path, store=store) <= 0.01
    held = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer)
    full = sum(4 * p.numel() for p in small.parameters())
    assert held < 1.2 * smaller * full  # small tensors stay as they are
    ir, vis = np.random.default_rng(0).random((2, 40, 31), np.float32)
    difference = np.abs(infer.run(fusion.load(str(path)), ir, vis) - infer.run(small, ir, vis)).max()
    assert 0 < difference < 0.02


def test_smaller_weights_that_cost_too_much_are_not_kept(program, small, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "away_from", lambda *_: 0.02)
    with pytest.raises(ValueError, match=r"2\.0 % of the sample pairs' pixels .* \(allowed: 1 %\); not written"):
        program.export(small, "cddfuse", tmp_path / "x.onnx", store="int8")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_kept_that_disagrees(program, small, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "difference", lambda *_: 0.5)
    with pytest.raises(ValueError, match=r"5\.0e-01 from PyTorch's \(allowed: 0\.0001\); not written"):
        program.export(small, "cddfuse", tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("cddfuse", "cddfuse_msrs.safetensors")),
        (["--model", "swift"], ("swift", "swift_msrs.safetensors")),
        (["--weights", "theirs"], ("swift", "theirs")),
        (["--model", "swift", "--weights", "none"], ("swift", None)),
    ],
)
def test_what_is_exported(program, monkeypatch, tmp_path, capsys, arguments, expected):
    """The shipped weights, or the network that a file is of, or with a word an untrained one."""
    monkeypatch.chdir(tmp_path)
    torch.save(Swift().state_dict(), "theirs")
    seen = []
    monkeypatch.setattr(program, "export", lambda network, name, path, **_: seen.append((network, name)) or 0.0)
    (tmp_path / "x.onnx").write_bytes(b"")
    assert program.main([*arguments, "-o", "x.onnx"]) == 0
    ((network, name),) = seen
    assert name == expected[0]
    if expected[1]:
        file = Path("theirs") if expected[1] == "theirs" else places.models() / expected[1]
        wanted = fusion.load(weights=file).state_dict()
        assert all(torch.equal(value, wanted[key]) for key, value in network.state_dict().items())
    assert ("note: swift is exported untrained" in capsys.readouterr().err) == (expected[1] is None)


def test_another_models_file_is_refused(tmp_path):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"an ONNX file of another model \(inputs: x\)"):
        fusion.load(str(tmp_path / "other.onnx"))


def test_bad_files_and_options(file, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx is not there"):
        fusion.load(str(tmp_path / "nowhere.onnx"))
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="no ONNX file that can be run"):
        fusion.load(str(tmp_path / "cut.onnx"))
    with pytest.raises(ValueError, match="has its weights and options inside"):
        fusion.load(str(file), dim=8)


def test_without_onnxruntime(file, monkeypatch):
    true = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError(name)
        return true(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"needs onnxruntime: pip install -e '.\[onnx\]'"):
        fusion.load(str(file))


@pytest.mark.parametrize("name", ["cpfusion", "average", "maximum"])
def test_a_rule_is_refused_in_one_line(program, tmp_path, capsys, name):
    assert program.main(["--model", name, "-o", str(tmp_path / "x.onnx")]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {name} is a rule without weights, which has no ONNX form: fuse.py --model runs it\n"
    assert list(tmp_path.iterdir()) == []
