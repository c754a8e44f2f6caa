"""Two pictures of any size -> the one to be written: what folders, videos and the app have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fusion import images, infer
from fusion.memory import is_about_memory
from fusion.networks.base import Network


@dataclass
class Fuser:
    """network: in the form that fuses. one_size: brings a pair together first. output, task: as of `infer.fuse`.

    temporal: frames after which the span that a method stretches has followed by 63 %; None: every picture by itself.
    side_by_side: infrared, visible and fused in a row.
    """

    network: Network
    one_size: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    output: str = "colour"
    task: str = "infrared-visible"
    temporal: float | None = None
    side_by_side: bool = False
    span: tuple[float, float] | None = None
    """Smoothed minimum and maximum of the raw output, of the frames so far."""

    def __call__(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """uint8 (H, W) or (H, W, 3) RGB; raises ValueError where the pair cannot be fused."""
        ir, vis = self.one_size(ir, vis)
        infer.check_pair(self.network, ir, vis)
        try:
            fused = self.fused(ir, vis)
        except (MemoryError, RuntimeError) as error:
            if not is_about_memory(error):
                raise
            raise ValueError(f"not enough memory for a pair of {ir.shape[0]}x{ir.shape[1]} on this device") from error
        return beside(ir, vis, fused) if self.side_by_side else fused

    def fused(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        if not self.temporal:
            return infer.picture(self.network, ir, vis, self.output, self.task)
        raw = infer.run(self.network, *infer.input_planes(self.network, ir, vis, self.task))
        self._follow(float(raw.min()), float(raw.max()))
        colours = infer.colour_source(ir, vis, self.task) if self.output == "colour" else None
        return infer.finish(self.network, raw, colours, self.span)

    def _follow(self, low: float, high: float) -> None:
        """Exponential smoothing, each frame with the weight 1/N; the first frame begins where it is."""
        before = self.span or (low, high)
        self.span = tuple(old + (new - old) / self.temporal for old, new in zip(before, (low, high), strict=True))


def beside(*pictures: np.ndarray) -> np.ndarray:
    """8-bit pictures of one height in a row; in colour where one of them is."""
    pictures = [images.to_uint8(images.to_float(p)) if p.dtype != np.uint8 else p for p in pictures]
    if any(p.ndim == 3 for p in pictures):
        pictures = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
    return np.hstack(pictures)
