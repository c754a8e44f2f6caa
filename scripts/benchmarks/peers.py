"""Other people's engines with the same weights, by the ONNX file that `scripts/export_onnx.py` writes.

Each gets as many threads as ours and is checked against PyTorch before it is timed. `openvino-bf16` is OpenVINO's own
choice of what to compute in bfloat16.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

PEERS = ("onnxruntime", "openvino", "openvino-bf16")
CLOSE = {"onnxruntime": 1e-2, "openvino": 1e-2, "openvino-bf16": 0.1}
"""From PyTorch, of outputs about 1, the most of another engine with random weights, which enlarge rounding (OpenVINO's
SHIP in float32: 1.3e-3). Another function would be tenths away."""


def exported(name: str, network: torch.nn.Module, folder: Path) -> Path:
    """The file; raises as `export_onnx.export`."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from export_onnx import export

    path = folder / f"{name}.onnx"
    export(network, name, path)
    return path


def engine(kind: str, path: str, threads: int) -> Callable[[Tensor, Tensor], Tensor]:
    """(ir, vis) -> raw output. Raises ValueError where the package is not installed."""
    try:
        return onnxruntime(path, threads) if kind == "onnxruntime" else openvino(path, threads, kind.endswith("bf16"))
    except ImportError as error:
        raise ValueError(f"{kind} needs {error.name}: pip install -e '.[peers]'") from None


def onnxruntime(path: str, threads: int) -> Callable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda ir, vis: torch.from_numpy(session.run(None, {"ir": ir.numpy(), "vis": vis.numpy()})[0])


def openvino(path: str, threads: int, bf16: bool) -> Callable:
    import openvino

    hint = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32"}
    model = openvino.Core().compile_model(path, "CPU", hint)
    return lambda ir, vis: torch.from_numpy(model({"ir": ir.numpy(), "vis": vis.numpy()})[0])


def checked(kind: str, compute: Callable, network: torch.nn.Module) -> Callable:
    """`compute`; ValueError where it is another function than the network."""
    n = max(64, network.min_size)
    ir, vis = torch.rand(2, 1, 1, n, n + 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        off = (compute(ir, vis) - network.raw(ir, vis)).abs().max().item()
    if not off <= CLOSE[kind]:
        raise ValueError(f"{kind} is {off:.1e} from PyTorch, expected {CLOSE[kind]:.0e} at most")
    return compute
