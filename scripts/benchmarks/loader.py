"""Reading patches: our loader against a loop that opens the file for every patch, as the authors' reader does.

Both read random patches of the same noise from freshly written files (in the page cache, so the disk plays no part),
in turns, several rounds each; the table has the medians. Torch's own loader with processes is measured as well: it is
the reason why ours has threads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader

from fusion.data.patch_data import PatchData
from fusion.data.patches import Cut, Options, PatchWriter
from fusion.data.sampler import Batches, loader

SIZE = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--patches", type=int, default=2000, help="pairs of patches in the files (2000: 2 x 260 MB)")
    parser.add_argument("--batch", type=int, default=8, help="pairs in a batch (8)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a measurement (1.0)")
    parser.add_argument("--folder", type=Path, help="where to put the files for the while (the system's)")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Measure, print, and return pairs/s by name."""
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        paths = {layout: Path(folder) / f"{layout}.h5" for layout in ("stacked", "authors")}
        for layout, path in paths.items():
            _write(path, layout, args.patches)
        contestants = _contestants(paths, args.batch)
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(args.rounds):
            for name, start in contestants.items():
                rates[name].append(_pairs_per_second(start, args.batch, args.seconds))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    baseline = next(iter(medians.values()))
    print(f"pairs of {SIZE}x{SIZE} patches per second, batches of {args.batch} in random order, {args.patches} pairs")
    print(f"median of {args.rounds} rounds of {args.seconds:g} s, taken in turns; {torch.get_num_threads()} threads")
    for name, median in medians.items():
        spread = f"{min(rates[name]):.0f} to {max(rates[name]):.0f}"
        print(f"{median:9.0f}  {median / baseline:6.1f}x  {name}  ({spread})")
    return medians


def _contestants(paths: dict[str, Path], batch: int) -> dict[str, Callable[[], Iterator]]:
    """Name -> what starts an endless iterator of batches; the first is what the others are compared with."""
    stacked, authors = PatchData(path=paths["stacked"]), PatchData(path=paths["authors"])
    augmented = PatchData(path=paths["stacked"], augment=True)
    return {
        "a loop, file opened for every pair": lambda: _plain_loop(paths["authors"], batch),
        "our loader, stacked h5": lambda: loader(stacked, batch, seed=0),
        "our loader, stacked h5, augmented": lambda: loader(augmented, batch, seed=0),
        "our loader, the authors' h5": lambda: loader(authors, batch, seed=0),
        "torch DataLoader, 2 processes, stacked h5": lambda: iter(
            DataLoader(stacked, batch_sampler=Batches(n=len(stacked), batch_size=batch, seed=0), num_workers=2)
        ),
    }


def _plain_loop(path: Path, batch: int) -> Iterator[list]:
    random = np.random.default_rng(0)
    with h5py.File(path, "r") as file:
        names = list(file["ir_patchs"])
    while True:
        pairs = []
        for name in random.choice(names, batch):
            with h5py.File(path, "r") as file:
                ir, vis = np.array(file["ir_patchs"][name]), np.array(file["vis_patchs"][name])
            pairs.append((torch.from_numpy(ir), torch.from_numpy(vis)))
        yield pairs


def _pairs_per_second(start: Callable[[], Iterator], batch: int, seconds: float) -> float:
    batches = start()
    for _ in range(8):  # starting threads or processes is not what is measured
        next(batches)
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        next(batches)
        count += batch
    if hasattr(batches, "close"):
        batches.close()
    return count / passed


def _write(path: Path, layout: str, count: int) -> None:
    random, at_once = np.random.default_rng(0), 50
    with h5py.File(path, "w") as file:
        writer = PatchWriter(file, Options(size=SIZE, layout=layout))
        for start in range(0, count, at_once):
            shape = (min(at_once, count - start), 1, SIZE, SIZE)
            ir, vis = random.random(shape, np.float32), random.random(shape, np.float32)
            writer.append(Cut(f"{start:05d}.png", np.zeros((shape[0], 2), np.int32), ir, vis, 0))
        writer.finish()
