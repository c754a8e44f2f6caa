"""Whether bfloat16 is faster than float32 on this processor, method by method: measured in milliseconds, and kept.

Without a unit that multiplies bfloat16, compiled loops have nothing to win. With one it depends: on Zen 4 they take 0.6
to 0.7 of the time of float32's, but where multiplying is no faster, rounding is lost time. So the loops that a method
spends most of its time in are run both ways, in turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from fusion.inference import bands

ROUNDS = 9
GAIN = 0.95
"""The most of the exact time that the other may take in such a trial: the rest of a network takes as long as before."""

KNOWN: dict[str, bool] = {}


def bf16_pays(method: str) -> bool:
    """Whether a CPU fuses faster in bfloat16. method: `cddfuse`, whose work is products of pixels with matrices, or
    `ship`, whose work is 3x3 convolutions."""
    way = "loops" if bands.available() and unit_known() else "PyTorch"
    key = f"{method} {way} {torch.get_num_threads()}"
    if key not in KNOWN:
        KNOWN[key] = by_loops(method) if way == "loops" else faster(**pytorch_trials(method))
    return KNOWN[key]


def unit_known() -> bool:
    """Whether there are loops for this processor at all."""
    from fusion.inference.loops.compiler import USABLE

    return USABLE


def by_loops(method: str) -> bool:
    from fusion.inference.loops import compiler, products

    if not compiler.BFLOAT16:
        return False
    file, key = kept_in(products.dot), f"{method} {compiler.PROCESSOR} {compiler.MADE_OF}"
    known = read(file)
    if key not in known:
        known[key] = faster(**loop_trials(method))
        with suppress(OSError):  # a folder that is full or read-only: the next process measures again
            if file:
                file.write_text(json.dumps(known), encoding="utf-8")
    return known[key]


def kept_in(loop) -> Path | None:
    """A file beside those of numba."""
    folder = getattr(getattr(loop, "_cache", None), "cache_path", None)
    return Path(folder) / "faster_in_bf16.json" if folder else None


def read(file: Path | None) -> dict[str, bool]:
    """What was measured on whichever processor; nothing where the file is missing or damaged."""
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): value for key, value in found.items() if isinstance(value, bool)}
    return {}


def faster(exact: Callable, bf16: Callable, clock: Callable[[], float] = time.perf_counter) -> bool:
    """Whether `bf16` takes clearly less time: the shortest of runs in turns, which others disturb least."""
    seconds: dict[Callable, list[float]] = {exact: [], bf16: []}
    for _ in range(1 + ROUNDS):
        for run, spent in seconds.items():
            start = clock()
            run()
            spent.append(clock() - start)
    return min(seconds[bf16][1:]) < GAIN * min(seconds[exact][1:])  # the first ones compile


def loop_trials(method: str) -> dict[str, Callable]:
    """Some rows of 640 pixels, by the compiled loops."""
    from fusion.inference.loops import products, rows, winograd

    w, c = 640, 64
    x, weight = np.ones((w, c), np.float32), np.ones((c, c, 3, 3), np.float32)
    narrow, out = np.empty((w, c), np.uint16), np.empty((w, c), np.float32)

    def multiply(bfloat16: bool) -> Callable:
        matrix = products.factor(weight[:, :, 0, 0].copy(), bfloat16)

        def run() -> None:
            for _ in range(20):
                if bfloat16:
                    rows.convert(x, narrow)
                products.dot(narrow if bfloat16 else x, matrix, out)

        return run

    def convolve(bfloat16: bool) -> Callable:
        layer = winograd.layer(weight, None, 0.0, winograd.TWO, bfloat16)
        ring = np.zeros((3, w // 2, c // winograd.GROUP, 4, winograd.GROUP), np.uint16 if bfloat16 else np.float32)

        def run() -> None:
            for r in range(4):
                winograd.enter(x, w, ring, r, 4)
                winograd.convolve(ring, r, layer, out)

        return run

    trial = multiply if method == "cddfuse" else convolve
    return {"exact": trial(False), "bf16": trial(True)}


def pytorch_trials(method: str) -> dict[str, Callable]:
    """A strip of 8192 pixels, by PyTorch."""

    def trial(dtype: torch.dtype) -> Callable:
        if method == "cddfuse":
            x, matrix = torch.ones(8192, 64, dtype=dtype), torch.ones(64, 64, dtype=dtype)
            return torch.inference_mode()(lambda: x @ matrix)
        x, weight = torch.ones(1, 16, 64, 128, dtype=dtype), torch.ones(16, 16, 3, 3, dtype=dtype)
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
        return torch.inference_mode()(lambda: F.conv2d(x, weight, padding=1))

    return {"exact": trial(torch.float32), "bf16": trial(torch.bfloat16)}
