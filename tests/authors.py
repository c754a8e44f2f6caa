"""What the authors' programs gave for this project's own sample pairs, and what they were given.

`golden/` holds numbers only (see its README). Weights follow from a formula of their keys and shapes, inputs are parts
of `test_img/sample`; their digests are compared before anything else is. So every clone can hold this project against
the authors' programs without a file of theirs.

How close is close. A float64 run is free of rounding for every purpose here: no processor, library or number of
threads moves it by more than 1e-12, and tests against the authors' float64 are that strict. Two float32 runs of one
function differ by the order of their sums, which is the processor's choice. How much that is, the authors' own two
runs tell: `noise` is how far their float32 lies from their float64. What is ours may lie `MARGIN` times as far.
"""

from __future__ import annotations

import functools
import json
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from fusion import images

FOLDER = Path(__file__).resolve().parent / "golden"
SAMPLES = FOLDER.parents[1] / "test_img/sample"

EXACT = 1e-9
"""Relative, of float64 runs against recorded numbers of 12 digits; of arrays that were recorded whole, 1e-12."""

MARGIN = 15
"""With AVX-512, AVX2 and SSE code ours lies at most 3 times as far (the total loss after one step of Adam)."""


@functools.cache
def numbers(name: str) -> dict:
    """golden/NAME.json"""
    return json.loads((FOLDER / f"{name}.json").read_text())


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """golden/NAME.npz"""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def digest(array: np.ndarray, dtype: str = "<f4") -> str:
    """SHA-256 of the array's bytes, little-endian, in C order."""
    return sha256(np.ascontiguousarray(array, dtype).tobytes()).hexdigest()


def close(found: float | np.ndarray, exact: float | np.ndarray, noise: float) -> bool:
    """Whether a float32 result lies about as near to the float64 one as the authors' own."""
    return bool(np.abs(np.asarray(found, np.float64) - exact).max() <= MARGIN * noise)


# --- weights ---------------------------------------------------------------------------------------------------------


def noise(key: str, n: int) -> np.ndarray:
    """n numbers in [-1, 1), float64: a counter that starts at the key's CRC-32, through murmur3's last mixing."""
    x = (np.arange(n, dtype=np.uint64) + zlib.crc32(key.encode())).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return x / 2.0**31 - 1


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 tensor of an authors' key; golden/README.md has the table."""
    r, m = noise(key, int(np.prod(shape))).reshape(shape), shape[0]
    kind = key.rpartition(".")[2]
    if kind == "p":
        value = np.eye(m)[(5 * np.arange(m) + zlib.crc32(key.encode())) % m]
    elif kind == "sign_s":
        value = np.where(r < 0, -1.0, 1.0)
    elif kind in ("lower", "upper"):
        value = r / np.sqrt(m)
    elif kind in ("log_s", "HP_branch"):
        value = r * (0.25 if kind == "log_s" else 1)
    elif kind in ("temperature", "scale"):
        value = 1 + 0.5 * r
    elif kind == "bias":
        value = 0.1 * r + (key == "reconstruction.conv_last.bias")
    elif len(shape) == 1:
        value = 1 + 0.25 * r
    else:
        gain = 10 if "channel.reflashFused" in key else 8 if "haAtten" in key else 1.6
        value = gain / np.sqrt(np.prod(shape[1:])) * r
    return value.astype(np.float32)


@functools.cache
def checkpoint(method: str) -> dict[str, dict[str, torch.Tensor]]:
    """`cddfuse` or `ship`: a checkpoint as the authors' program saves it, filled by the formula."""
    return {
        part: {
            key: torch.from_numpy(weight(f"{part}.{key}" if method == "cddfuse" else key, tuple(shape)))
            for key, shape in shapes.items()
        }
        for part, shapes in numbers(f"keys_{method}").items()
    }


def load(network, method: str):
    """The network with those weights, in evaluation mode."""
    stored = checkpoint(method)
    network.load_state_dict(network.from_authors(stored.get("params", stored)))  # as `fusion.weights` unwraps it
    return network.eval()


# --- inputs ----------------------------------------------------------------------------------------------------------


@functools.cache
def picture(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(infrared, visible) of a sample pair, as `fusion.images.read` gives them."""
    return tuple(images.read(SAMPLES / side / f"{name}.png") for side in ("ir", "vi"))


def crop(letter: str) -> tuple[np.ndarray, np.ndarray]:
    """(infrared, visible) of one of the crops in inputs.json."""
    name, top, left, h, w = numbers("inputs")["crops"][letter]
    return tuple(x[top : top + h, left : left + w] for x in picture(name))


def check(key: str, **given: np.ndarray) -> None:
    """Stop where what a network would see is not what the authors' program saw."""
    found, wanted = ({n: digest(x) for n, x in given.items()}, numbers("inputs")["arrays_sha256"][key])
    assert found == {n: wanted[n] for n in given}, f"{key}: other inputs than the recorded ones"


def pair(method: str, letter: str) -> tuple[np.ndarray, np.ndarray]:
    """(ir, vis), float32 planes in [0, 1], as CDDFuse or SHIP sees that crop."""
    as_plane = images.luminance if method == "ship" else lambda x: (images.grey_levels(x) / 255).astype(np.float32)
    ir, vis = (as_plane(x) for x in crop(letter))
    check(f"{method}/{letter}", ir=ir, vis=vis)
    return ir, vis


@functools.cache
def batch() -> dict[str, torch.Tensor]:
    """The training batch: `ir`, `vis`, `mask`, (2, 1, 64, 64) float32."""
    planes = [[images.luminance(x) for x in crop(letter)] for letter in ("T0", "T1")]
    ir, vis = (np.stack([p[i] for p in planes])[:, None] for i in range(2))
    b, _, y, x = np.indices(ir.shape)
    mask = ((y // 5 + 2 * (x // 7) + 3 * b) % 5 / 4).astype(np.float32)
    check("ship/batch", ir=ir, vis=vis, mask=mask)
    return {name: torch.from_numpy(x) for name, x in {"ir": ir, "vis": vis, "mask": mask}.items()}


def noisy(image: np.ndarray) -> np.ndarray:
    """`image` with the batch's noise of 0.2 on it, clipped to [0, 1]: float64 arithmetic, float32 result."""
    return np.clip(image.astype(np.float64) + 0.2 * noise("noise", image.size).reshape(image.shape), 0, 1).astype(
        np.float32
    )


def levels(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(infrared, visible) whole pictures' 8-bit luminance, float64 of whole numbers."""
    return tuple(images.grey_levels(x) for x in picture(name))
