"""Which samples make a batch: a function of (seed, step), whoever asks and however many of them."""

import itertools

import numpy as np
import pytest
from torch.utils.data import DataLoader

from fusion.data import sampler
from fusion.data.sampler import Batches, Key, Loader, batch_keys, loader, view


class Numbers:
    """A data set whose samples say what they were asked for."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, key):
        return {"index": key.index, "epoch": key.epoch, "top": view(key, 50, 60, 16).top}


def take(batches, count):
    return list(itertools.islice(batches, count))


def test_every_epoch_shows_every_sample_once():
    keys = [key for step in range(7) for key in batch_keys(3, step, n=14, batch_size=4)]
    epochs = [[key.index for key in keys if key.epoch == epoch] for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(14))
    assert epochs[0] != epochs[1]


def test_order_depends_on_the_seed():
    assert batch_keys(0, 0, 100, 50) == batch_keys(0, 0, 100, 50)
    assert [k.index for k in batch_keys(0, 0, 100, 50)] != [k.index for k in batch_keys(1, 0, 100, 50)]


def test_a_batch_larger_than_the_data_set_runs_through_epochs():
    keys = batch_keys(0, 0, n=3, batch_size=7)
    assert [key.epoch for key in keys] == [0, 0, 0, 1, 1, 1, 2]


def test_resuming_gives_the_tail_of_an_uninterrupted_run():
    whole = take(Batches(n=11, batch_size=4, seed=5), 20)
    assert take(Batches(n=11, batch_size=4, seed=5, start_step=13), 7) == whole[13:]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_joined_batch(world):
    joined = take(Batches(n=20, batch_size=6, seed=1), 8)
    parts = [take(Batches(n=20, batch_size=6, seed=1, rank=rank, world=world), 8) for rank in range(world)]
    assert [list(itertools.chain(*shares)) for shares in zip(*parts, strict=True)] == joined


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="batch of 5 does not divide among 2"):
        Batches(n=9, batch_size=5, seed=0, world=2)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        Batches(n=9, batch_size=4, seed=0, rank=2, world=2)
    with pytest.raises(ValueError, match="n=0"):
        Batches(n=0, batch_size=4, seed=0)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_reads_the_same(workers):
    with loader(Numbers(10), 4, seed=2, start_step=3, workers=workers) as batches:
        got = take(batches, 6)
    for step, batch in enumerate(got, 3):
        keys = batch_keys(2, step, 10, 4)
        assert batch["index"].tolist() == [key.index for key in keys]
        assert batch["top"].tolist() == [view(key, 50, 60, 16).top for key in keys]


def test_torchs_own_loader_with_processes_reads_the_same():
    batches = DataLoader(Numbers(10), batch_sampler=Batches(n=10, batch_size=4, seed=2), num_workers=2)
    with loader(Numbers(10), 4, seed=2) as ours:
        for theirs in take(iter(batches), 3):
            mine = next(ours)
            assert all((mine[name] == theirs[name]).all() for name in theirs)


def test_errors_arrive_at_their_batch():
    class Bad(Numbers):
        def __getitem__(self, key):
            if key.epoch == 1:
                raise ValueError("bad.png is bad")
            return super().__getitem__(key)

    with loader(Bad(4), 4, seed=0) as batches:
        next(batches)
        with pytest.raises(ValueError, match=r"bad\.png"):
            next(batches)


def test_nonsense_worker_counts_are_refused():
    with pytest.raises(ValueError, match="workers=-1"):
        Loader(Numbers(3), Batches(n=3, batch_size=1, seed=0), workers=-1)


# --- views ----------------------------------------------------------------------------------------------------------


def test_the_eight_turns_are_alike_frequent():
    square = np.array([[0, 1], [2, 3]])
    seen = [view(Key(0, 0, i), 2, 2, augment=True).of(square).ravel().tolist() for i in range(1600)]
    expected = [
        np.rot90(np.fliplr(square) if flip else square, k).ravel().tolist() for k in range(4) for flip in (0, 1)
    ]
    assert {tuple(x) for x in seen} == {tuple(x) for x in expected}
    counts = [seen.count(x) for x in expected]
    assert min(counts) > 140, counts  # 200 +- 13; 4.5 standard deviations
    assert max(counts) < 260, counts


def test_crops_reach_every_corner_and_stay_inside():
    views = [view(Key(0, epoch, 7), 20, 19, size=16) for epoch in range(400)]
    assert {v.top for v in views} == set(range(5))
    assert {v.left for v in views} == set(range(4))


def test_order_and_views_share_no_numbers():
    # numpy's SeedSequence takes [seed, epoch] and [seed, epoch, 0] for the same seed unless told to tell them apart.
    order, views = sampler._generator(sampler._ORDER, 3, 1), sampler._generator(sampler._VIEW, 3, 1, 0)
    assert order.random() != views.random()


def test_every_epoch_draws_anew():
    assert len({view(Key(0, epoch, 0), 1000, 1000, size=1)[:2] for epoch in range(50)}) == 50


def test_augmentation_leaves_the_crop_where_it_was():
    for index in range(20):
        assert view(Key(1, 2, index), 40, 50, 16)[:4] == view(Key(1, 2, index), 40, 50, 16, augment=True)[:4]


def test_an_integer_asks_for_the_centre_unturned():
    assert view(3, 40, 50, size=10, augment=True) == (15, 20, 10, 10, False, False, False)


def test_oblong_pictures_keep_their_shape():
    image = np.arange(6).reshape(2, 3)
    assert {view(Key(0, 0, i), 2, 3, augment=True).of(image).shape for i in range(50)} == {(2, 3)}


def test_too_small_a_picture_is_refused():
    with pytest.raises(ValueError, match="40x100 is smaller than the crop of 64x64"):
        view(0, 40, 100, size=64)
