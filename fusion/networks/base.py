"""What every network promises: two luminance planes in, one of the same size out, and how its pictures are finished.

A network sees luminance only. Everything a method's published program does around its network -- rounding its
input, stretching its output, the colour space, rounding or truncating to 8 bits -- is declared here as a value,
`Convention`, and carried out in one place, `fusion/infer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Convention:
    """What a method's published program does before and after its network.

    infrared: how a three-channel infrared file becomes one plane: its luminance, or its first channel.
    rounded_input: luminance is rounded to whole 8-bit levels before it enters the network.
    stretch: the output's minimum and maximum over the whole picture are mapped to 0 and 1.
    colour: how the chroma of the source is put back. `ycrcb`: Y of YCrCb is replaced (OpenCV's and SHIP's
        rounded constants). `shift`: the change in luminance is added to R, G and B, which is what replacing Y in
        exact BT.601 amounts to.
    quantise: `round` to the nearest 8-bit level, or `truncate` to the one below.
    """

    infrared: Literal["luminance", "first"] = "luminance"
    rounded_input: bool = False
    stretch: bool = False
    colour: Literal["ycrcb", "shift"] = "ycrcb"
    quantise: Literal["round", "truncate"] = "round"


class Network(nn.Module):
    """Base of all fusion methods, learned or not.

    A subclass implements `raw`. Its constructor takes keyword-only arguments with defaults.
    """

    learned: ClassVar[bool] = True
    """Whether the method has weights that must be loaded before its pictures mean anything."""

    convention: ClassVar[Convention] = Convention()

    task_options: ClassVar[dict[str, dict]] = {}
    """Task -> constructor options that suit it, e.g. `{"medical": {"skip": "sum"}}`; what a user states wins."""

    blocks: ClassVar[tuple[type[nn.Module], ...]] = ()
    """Modules whose activations can be computed twice instead of stored (`checkpointing: true`)."""

    min_size: int = 2
    """The smallest height and width that the method can fuse, in pixels."""

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        """The method's own output before any clamp: ir, vis (B, 1, H, W) in [0, 1] -> (B, 1, H, W), about [0, 1]."""
        raise NotImplementedError

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Fuse two luminance planes. ir, vis: (B, 1, H, W) in [0, 1], H and W >= `min_size`; returns the same shape
        in [0, 1]."""
        return self.raw(ir, vis).clamp(0, 1)

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        """Our state dict from the authors' checkpoint dictionary, as `torch.load` gives it.

        Raises ValueError where `checkpoint` is not theirs, saying what was expected.
        """
        raise ValueError(f"{cls.__name__} has no checkpoint format of its authors")


def checkpoint_activations(network: Network) -> None:
    """Recompute the activations of `network.blocks` in the backward pass instead of storing them."""
    for module in network.modules():
        if isinstance(module, network.blocks):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)
