"""A window that shows frames as they are made."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np


class Window:
    """A window of frames. Raises ValueError where there is no display."""

    def __init__(self):
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ValueError("--show needs a display, and there is none here: leave it out, -o writes the video")
        try:
            cv2.namedWindow("fused", cv2.WINDOW_NORMAL)
        except cv2.error:
            raise ValueError(
                "--show needs windows, which opencv-python-headless has not: pip install opencv-python"
            ) from None

    def show(self, frame: np.ndarray) -> bool:
        """Whether to go on: q or Escape ends."""
        cv2.imshow("fused", frame[..., ::-1] if frame.ndim == 3 else frame)
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)
