"""TF32: on CUDA, PyTorch may round the factors of float32 convolutions and products to ten bits, for speed.

PyTorch 2.9 renamed the settings and refuses a mixture of old and new names, in the application that uses us, too; so
they are touched for CUDA only, by the new names where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

NEW = hasattr(torch.backends.cudnn, "conv")
NAME, EXACT, ROUNDED = ("fp32_precision", "ieee", "tf32") if NEW else ("allow_tf32", False, True)


def _convolutions():
    return torch.backends.cudnn.conv if NEW else torch.backends.cudnn


@contextmanager
def float32_products(device: torch.device) -> Iterator[None]:
    """Convolutions and matrix products of float32's precision inside, as the published results have it. Everything else
    stays as the application has set it, and these, too, afterwards."""
    places = (_convolutions(), torch.backends.cuda.matmul) if device.type == "cuda" else ()
    before = [getattr(place, NAME) for place in places]
    for place in places:
        setattr(place, NAME, EXACT)
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, NAME, value)


def round_products_in_training() -> None:
    """Matrix products to TF32, three bits more than bfloat16. Not convolutions: losses are convolutions, of small
    differences (SSIM's variances, gradients), and networks compute theirs in bfloat16 anyway."""
    setattr(_convolutions(), NAME, EXACT)
    setattr(torch.backends.cuda.matmul, NAME, ROUNDED)
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # Gram matrices are sums over pixels
