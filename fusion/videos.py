"""Videos: frames out of any file that OpenCV reads, and frames into a file without sound.

Frames are uint8, (H, W) or (H, W, 3) RGB, like the pictures of `images.py`. One frame is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from fusion import images

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "FFV1"}
"""MPEG-4, Motion JPEG (which alone keeps odd sizes) and FFV1 (without loss)."""

FPS = 25.0
"""Frames per second where a file does not say."""


class Video:
    """The frames of a video file, in their order. Raises ValueError where it cannot be read."""

    def __init__(self, path: Path):
        self.path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise ValueError(f"{path} cannot be read as a video: it may be cut, or of a kind that OpenCV does not know")
        self.stated = max(round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        """Number of frames according to the file, an estimate in some containers; 0 where it does not say."""
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or FPS
        self.frames = 0
        """Number of frames read."""

    def read(self) -> np.ndarray | None:
        """The next frame, (H, W) where it has no colour; None at the end."""
        ok, frame = self._capture.read()
        if not ok:
            return None
        self.frames += 1
        return frame[..., ::-1] if images.is_coloured(frame) else frame[..., 0]

    def shortfall(self) -> str | None:
        """What is wrong, after the last frame, where far fewer came than the file states."""
        if self.stated - self.frames <= max(2, self.stated // 50):
            return None
        return f"{self.path} states {self.stated} frames, {self.frames} could be read: it may be damaged"


@contextmanager
def writing(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a frame to the video `path`, which takes its name when the block ends well.

    Of an odd size the last row or column is doubled, except in .avi. Raises OSError where the file cannot be written
    or not every frame arrived.
    """
    codec = CODECS[path.suffix.lower()]
    # FFmpeg's writers cut odd sizes. OpenCV's own one, of Motion JPEG, keeps them, but rounds the frames per second.
    own = codec == "MJPG" and fps == round(fps)
    writer = cv2.VideoWriter()
    written = 0

    def write(frame: np.ndarray) -> None:
        nonlocal written
        if not own:
            frame = _even(frame)
        frame = frame[..., ::-1] if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)
        if not writer.isOpened():
            h, w, _ = frame.shape
            backend = cv2.CAP_OPENCV_MJPEG if own else cv2.CAP_FFMPEG
            if not writer.open(str(unfinished), backend, cv2.VideoWriter_fourcc(*codec), fps, (w, h)):
                raise OSError(f"no {codec} encoder here, or no room; another suffix may do")
        writer.write(np.ascontiguousarray(frame))
        written += 1

    with images.atomic_path(path) as unfinished:
        try:
            yield write
        finally:
            writer.release()
        # OpenCV says nothing when the disk is full.
        arrived = _frames_in(unfinished)
        if arrived != written:
            raise OSError(f"{arrived} of {written} frames arrived; is the disk full?")


def _even(frame: np.ndarray) -> np.ndarray:
    h, w = frame.shape[:2]
    return np.pad(frame, [(0, h % 2), (0, w % 2), (0, 0)][: frame.ndim], mode="edge")


def _frames_in(path: Path) -> int:
    try:
        return Video(path).stated
    except ValueError:
        return 0
