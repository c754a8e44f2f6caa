"""Sources that do not wait: cameras and streaming addresses. Their newest frame counts, its time is that of arrival."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np

from fusion import images

LIVE = ("rtsp://", "rtsps://", "rtmp://", "udp://", "rtp://", "srt://")
SILENCE = 10.0  # seconds without a frame after which a source counts as ended


class Live:
    """The newest frame of a camera (its number) or of an opened address; a thread keeps it fresh."""

    def __init__(self, name: str, video=None):
        self.path, self.frames, self.stated, self.deep = name, 0, 0, bool(video and video.deep)
        self._video, self._camera = video, None
        if video:
            self.path, self.fps = video.path, video.fps
        else:
            self._camera = cv2.VideoCapture(int(name))
            if not self._camera.isOpened():
                raise ValueError(f"camera {name} cannot be opened: expected a connected camera's number, 0 first")
            self.fps = self._camera.get(cv2.CAP_PROP_FPS) or 25.0
        self._news, self._newest, self._ended = threading.Condition(), None, False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _next(self) -> np.ndarray | None:
        if self._video:
            return self._video.read()
        ok, frame = self._camera.read()
        if not ok:
            return None
        return frame[..., ::-1] if frame.ndim == 3 and images.is_coloured(frame) else frame[..., 0]

    def _follow(self) -> None:
        while not self._ended:
            frame = self._next()
            with self._news:
                self._ended |= frame is None
                self._newest = self._newest if frame is None else (time.monotonic(), frame)
                self.frames += frame is not None
                self._news.notify_all()

    def newest(self, later_than: float = -1.0) -> tuple[float, np.ndarray] | None:
        """(seconds, frame), waiting for one that came later than this; None where the source has ended."""
        with self._news:
            self._news.wait_for(lambda: self._ended or (self._newest and self._newest[0] > later_than), SILENCE)
            return self._newest if self._newest and self._newest[0] > later_than else None

    def shortfall(self) -> None:
        return None

    def close(self) -> None:
        self._ended = True
        self._thread.join(2.0)
        if self._camera:
            self._camera.release()
