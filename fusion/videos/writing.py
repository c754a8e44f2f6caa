"""Frames into a video file without sound, by OpenCV's encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np

from fusion import images

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "FFV1"}
"""MPEG-4, Motion JPEG (which alone keeps odd sizes) and FFV1 (without loss)."""


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
        with av.open(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(video=0))
    except (av.error.FFmpegError, IndexError):
        return 0
