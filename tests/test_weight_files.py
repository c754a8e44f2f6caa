"""Containers that are more than a file, and numbers that cost more than they are worth."""

import pytest
import torch

from fusion import build, weight_files, weights


@pytest.mark.parametrize("given", ["Encoder.pkl", "Decoder.pkl", ""])
def test_two_files_are_one_network(tmp_path, given):
    parts = {"Encoder": torch.zeros(1), "Decoder": torch.ones(2)}
    for part, tensor in parts.items():
        torch.save({"weight": {"x": tensor}}, tmp_path / f"{part}.pkl", _use_new_zipfile_serialization=False)
    found = weight_files.read(tmp_path / given).tensors
    assert {part: tuple(found[part]["weight"]["x"]) for part in found} == {"Encoder": (0,), "Decoder": (1, 1)}


def test_one_of_two_files_says_so(tmp_path):
    torch.save({"weight": {"cov1.cov1.1.weight": torch.zeros(64, 1, 3, 3)}}, tmp_path / "Encoder.pkl")
    with pytest.raises(ValueError, match=r"one half of DIDFuse, whose Encoder\.pkl and Decoder\.pkl belong") as error:
        weights.identify(tmp_path / "Encoder.pkl")
    assert "\n" not in str(error.value)


def test_denormal_numbers_become_zero(tmp_path):
    network = build.network("mmdrfuse")
    with torch.no_grad():
        first = next(network.parameters())
        first.view(-1)[:3] = torch.tensor([1e-40, -1e-40, 2e-38])
    weights.save(tmp_path / "w.safetensors", network, name="mmdrfuse")
    loaded = next(build.network("mmdrfuse", tmp_path / "w.safetensors").parameters())
    expected = first.detach().clone()
    expected.view(-1)[:2] = 0
    assert torch.equal(loaded, expected)


def test_numbers_that_float16_cannot_hold(tmp_path):
    """As a variance of TarDAL's released file."""
    state = build.network("mmdrfuse").state_dict()
    state["conv1.weight"][0] = 1e5
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"e\.g\. conv1\.weight: .* or one in float32: float16 ends at 65504$"):
        build.ready(None, tmp_path / "x.pth")
    torch.save({key: value.bfloat16() for key, value in state.items()}, tmp_path / "x.pth")
    assert build.ready(None, tmp_path / "x.pth").has_weights
