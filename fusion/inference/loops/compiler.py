"""How loops are compiled and kept, and what this processor can do."""

from __future__ import annotations

import hashlib
import platform
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import llvmlite.binding
import numpy as np
from numba import config, njit
from numba.core.caching import FunctionCache


def features() -> dict[str, bool]:
    """What numba compiles for: this processor's, or what NUMBA_CPU_FEATURES says; none if NUMBA_CPU_NAME is generic."""
    chosen = config.CPU_FEATURES
    if chosen is None:
        return llvmlite.binding.get_host_cpu_features()
    return {word[1:]: word[0] == "+" for word in chosen.split(",") if word}


FEATURES = features()
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
"""Float32 numbers in a vector register."""

USABLE = bool(FEATURES.get("fma")) or platform.machine() in ("aarch64", "arm64")
"""Whether this processor multiplies and adds at once; in software that takes a hundred times as long."""

PROCESSOR = config.CPU_NAME or llvmlite.binding.get_host_cpu_name()

BFLOAT16 = bool(FEATURES.get("avx512bf16"))
"""Whether this processor multiplies bfloat16."""

# NaN stays NaN: only the order of sums and the kind of division are free.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def digest(folder: Path) -> str:
    """Of all loops' source, and of the vectors they are made for."""
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return f"{hashlib.sha256(sources).hexdigest()} {LANES}"


MADE_OF = digest(Path(__file__).parent)


class Missing(Exception):
    """A function is not kept yet, where nothing new may be compiled."""


class Stopped(Exception):
    """Nothing more is to be compiled, as the process ends."""


class Here(threading.local):
    """Of a thread."""

    compiles = True


HERE, STOPPING = Here(), threading.Event()


class Kept(FunctionCache):
    """Numba's store of compiled functions, which by itself notices changes in a function's own file only, while what it
    keeps has functions of other files inside."""

    def _index_key(self, sig, codegen):
        return MADE_OF, super()._index_key(sig, codegen)

    def load_overload(self, sig, target_context):
        found = super().load_overload(sig, target_context)
        if found is None:
            if STOPPING.is_set():
                raise Stopped
            if not HERE.compiles:
                raise Missing
            announce()
        return found


@contextmanager
def nothing_new() -> Iterator[None]:
    """Inside, in this thread, what would have to be compiled raises `Missing`."""
    HERE.compiles = False
    try:
        yield
    finally:
        HERE.compiles = True


def stop() -> None:
    """From now on whatever would have to be compiled raises `Stopped`."""
    STOPPING.set()


SAID: list[str] = []


def announce(text: str = "compiling loops for this processor: about half a minute, the first time only") -> None:
    """Say, once, why nothing seems to happen."""
    if not SAID:
        SAID.append(text)
        warnings.warn(text, stacklevel=2)


def loop(function: Callable, options: dict = OPTIONS) -> Callable:
    """Compile it when it is first called, for good where there is a folder to keep it in."""
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)
    if type(getattr(compiled, "_cache", None)) is not FunctionCache:  # a numba that keeps them in another way
        return njit(**options)(function)
    compiled._cache = Kept(function)
    return compiled


def loop_as_written(function: Callable) -> Callable:
    """The same, with every sum and product rounded as it stands there: for results equal to another program's."""
    return loop(function, OPTIONS | {"fastmath": False})


inlined = njit(forceinline=True, **OPTIONS)

f32 = np.float32
HALF, ONE, SIX, ZERO = f32(0.5), f32(1), f32(6), f32(0)
