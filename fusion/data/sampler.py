"""Which samples make a batch, how each is cropped and turned, and reading batches ahead of the network.

All randomness of the data is a function of (seed, step): an endless stream of samples, one seeded permutation of
the data set after the other, is cut into batches, so batch `step` is known without the batches before it. A run that
resumes at step k sees what it would have seen, and the ranks of a run take adjoining slices of one joined batch.
The authors' programs shuffle with the global generator and can do neither.

A sample is asked for by its `Key` (seed, epoch, index); crop and turn are drawn from these three alone, so they
depend neither on the number of workers and processes nor on the order of reading. A plain integer instead of a key
asks for the sample as it is: unturned, and cropped in the centre.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler, default_collate

# Streams of random numbers that share a seed but never a number.
_ORDER, _VIEW, _TONE = (0,), (1,), (2,)


class Key(NamedTuple):
    """A sample as a training run asks for it: all that its randomness may depend on."""

    seed: int
    epoch: int
    index: int


# --- batches --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of `n` samples in one epoch: (n,) int64. Read-only, because it is remembered."""
    order = _generator(_ORDER, seed, epoch).permutation(n)
    order.flags.writeable = False
    return order


def batch_keys(seed: int, step: int, n: int, batch_size: int) -> list[Key]:
    """The samples of batch `step` (from 0) of a data set of `n`.

    Every epoch shows every sample once. A batch may end one epoch and begin the next, so no sample is left out
    where the batch size does not divide `n`, and a batch may even be larger than the data set.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    return [Key(seed, place // n, int(permutation(seed, place // n, n)[place % n])) for place in places]


class Batches(Sampler):
    """The batches of one process, endlessly from `start_step` on: lists of `Key`; a batch sampler for torch too.

    `batch_size` counts the joined batch of all `world` processes; rank r gets the r-th of `world` equal slices.
    """

    def __init__(self, *, n: int, batch_size: int, seed: int, start_step: int = 0, rank: int = 0, world: int = 1):
        if n < 1 or batch_size < 1 or seed < 0 or start_step < 0:
            raise ValueError(
                f"expected n and batch_size of at least 1, seed and start_step of at least 0; "
                f"got n={n}, batch_size={batch_size}, seed={seed}, start_step={start_step}"
            )
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes: expected 0 to {world - 1}")
        if batch_size % world:
            raise ValueError(f"a batch of {batch_size} does not divide among {world} processes: use a multiple")
        self.n, self.batch_size, self.seed, self.start_step = n, batch_size, seed, start_step
        share = batch_size // world
        self.mine = slice(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[Key]]:
        for step in itertools.count(self.start_step):
            yield batch_keys(self.seed, step, self.n, self.batch_size)[self.mine]


# --- crops and turns ------------------------------------------------------------------------------------------------


class View(NamedTuple):
    """A window of a picture; then rows in reverse, columns in reverse, rows and columns exchanged, in this order.

    The eight combinations are the four quarter turns, mirrored and not.
    """

    top: int
    left: int
    height: int
    width: int
    flip_rows: bool = False
    flip_columns: bool = False
    transpose: bool = False

    def of(self, image: np.ndarray) -> np.ndarray:
        """(H, W) or (H, W, C) -> what the view shows of it; shares memory with `image`."""
        window = image[self.top : self.top + self.height, self.left : self.left + self.width]
        if self.flip_rows:
            window = window[::-1]
        if self.flip_columns:
            window = window[:, ::-1]
        return window.swapaxes(0, 1) if self.transpose else window


def view(key: Key | int, h: int, w: int, size: int | None = None, augment: bool = False) -> View:
    """The view of an h x w picture that `key` stands for.

    size: side of the square window, None for the whole picture. augment: mirror and quarter-turn as well, the eight
    outcomes alike; what is not square is mirrored only, so that it keeps its shape.
    """
    height, width = (h, w) if size is None else (size, size)
    if height > h or width > w:
        raise ValueError(f"{h}x{w} is smaller than the crop of {height}x{width}")
    if not isinstance(key, Key):
        return View((h - height) // 2, (w - width) // 2, height, width)
    if not augment and (height, width) == (h, w):
        return View(0, 0, h, w)
    # Five draws, used or not: switching augmentation on leaves the crops where they were.
    y, x, *coins = _generator(_VIEW, *key).random(5).tolist()
    rows, columns, exchange = (augment and coin < 0.5 for coin in coins)
    return View(
        int(y * (h - height + 1)), int(x * (w - width + 1)), height, width, rows, columns, exchange and height == width
    )


# --- other cameras --------------------------------------------------------------------------------------------------


class Tone(NamedTuple):
    """A picture as another camera would give it: black and white exchanged or not, then gamma, gain and offset."""

    inverted: bool = False
    gamma: float = 1.0
    gain: float = 1.0
    offset: float = 0.0

    def of(self, plane: np.ndarray) -> np.ndarray:
        """(H, W) float32 in [0, 1] -> the same."""
        if self == Tone():
            return plane
        plane = 1 - plane if self.inverted else plane
        return np.clip(np.float32(self.gain) * plane ** np.float32(self.gamma) + np.float32(self.offset), 0, 1)


def tone(key: Key | int, source: int, strength: float) -> Tone:
    """The tone of a picture's source 0 (ir) or 1 (vis) that `key` stands for.

    Half of the pairs stay as they are; of the others each source's tone is drawn by itself. strength: gamma lies in
    2^-1.5 strength to 2^0.5 strength (the pairs there are to train on are dark ones), the gain in 2^-strength to
    2^strength, the offset within strength / 8. An infrared picture of ten is inverted, as a camera that shows heat in
    black does.
    """
    if not isinstance(key, Key) or strength == 0 or _generator(_TONE, *key).random() < 0.5:
        return Tone()
    inverted, *draws = _generator((*_TONE, source), *key).random(4).tolist()
    gamma, gain, offset = (strength * (2 * x - 1) for x in draws)
    return Tone(source == 0 and inverted < 0.2, 2 ** (gamma - strength / 2), 2**gain, offset / 8)


def _generator(stream: tuple[int, ...], *numbers: int) -> np.random.Generator:
    # A spawn key makes the numbers' count matter: without one, [3, 1] and [3, 1, 0] are the same seed to numpy.
    return np.random.default_rng(np.random.SeedSequence(numbers, spawn_key=stream))


# --- reading ahead --------------------------------------------------------------------------------------------------


class Loader:
    """Batches of a data set, read by `workers` threads while the network computes. An endless iterator.

    Threads, not processes: reading is copying and decoding, during which Python lets other threads run. So a cache
    of pictures exists once, no batch passes through /dev/shm, and small batches come ten times as fast as through
    processes (`scripts/benchmark.py loader`). One thread is enough for patches; decoding pictures may want more.
    With no workers a batch is read when it is asked for. Data sets are ordinary map-style ones: torch's
    `DataLoader(data, batch_sampler=Batches(...), num_workers=...)` gives the same batches.
    """

    def __init__(self, dataset, batches: Batches, *, workers: int = 1, ahead: int = 4, pin_memory: bool = False):
        if workers < 0 or ahead < 1:
            raise ValueError(f"expected workers >= 0 and at least 1 batch ahead, got workers={workers}, ahead={ahead}")
        self._read = getattr(dataset, "batch", None) or (lambda keys: default_collate([dataset[key] for key in keys]))
        self._keys = iter(batches)
        self._pin = pin_memory and torch.cuda.is_available()
        self._ahead = max(ahead, workers)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers else None
        self._coming: deque[Future] = deque()

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> dict:
        if self._pool is None:
            return self._load(next(self._keys))
        while len(self._coming) <= self._ahead:
            self._coming.append(self._pool.submit(self._load, next(self._keys)))
        return self._coming.popleft().result()

    def _load(self, keys: list[Key]) -> dict:
        batch = self._read(keys)
        if self._pin:
            batch = {name: x.pin_memory() if torch.is_tensor(x) else x for name, x in batch.items()}
        return batch

    def close(self) -> None:
        """Stop reading; what is under way is finished, what waits is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def loader(
    dataset,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 1,
    pin_memory: bool = False,
) -> Loader:
    """Batches `start_step`, `start_step + 1`, ... of `dataset` for one process: see `Batches` and `Loader`.

    Raises ValueError for a batch size that `world` does not divide, and whatever reading raises, in order.
    """
    batches = Batches(n=len(dataset), batch_size=batch_size, seed=seed, start_step=start_step, rank=rank, world=world)
    return Loader(dataset, batches, workers=workers, pin_memory=pin_memory)
