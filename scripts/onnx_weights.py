"""Weights of an ONNX model in fewer bytes: float16 or int8 in the file, float32 in the arithmetic.

Half-precision arithmetic is no gain on a CPU, where onnxruntime runs these files, and the sums over a whole picture
that these networks are made of overflow float16.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST = 256
"""Numbers of a tensor that is worth it; smaller ones (biases, temperatures) stay as they are."""


def shrink(model: onnx.ModelProto, kind: str) -> None:
    """Store the weights of `model` as `float16` or `int8` (symmetric, a scale for each output channel), in place."""
    graph = model.graph
    nodes, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size < LEAST or values.ndim < 2:
            kept.append(tensor)
            continue
        stored, node = (as_float16 if kind == "float16" else as_int8)(tensor.name, values)
        kept += stored
        nodes.append(node)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes + rest)


def as_float16(name: str, values: np.ndarray) -> tuple[list[TensorProto], onnx.NodeProto]:
    stored = numpy_helper.from_array(values.astype(np.float16), f"{name}_float16")
    return [stored], helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)


def as_int8(name: str, values: np.ndarray) -> tuple[list[TensorProto], onnx.NodeProto]:
    # Convolutions have their output channels first; a linear layer's matrix, transposed by the exporter, last.
    axis = 0 if values.ndim > 2 else values.ndim - 1
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = (np.abs(values).max(axis=others) / 127).clip(min=1e-12).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    levels = np.rint(values / scale.reshape(shape)).astype(np.int8)
    stored = [numpy_helper.from_array(levels, f"{name}_int8"), numpy_helper.from_array(scale, f"{name}_scale")]
    return stored, helper.make_node("DequantizeLinear", [s.name for s in stored], [name], axis=axis)
