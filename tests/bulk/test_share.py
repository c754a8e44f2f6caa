"""Which part of the work, and which GPU, is a process's own."""

from datetime import timedelta

import pytest
import torch

from fusion.bulk.share import Share


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_everything_is_shared_out_once():
    things = list(range(7))
    parts = [Share(rank, 3).of(things) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    assert Share().of(things) == things
    assert Share().gather("all") == ["all"]


def test_processes_take_the_gpus_in_turn(two_gpus, monkeypatch):
    assert [Share(rank, 3).device("auto") for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setenv("LOCAL_RANK", "1")  # of this machine; rank 4 of all
    assert Share(4, 6).device("auto") == "cuda:1"


def test_any_gpu_is_each_process_its_own(two_gpus):
    """Else all would crowd on the first one."""
    assert [Share(rank, 2).device("cuda") for rank in range(2)] == ["cuda:0", "cuda:1"]
    assert Share().device("cuda") == "cuda"


def test_processes_wait_for_each_other_as_long_as_it_takes(monkeypatch):
    """They meet after hours of work of their own; NCCL would give up after ten minutes, and wants a GPU for each."""
    asked = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *a, **options: asked.append((a, options)))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert vars(Share.of_this_process()) == {"rank": 1, "world": 2}
    (((backend,), options),) = asked
    assert backend == "gloo"
    assert options["timeout"] >= timedelta(days=1)


def test_what_the_user_says_counts(two_gpus):
    assert Share(1, 2).device("cpu") == "cpu"
    assert Share(1, 2).device("cuda:0") == "cuda:0"
    assert Share().device("auto") == "auto"


def test_without_gpus_nothing_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Share(1, 2).device("auto") == "auto"
