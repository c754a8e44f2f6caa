"""Fusing a pair: what every user of a network calls.

Files, arrays or tensors in; the 8-bit picture that `test.py` would save out. Reads luminance the way the method's
program does, runs the network on the device it stands on, applies the method's own final step (`Convention`), and
puts the colour of the source back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fusion import images
from fusion.inference import tensor_pictures
from fusion.networks.base import Convention, Network
from fusion.precision import float32_products
from fusion.reading import How, of_pair, of_type, upright
from fusion.reading.ranges import applied

Picture = str | Path | np.ndarray | Tensor


def fuse(
    network: Network,
    ir: Picture,
    vis: Picture,
    *,
    output: Literal["gray", "colour"] = "colour",
    task: Literal["infrared-visible", "medical"] = "infrared-visible",
    range: str | How = "auto",
) -> np.ndarray:
    """Fuse a pair.

    ir, vis: paths, arrays, Pillow images or tensors of one size. Arrays: (H, W) or (H, W, 3) RGB, uint8, uint16, or
        float in [0, 1]; tensors: float in [0, 1], (H, W), (C, H, W) or (1, C, H, W) with C = 1 or 3.
    range: what becomes black and white, `IR` or `IR,VIS` of `auto` (16-bit samples that use a fraction of their range
        are stretched, with a warning), `full`, `percentile` or LOW..HIGH, which also take arrays of other types.
    output: `colour` gives (H, W, 3) where the source of colour has any, else (H, W); `gray` always (H, W).
        The source of colour is the visible image; for `medical` pairs, whose anatomical image is gray, the other one.
    Returns uint8 (H, W) or (H, W, 3) RGB. Raises ValueError for pairs that cannot be fused, OSError for files.
    """
    _refuse_unknown("output", output, ("gray", "colour"))
    _refuse_unknown("task", task, ("infrared-visible", "medical"))
    of_ir, of_vis = of_pair(range)
    ir, vis = as_array(ir, "ir", of_ir), as_array(vis, "vis", of_vis)
    check_pair(network, ir, vis)
    return picture(network, ir, vis, output, task)


def picture(network: Network, ir: np.ndarray, vis: np.ndarray, output: str, task: str) -> np.ndarray:
    """`fuse` of arrays that are known to fit."""
    colours, form = colour_source(ir, vis, task) if output == "colour" else None, None
    if network.convention == Convention() and ir.dtype == vis.dtype == np.uint8:
        form = network.form()
        if form.picture and (made := form.picture(ir, vis, colours)) is not None:
            return made
    if network.place.is_cuda and on_device(network, ir, vis):
        return _picture_on_device(network, ir, vis, colours, task, form)
    return finish(network, run(network, *input_planes(network, ir, vis, task), form), colours)


def on_device(network: Network, ir: np.ndarray, vis: np.ndarray) -> bool:
    """Whether what stands around the network can be computed where it stands: not without room for it."""
    eight_bits = ir.dtype == vis.dtype == np.uint8
    return eight_bits and network.max_memory is None and network.convention.colour != "ycrcb8"


def _picture_on_device(network: Network, ir: np.ndarray, vis: np.ndarray, colours, task: str, form) -> np.ndarray:
    """`picture` by the network's device: bytes go there and come back, and nothing waits in between."""
    with _evaluation(network):
        pair = [torch.from_numpy(np.ascontiguousarray(x)).to(network.place.device) for x in (ir, vis)]
        colours = pair[colours is vis] if colours is not None else None
        planes = (plane[None, None] for plane in input_planes(network, *pair, task))
        return finish(network, (form or network.form()).raw(*planes)[0, 0].float(), colours).cpu().numpy()


def _refuse_unknown(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}; got {value!r}")


def as_array(picture: Picture, what: str, range: How = "full") -> np.ndarray:
    """A path, array, Pillow image or tensor -> (H, W) or (H, W, 3) array; `what` names it in messages."""
    if isinstance(picture, (str, Path)):
        return images.read(picture, range)
    if hasattr(picture, "getbands"):  # a Pillow image: numbers of a palette or of YCbCr are no gray and no RGB
        picture = np.asarray(upright(picture))
        if picture.ndim == 3 and picture.shape[2] in (2, 4):
            picture = picture[..., 0] if picture.shape[2] == 2 else picture[..., :3]
    if isinstance(picture, Tensor):
        picture = picture.detach().cpu()
        shape = tuple(picture.shape)
        if picture.ndim == 4 and shape[0] == 1:
            picture = picture[0]
        if picture.ndim == 3 and picture.shape[0] in (1, 3):
            picture = picture[0] if picture.shape[0] == 1 else picture.permute(1, 2, 0)
        elif picture.ndim != 2:
            raise ValueError(f"{what} is a tensor of shape {shape}: expected (H, W) or ([1,] C, H, W) with C = 1 or 3")
        # NumPy knows no bfloat16.
        picture = picture.float() if picture.is_floating_point() else picture
    picture = np.asarray(picture)
    images.check_shape(picture, what)
    return _ranged(picture, what, range)


def _ranged(picture: np.ndarray, what: str, range: How) -> np.ndarray:
    """An array of native bytes, in the range asked for. `auto` guesses at uint16 only: floats say nothing."""
    picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    if range == "full" or (range == "auto" and picture.dtype != np.uint16):
        return picture
    if picture.dtype.kind not in "iuf":
        raise ValueError(f"{what}: expected integer or float samples, got {picture.dtype}")
    return applied(of_type(picture), range, what)


