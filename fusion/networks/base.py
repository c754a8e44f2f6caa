"""What every network promises: two luminance planes in, one of the same size out, and how its pictures are finished.

A network sees luminance only. Everything a method's published program does around its network -- rounding its
input, stretching its output, the colour space, rounding or truncating to 8 bits -- is declared here as a value,
`Convention`, and carried out in one place, `fusion/infer.py`.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

Speed = Literal["exact", "bf16", "fast", "compiled"]


@dataclass(frozen=True)
class Convention:
    """What a method's published program does before and after its network.

    In the order of their happening:

    infrared: how a three-channel infrared file becomes one plane: its luminance, its luminance rounded to whole 8-bit
        levels, or its first channel.
    rounded_input: luminance is rounded to whole 8-bit levels before it enters the network.
    stretched_input: each input's minimum and maximum are mapped to 0 and 1, this number added to their difference.
    medical_first: which image of a medical pair takes the place of the visible one in `raw`: the anatomical one, which
        is `vis` (MRI), or the functional one, `ir` (PET, SPECT, CT).
    clip: the output is clipped to [0, 1] before anything else.
    stretch: the output's minimum and maximum over the whole picture are mapped to 0 and 1.
    stretch_epsilon: what is added to their difference, in units of the output.
    colour: how the chroma of the source is put back. `ycrcb`: Y of YCrCb is replaced (OpenCV's and SHIP's
        rounded constants). `ycrcb8`: the same with Cr and Cb in whole 8-bit levels, whose zero is 128/255: a tint of
        less than a level. `shift`: the change in luminance is added to R, G and B, which is what replacing Y in
        exact BT.601 amounts to.
    stretch_picture: the clipped picture's minimum and maximum, over all channels together, are mapped to 0 and 1.
    quantise: `round` to the nearest 8-bit level, or `truncate` to the one below.
    """

    infrared: Literal["luminance", "rounded", "first"] = "luminance"
    rounded_input: bool = False
    stretched_input: float | None = None
    medical_first: Literal["vis", "ir"] = "vis"
    clip: bool = False
    stretch: bool = False
    stretch_epsilon: float = 0.0
    colour: Literal["ycrcb", "ycrcb8", "shift"] = "ycrcb"
    stretch_picture: bool = False
    quantise: Literal["round", "truncate"] = "round"


@dataclass(frozen=True)
class About:
    """Where a method comes from.

    paper: authors, title and venue, as one cites it in a line.
    year: of the paper.
    licence: of the authors' code and weights; `none stated` leaves users to ask them.
    weights: where the authors' weights are, `owner/repository: files`; empty for a method without.
    """

    paper: str
    year: int
    licence: str = ""
    weights: str = ""


class Network(nn.Module):
    """Base of all fusion methods, learned or not.

    A subclass implements `raw`. Its constructor takes keyword-only arguments with defaults.
    """

    learned: ClassVar[bool] = True
    """Whether the method has weights that must be loaded before its pictures mean anything."""

    convention: ClassVar[Convention] = Convention()

    about: ClassVar[About | None] = None
    """Where the method comes from; None for one that nobody published."""

    task_options: ClassVar[dict[str, dict]] = {}
    """Task -> constructor options that suit it, e.g. `{"medical": {"skip": "sum"}}`; what a user states wins."""

    blocks: ClassVar[tuple[type[nn.Module], ...]] = ()
    """Modules whose activations can be computed twice instead of stored (`checkpointing: true`)."""

    whole_levels: ClassVar[bool] = False
    """Whether `raw` is made of whole 8-bit levels: with sums in another order a pixel may then be one level away."""

    min_size: int = 2
    """The smallest height and width that the method can fuse, in pixels."""

    def __init__(self):
        super().__init__()
        # Says on which device pictures are fused, of a method without weights, too.
        self.register_buffer("place", torch.empty(0), persistent=False)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        """The method's own output before any clamp: ir, vis (B, 1, H, W) in [0, 1] -> (B, 1, H, W), about [0, 1]."""
        raise NotImplementedError

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Fuse two luminance planes. ir, vis: (B, 1, H, W) in [0, 1], H and W >= `min_size`; returns the same shape
        in [0, 1]."""
        return self.raw(ir, vis).clamp(0, 1)

    speed: Speed = "exact"
    max_memory: int | None = None
    """How pictures are fused, where nobody says otherwise; `fusion.load` sets both. No memory stated: no bound on a
    CPU, what is `available` on a GPU."""

    picture: Callable | None = None
    """Of an inference form that has it: 8-bit pictures ir, vis and colours (or None), (H, W) or (H, W, 3) RGB, -> the
    8-bit picture, all at once; the same as by `infer.input_planes`, `raw` and `infer.finish`. None: not this time."""

    has_weights: bool = False
    """Whether a state was loaded, or training begun."""
    _has_said_so = False

    def load_state_dict(self, *args, **kwargs):
        self.has_weights = True
        return super().load_state_dict(*args, **kwargs)

    def train(self, mode: bool = True) -> Network:
        self.has_weights |= mode
        return super().train(mode)

    def form(self) -> Network:
        """`fuse_for_inference` with the speed and memory set on this network; says once where it has no weights.

        Raises ValueError for a network whose weights were turned to another type than float32.
        """
        if self.place.dtype in (torch.float16, torch.bfloat16):
            remedy = "network.float(), or load it with speed='bf16'"
            raise ValueError(f"the network is in {self.place.dtype}, expected float32: {remedy}")
        if self.learned and not self.has_weights and not self._has_said_so:
            self._has_said_so = True
            warnings.warn(
                f"{type(self).__name__} was never given weights, its picture means nothing: fusion.load takes the "
                "shipped ones or a file",
                stacklevel=3,
            )
        max_memory = self.max_memory
        if max_memory is None and self.place.is_cuda and self.bounded and self.speed != "compiled":
            max_memory = available(self.place.device)
        return self.fuse_for_inference(speed=self.speed, max_memory=max_memory)

    def fuse_for_inference(self, *, speed: Speed = "exact", max_memory: int | None = None) -> Network:
        """The same function of the weights as they are now, without gradients, made for pictures.

        speed: `exact`, float32; `bf16`, bfloat16 where the method has such a form and it is faster on this device, else
            exact, of which a processor with no use for it is told once; `fast`, the same without a word: the fastest
            within half a gray level on average; `compiled`, float32 by `torch.compile`, which takes minutes at the
            first picture of a size.
        max_memory: bytes that the tensors of one pair may take. ValueError where the method cannot keep to a bound;
            a pair that needs more raises ValueError when it is fused.
        """
        self.check_inference(speed, max_memory)
        if speed == "compiled":
            if "_compiled" not in self.__dict__:
                # Not "reduce-overhead": it would record, and keep the memory of, a graph of every size of pictures.
                self.__dict__["_compiled"] = torch.compile(self.raw)
            return InferenceForm(self, self.__dict__["_compiled"])
        dtype = torch.float32 if speed == "exact" else torch.bfloat16
        if dtype == torch.bfloat16 and self.place.is_cuda:
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                dtype = torch.float32
                if speed == "bf16":
                    warnings.warn("this GPU does not compute in bfloat16: speed='exact' is taken", stacklevel=2)
        elif speed == "bf16" and not self.bf16_pays():
            say_once(f"{type(self).__name__}: bf16 would be slower than exact on this processor, which is taken")
        return InferenceForm(self, self.inference_form(dtype, max_memory))

    def check_inference(self, speed: str, max_memory: int | None) -> None:
        """Raise ValueError where `fuse_for_inference` cannot do so."""
        if speed not in get_args(Speed):
            raise ValueError(f"speed must be one of {', '.join(get_args(Speed))}; got {speed!r}")
        if max_memory is not None and (speed == "compiled" or not self.bounded):
            what = "speed 'compiled'" if speed == "compiled" else type(self).__name__
            raise ValueError(f"{what} cannot bound its memory: leave max_memory out")

    beside: bool = False
    """Of an inference form: whether several pictures are done sooner by a thread each, on a core each, than one after
    the other by all cores."""

    bounded: ClassVar[bool] = False
    """Whether the method's inference form keeps to `max_memory`."""

    def bf16_pays(self) -> bool:
        """Whether a CPU is faster by the method's form in bfloat16, or there is no such form to be slow."""
        return True

    def inference_form(self, dtype: torch.dtype, max_memory: int | None) -> Callable[[Tensor, Tensor], Tensor]:
        """What computes `raw` faster, from (ir, vis): by default `raw` with the batch norms inside the convolutions,
        whose weights stand, on a CPU, in the order in which they need not reorder every map (channels last).
        dtype: bfloat16 where that is allowed; whether it pays is for the method to say."""
        if not self.learned:
            return self.raw
        copy = folded(self)
        return (copy.to(memory_format=torch.channels_last) if self.place.device.type == "cpu" else copy).raw

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        """Our state dict from the authors' dictionary, out of which `weights.py` has taken wrappers (`params_ema`,
        `state_dict`, `fuse_net`, ...) and prefixes (`module.`).

        Raises ValueError where `checkpoint` is not theirs, saying what was expected.
        """
        raise ValueError(f"{cls.__name__} has no checkpoint format of its authors")

    @classmethod
    def sizes(cls, state: dict[str, Tensor]) -> dict[str, Any]:
        """Constructor options that the shapes in `state`, one of our state dicts, tell; {} where none can vary.

        May raise KeyError, IndexError or ValueError for the state of another method.
        """
        return {}

    @classmethod
    def recognise(cls, checkpoint: dict) -> dict[str, Any] | None:
        """Constructor options where `checkpoint` holds weights of this method, ours or the authors'; else None.

        Judged by every key and every shape: `sizes` guesses the options, and a network built with them must agree.
        """
        for ours in (dict, cls.from_authors):
            try:
                state = ours(checkpoint)
                options = cls.sizes(state)
                with torch.random.fork_rng(devices=[]):
                    expected = cls(**options).state_dict()
            except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError):
                continue  # what foreign keys and shapes make of it
            if shapes(state) == shapes(expected):
                return options
        return None


