"""Variables of TensorFlow-1 checkpoints, read without TensorFlow.

The data file (`x.data-00000-of-00001`) is nothing but little-endian float32 numbers: all variables one after another
in the order of their names. Names and shapes stand in another file, which people lose; of the few networks whose
weights exist in this form they are known, and the number of bytes tells which it is.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = ".data-00000-of-00001"
BESIDE = (".index", ".meta")
"""What lies beside the data file: names and shapes, and the graph."""

Layout = dict[str, tuple[int, ...]]
"""Name -> shape of every variable."""


def data_file(path: Path) -> Path | None:
    """The data file of a checkpoint named by that file, its index or their common prefix; None where it is none."""
    # A data file may have been given another name: its size tells.
    file = next((f for f in (_expected(path), path) if f.is_file()), None)
    return file if file and file.stat().st_size in LAYOUTS else None


def lacking(path: Path) -> Path | None:
    """The data file that a checkpoint named by its index, its graph or their prefix should have, and has not."""
    parts = (path.parent / (path.name + suffix) for suffix in BESIDE)
    belongs = path.is_file() if path.suffix in BESIDE else any(part.is_file() for part in parts)
    return _expected(path) if belongs and not _expected(path).is_file() else None


def _expected(path: Path) -> Path:
    """Where the data file of the checkpoint that `path` names should lie."""
    prefix = path.with_suffix("") if path.suffix in BESIDE or path.name.endswith(DATA) else path
    return prefix.parent / (prefix.name + DATA)


def read(path: Path) -> dict[str, Tensor]:
    """The variables of a file for which `data_file` gives one: kernels are (height, width, inputs, outputs)."""
    file = data_file(path)
    return split(np.fromfile(file, "<f4"), LAYOUTS[file.stat().st_size])


def split(numbers: np.ndarray, layout: Layout) -> dict[str, Tensor]:
    """The one-dimensional contents of a data file -> its variables, float32."""
    names = sorted(layout)
    ends = np.cumsum([math.prod(layout[name]) for name in names])
    parts = np.split(numbers.astype(np.float32), ends[:-1])
    return {name: torch.from_numpy(part.reshape(layout[name])) for name, part in zip(names, parts, strict=True)}


def as_convolution(kernel: Tensor) -> Tensor:
    """TensorFlow's kernel (height, width, inputs, outputs) -> PyTorch's weight; biases stay."""
    return kernel.permute(3, 2, 0, 1).contiguous() if kernel.ndim == 4 else kernel


def _u2fusion() -> Layout:
    convolutions = {"Generator/encoder/conv1_1": (3, 3, 2, 44)}
    convolutions |= {f"Generator/encoder/dense_block_conv{k}": (3, 3, 44 * k, 44) for k in range(1, 6)}
    widths = (264, 128, 64, 32, 1)
    convolutions |= {f"Generator_1/decoder/conv2_{k}": (3, 3, *widths[k - 1 : k + 1]) for k in range(1, 5)}
    kernels = {f"{scope}/kernel": shape for scope, shape in convolutions.items()}
    return kernels | {f"{scope}/bias": shape[-1:] for scope, shape in convolutions.items()}


def _sdnet() -> Layout:
    each = {1: (5, 5, 1, 16), 2: (3, 3, 16, 16), 3: (3, 3, 32, 16), 4: (3, 3, 48, 16)}
    each |= {7: (3, 3, 128, 16), 8: (3, 3, 16, 4), 9: (3, 3, 4, 1)}
    convolutions = {f"{k}_{image}": shape for k, shape in each.items() for image in ("ir", "vi")}
    convolutions |= {"5_fuse": (1, 1, 128, 1), "6_sept": (1, 1, 1, 128)}
    kernels = {f"fusion_model/layer{k}/w{k}": shape for k, shape in convolutions.items()}
    return kernels | {f"fusion_model/layer{k}/b{k}": shape[-1:] for k, shape in convolutions.items()}


LAYOUTS = {4 * sum(map(math.prod, layout.values())): layout for layout in (_u2fusion(), _sdnet())}
"""Bytes of a data file -> what is in it."""