def check_sizes(ir: np.ndarray, vis: np.ndarray) -> None:
    """Raise ValueError unless both pictures have one size."""
    (h, w), (h_vis, w_vis) = ir.shape[:2], vis.shape[:2]
    if (h, w) != (h_vis, w_vis):
        raise ValueError(
            f"ir is {h}x{w} but vis is {h_vis}x{w_vis} (height x width): "
            "bring the pair to one size first (scripts/fuse.py --resize)"
        )


def check_pair(network: Network, ir: np.ndarray, vis: np.ndarray) -> None:
    """Raise ValueError unless both have one size, which the method can fuse."""
    check_sizes(ir, vis)
    h, w = ir.shape[:2]
    n = network.min_size
    if min(h, w) < n:
        raise ValueError(
            f"the pair is {h}x{w}: {getattr(network, 'method', type(network).__name__)} needs at least {n}x{n} pixels"
        )


def input_planes(network: Network, ir: np.ndarray, vis: np.ndarray, task: str) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees as ir and vis: two (H, W) float32 planes in [0, 1]. Arrays, or uint8 tensors, which give
    tensors."""
    how = network.convention
    # PET and SPECT are coloured on purpose: their first channel alone would drop most of the signal.
    if how.infrared == "first" and ir.ndim == 3 and task != "medical":
        ir = ir[..., 0]
    planes = _plane(ir, how.rounded_input or how.infrared == "rounded"), _plane(vis, how.rounded_input)
    if how.stretched_input is not None:
        planes = tuple(stretch(plane, epsilon=how.stretched_input) for plane in planes)
    return planes[::-1] if task == "medical" and how.medical_first == "ir" else planes


def _plane(image: np.ndarray | Tensor, rounded: bool) -> np.ndarray | Tensor:
    how = _functions_for(image)
    return how.rounded_luminance(image) if rounded and image.dtype in (np.uint8, torch.uint8) else how.luminance(image)


def _functions_for(picture: np.ndarray | Tensor):
    return tensor_pictures if isinstance(picture, Tensor) else images


def run(network: Network, ir: np.ndarray, vis: np.ndarray, form: Network | None = None) -> np.ndarray:
    """(H, W) float32 planes in [0, 1] -> the network's raw output, (H, W) float32; evaluation mode, no gradients.

    form: the network's, where the caller has just made it.
    """
    with _evaluation(network):
        device = network.place.device
        ir, vis = (torch.from_numpy(np.ascontiguousarray(x))[None, None].to(device) for x in (ir, vis))
        # Made anew for every picture (milliseconds): whoever changes weights need not tell. A caller with many
        # pictures may pass the form itself.
        form = form or network.form()
        return form.raw(ir, vis)[0, 0].float().cpu().numpy()


@contextmanager
def _evaluation(network: Network) -> Iterator[None]:
    """Evaluation mode, no gradients, float32's products; all as before afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode(), float32_products(network.place.device):
            yield
    finally:
        for module, training in modes:
            module.training = training


def stretch(
    picture: np.ndarray, span: tuple[float, float] | None = None, *, epsilon: float | None = None
) -> np.ndarray:
    """`span`, or else minimum and maximum of all of `picture`, -> 0 and 1.

    A constant picture stays as it is; with an epsilon, which is added to the difference, it becomes 0.
    """
    low, high = span or (picture.min(), picture.max())
    if epsilon:
        return (picture - low) / (high - low + np.float32(epsilon))
    if isinstance(picture, Tensor):  # a GPU is not asked which, but computes both
        return torch.where(high > low, (picture - low) / (high - low), picture)
    return (picture - low) / (high - low) if high > low else picture


def colour_source(ir: np.ndarray, vis: np.ndarray, task: str) -> np.ndarray | None:
    """Whose colour the result carries, or None where there is none."""
    # A mark in colour on a gray slice is no colour of the picture: of a medical pair the more colourful one has it.
    source = max(vis, ir, key=images.colourfulness) if task == "medical" else vis
    return source if images.is_coloured(source) else None


def finish(
    network: Network, fused: np.ndarray, colours: np.ndarray | None, span: tuple[float, float] | None = None
) -> np.ndarray:
    """The method's final step: raw output (H, W) -> uint8 (H, W), or (H, W, 3) in the colours of `colours`. Arrays, or
    tensors, which give a tensor.

    span: of a method that stretches, what becomes 0 and 1 instead of this picture's own minimum and maximum (video).
    """
    how, by = network.convention, _functions_for(fused)
    if how.clip:
        fused = fused.clip(0, 1)
    if how.stretch:
        fused = stretch(fused, span, epsilon=how.stretch_epsilon)
    # A luminance that is replaced is clipped first, as SHIP does; one that shifts RGB is clipped in RGB (CPFusion).
    if colours is None or how.colour == "ycrcb":
        fused = fused.clip(0, 1)
    if colours is not None:
        fused = by.recolour(fused, by.to_float(colours), how.colour)
    if how.stretch_picture:
        fused = stretch(fused)
    return by.to_uint8(fused, how.quantise)
