"""What a form takes of memory: the process's own peak, and the tensors that stand at once."""

from __future__ import annotations

import ctypes
import gc
import re
import weakref
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


def growth(form, h: int, w: int) -> float:
    """MiB that two runs with a picture of h x w add to what is in memory, the picture with it; two, that nothing piles
    up.

    form: of (ir, vis). A small picture goes before, and what was freed goes back to the system.
    """
    fuse, pair = torch.inference_mode()(form), torch.rand(2, 1, 1, h, w)
    fuse(*torch.rand(2, 1, 1, 40, 40))
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what is in memory now
    except (AttributeError, OSError) as error:
        pytest.skip(f"the peak of a process that goes on cannot be told here: {error}")
    before = mebibytes("VmHWM")
    for _ in range(2):
        fuse(*pair)
    return mebibytes("VmHWM") - before


def mebibytes(name: str) -> float:
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**10


class Meter(TorchDispatchMode):
    """The most bytes of tensors made inside it that stood at once."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.seen = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in (result,) if isinstance(result, torch.Tensor) else result if isinstance(result, tuple) else ():
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.seen:
                self.seen[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.gone, key)
        return result

    def gone(self, key):
        self.now -= self.seen.pop(key, 0)
