"""An exported network (`scripts/export_onnx.py`) run by onnxruntime, under the contract of every network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fusion.networks.base import Convention, Network

KEY = "fusion"
"""Of the metadata entry that makes an ONNX file one of ours: JSON with network, convention, min_size, stretched."""


def session(path: str | Path):
    """onnxruntime's session on the CPU; ImportError, FileNotFoundError or ValueError say what is missing."""
    try:
        import onnxruntime
    except ImportError:
        raise ImportError(f"{path} needs onnxruntime: pip install -e '.[onnx]'") from None
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not there")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base but this one
        raise ValueError(f"{path} is no ONNX file that can be run: {str(error).splitlines()[0]}") from error


class OnnxNetwork(Network):
    """One of our ONNX files. Raises as `session` does, and ValueError for an ONNX file of something else."""

    has_weights = True

    def __init__(self, path: str | Path):
        super().__init__()
        self.session = session(path)
        metadata = self.session.get_modelmeta().custom_metadata_map
        names = [x.name for x in self.session.get_inputs()]
        if KEY not in metadata or names != ["ir", "vis"]:
            found = ", ".join(names) or "none"
            raise ValueError(
                f"{path} is an ONNX file of another model (inputs: {found}); expected one that "
                "scripts/export_onnx.py wrote (inputs: ir, vis)"
            )
        about = json.loads(metadata[KEY])
        self.method, self.min_size = about["network"], about["min_size"]
        self.convention = Convention(**about["convention"])

    def inference_form(self, dtype: torch.dtype, max_memory: int | None) -> Callable[[Tensor, Tensor], Tensor]:
        """`raw`: onnxruntime has its own."""
        return self.raw

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        planes = {"ir": ir.float().cpu().numpy(), "vis": vis.float().cpu().numpy()}
        return torch.from_numpy(self.session.run(None, planes)[0]).to(ir.device)