@functools.cache
def say_once(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def available(device: torch.device) -> int:
    """Bytes of a GPU that a picture's tensors may take, where nobody says: 0.8 of what is free, as cuDNN needs room of
    its own, which nobody can foresee."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(0.8 * (free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)))


def shapes(state: dict) -> dict[str, tuple[int, ...] | None]:
    """Key -> shape, None for what is no tensor."""
    return {key: tuple(value.shape) if isinstance(value, Tensor) else None for key, value in state.items()}


def count(state: dict, pattern: str) -> int:
    """How many different numbers keys have where `pattern` has its group: `count(state, r"blocks\\.(\\d+)\\.")`."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def renamed(checkpoint: dict, rules: Sequence[tuple[str, str | Callable]]) -> dict:
    """`checkpoint` with every `re.sub(pattern, replacement)` of `rules` applied to its keys, in their order."""

    def rename(key: str) -> str:
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        return key

    return {rename(key): value for key, value in checkpoint.items()}


class InferenceForm(Network):
    """A network's fast form under the network's contract. Its weights are copies: later training leaves it as it is."""

    def __init__(self, network: Network, compute: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.learned, self.convention, self.min_size = network.learned, network.convention, network.min_size
        self.max_memory = network.max_memory
        self.has_weights = True  # or `network` has said that it lacks them
        self.method = type(network).__name__
        self.compute = compute
        self.picture = getattr(compute, "picture", None)
        self.place = network.place
        self.beside = isinstance(getattr(compute, "__self__", None), Network) or getattr(compute, "beside", False)

    def fuse_for_inference(self, **_) -> Network:
        return self

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.compute(ir, vis)


def folded(network: Network) -> Network:
    """A copy in evaluation mode without the batch norms that follow a convolution in an `nn.Sequential`: their scale
    and offset are in the convolutions, which is the same function."""
    network = deepcopy(network).eval()
    follows = [
        (name, i)
        for name, parts in network.named_modules()
        if isinstance(parts, nn.Sequential)
        for i, (part, after) in enumerate(pairwise(parts))
        # The very class: another may norm otherwise.
        if isinstance(part, nn.Conv2d) and type(after) is nn.BatchNorm2d
    ]
    for name, i in follows:
        parts = network.get_submodule(name)
        parts[i], parts[i + 1] = fuse_conv_bn_eval(parts[i], parts[i + 1]), nn.Identity()
    return network


def checkpoint_activations(network: Network) -> None:
    """Recompute the activations of `network.blocks` in the backward pass instead of storing them."""
    for module in network.modules():
        if isinstance(module, network.blocks):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)
