"""Visual saliency and the mask that SHIP's loss weighs the sources with.

Saliency of a pixel is how far its grey level lies from all others of the picture, V(p) = sum_q |I(p) - I(q)|, scaled
to [0, 1] by its least and greatest value: Ma, Zhou, Wang, Zong, "Infrared and visible image fusion based on visual
saliency map and weighted least square optimization", Infrared Physics & Technology 82, 2017. SHIP's authors point to
a program for it that they did not publish. V depends on the level alone, so a picture's map is a table of 256 values.
"""

from __future__ import annotations

import numpy as np

from fusion import images

_LEVELS = np.arange(256)


def levels(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB of any depth -> (H, W) uint8, the rounded luminance."""
    if image.dtype == np.uint8 and image.ndim == 2:
        return image
    # Pixel by pixel in numpy, so a crop of a picture has the picture's levels; OpenCV's vectors and their rest differ.
    return images.to_uint8(images.luminance(image))


def saliency_table(grey: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> (256,) float32 in [0, 1]: the saliency of each grey level in this picture.

    Where all of the picture's levels are equally far from the rest (a constant picture), nothing stands out: zeros.
    Levels that the picture lacks have 0 as well.
    """
    histogram = np.bincount(grey.ravel(), minlength=256)
    distance = np.abs(_LEVELS[:, None] - _LEVELS) @ histogram  # whole numbers: exact
    present = histogram > 0
    low, high = distance[present].min(), distance[present].max()
    if low == high:
        return np.zeros(256, np.float32)
    return np.where(present, (distance - low) / (high - low), 0).astype(np.float32)


def saliency(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB of any depth -> (H, W) float32 in [0, 1], greater where a grey level stands out."""
    grey = levels(image)
    return saliency_table(grey)[grey]


def visible_share(vis: np.ndarray, ir: np.ndarray) -> np.ndarray:
    """Two saliencies, float32 of one shape -> vis / (vis + ir) in [0, 1], one half where neither stands out."""
    both = vis + ir
    return np.divide(vis, both, out=np.full_like(both, 0.5), where=both > 0)


def saliency_mask(vis: np.ndarray, ir: np.ndarray) -> np.ndarray:
    """The mask M of a pair of pictures of one size: (H, W) float32, 1 where only the visible one stands out.

    Raises ValueError for two sizes.
    """
    if vis.shape[:2] != ir.shape[:2]:
        raise ValueError(f"vis is {vis.shape[0]}x{vis.shape[1]} but ir is {ir.shape[0]}x{ir.shape[1]}: use one size")
    return visible_share(saliency(vis), saliency(ir))
