"""What a person sees of a run: the log continues where the checkpoint stands, one process speaks."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fusion.training.watch import Watch, forget_after


def log(watch, step):
    watch.patches += 4
    watch.scalars(step, "one", {"total": 1.5, "ssim": 0.1}, {"encoder": 2.0}, {"encoder": 1e-4})


def test_every_term_norm_and_rate_is_written(tmp_path):
    watch = Watch(tmp_path, start=0, total=3)
    log(watch, 1)
    watch.validation(1, {"VIF": 0.5})
    watch.pictures(1, [{"ir": torch.rand(1, 1, 8, 9), "fused": torch.rand(1, 1, 8, 9)}])
    watch.close()
    step, validation = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert step.pop("speed")["patches_per_second"] > 0
    assert step == {
        "step": 1,
        "phase": "one",
        "loss": {"total": 1.5, "ssim": 0.1},
        "gradient_norm": {"encoder": 2.0},
        "rate": {"encoder": 1e-4},
    }
    assert validation == {"step": 1, "validation": {"VIF": 0.5}}
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(board.Tags()["scalars"]) == {
        "loss/total", "loss/ssim", "gradient_norm/encoder", "rate/encoder", "speed/patches_per_second",
        "validation/VIF",
    }  # fmt: skip
    assert board.Tags()["images"] == ["pair_0/ir_fused"]
    assert [p.name for p in (tmp_path / "pictures").iterdir()] == ["step_00000001_pair_0.png"]


def test_a_resumed_run_forgets_what_it_takes_anew(tmp_path):
    watch = Watch(tmp_path, start=0, total=9)
    for step in (1, 2, 3):
        log(watch, step)
    watch.close()
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "pha')  # killed in the middle of a line
    watch = Watch(tmp_path, start=2, total=9)
    log(watch, 3)
    watch.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_no_log_no_trouble(tmp_path):
    forget_after(3, tmp_path / "log.jsonl")
    assert not list(tmp_path.iterdir())


def test_other_processes_are_silent(tmp_path, capsys):
    watch = Watch(tmp_path / "nowhere", start=0, total=3, silent=True)
    log(watch, 1)
    watch.validation(1, {"VIF": 0.5})
    watch.pictures(1, [])
    watch.say("hello")
    watch.advance()
    watch.close()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    watch = Watch(tmp_path, start=0, total=3)
    watch.log = tmp_path
    with pytest.raises(OSError, match=f"cannot write {tmp_path}: Is a directory"):
        log(watch, 1)
    watch.close()
