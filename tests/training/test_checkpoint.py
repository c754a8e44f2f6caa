"""Checkpoints: whole or not at all, the last few kept, damaged ones passed over."""

import errno
import os
import resource

import pytest
import torch

from fusion.training import checkpoint
from fusion.training.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", keep=2)


def state(step):
    return {"step": step, "weights": torch.full((20_000,), float(step))}


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_the_last_ones_are_kept(checkpoints):
    for step in (1, 2, 30):
        checkpoints.save(state(step), step)
    checkpoints.write(state(2), "best.pt")
    assert names(checkpoints) == ["best.pt", "step_00000002.pt", "step_00000030.pt"]
    path, newest = checkpoints.newest(pytest.fail)
    assert path == checkpoints.last()
    assert newest["step"] == 30
    assert torch.equal(newest["weights"], state(30)["weights"])


def test_nothing_yet(checkpoints):
    assert checkpoints.newest(pytest.fail) is None
    assert checkpoints.last() is None


def cut(data):
    return data[: len(data) // 2]


def flip(data):
    middle = data.index(b"\x00\x00\xf0A")  # among the weights, 30.0 each
    return data[:middle] + b"\x01" + data[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda data: b"", lambda data: b"PK nonsense", lambda data: data[:-1]])
def test_a_damaged_newest_one_is_passed_over_aloud(checkpoints, damage):
    for step in (2, 30):
        checkpoints.save(state(step), step)
    path = checkpoints.last()
    path.write_bytes(damage(path.read_bytes()))
    said = []
    path, found = checkpoints.newest(said.append)
    assert path.name == "step_00000002.pt"
    assert found["step"] == 2
    assert len(said) == 1
    assert said[0].startswith(f"{checkpoints.folder}/step_00000030.pt cannot be read: ")
    assert said[0].endswith("; trying the one before")
    assert "\n" not in said[0]


def test_a_checkpoint_carries_no_code(checkpoints):
    checkpoints.folder.mkdir()
    torch.save({"step": 1, "weights": print}, checkpoints.folder / "step_00000001.pt")
    assert checkpoints.newest([].append) is None


def no_space(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_one_before(checkpoints, monkeypatch):
    checkpoints.save(state(2), 2)
    monkeypatch.setattr(checkpoint.os, "fsync", no_space)
    with pytest.raises(OSError, match=r"cannot write .*30\.pt: No space left on device; .* checkpoint: .*02\.pt$"):
        checkpoints.save(state(30), 30)
    assert names(checkpoints) == ["step_00000002.pt"]
    assert checkpoints.newest(pytest.fail)[1]["step"] == 2


def test_a_limit_met_while_writing_leaves_the_one_before(checkpoints):
    checkpoints.save(state(2), 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*30\.pt: .*; the last good checkpoint: .*02\.pt$") as caught:
            checkpoints.save(state(30), 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert names(checkpoints) == ["step_00000002.pt"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write .*: File exists; the last good checkpoint: none"):
        Checkpoints(tmp_path / "checkpoints", keep=2).save(state(1), 1)
