"""What frames come from: a video file or address (PyAV), numbered pictures, a camera (`live.py`).

PyAV because OpenCV gives neither the time at which a stream begins nor more than 8 bits of a gray one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from fusion import images
from fusion.names import natural
from fusion.reading import is_picture, read, set_range
from fusion.videos.live import LIVE, Live

FPS = 25.0
"""Frames per second where nothing says."""

PATIENCE = 10.0  # seconds until an address that does not answer is given up
_PATTERN = re.compile(r"%(0\d+)?d")
_HIDDEN = re.compile(r"(://)[^/@]*@")


def is_source(text: str) -> bool:
    """Whether this names no file: a camera's number, an address, or numbered pictures (frame%04d.png)."""
    return not Path(text).exists() and bool(text.isdigit() or "://" in text or _PATTERN.search(Path(text).name))


def opened(source: str | Path, fps: float = FPS, how="auto") -> Video | Pictures | Live:
    """The frames of a file, a folder of pictures, a pattern, a camera's number or an address.

    fps: of pictures, which have no time of their own; how: their range. Raises ValueError or OSError where nothing can
    be read.
    """
    text = str(source)
    if not Path(text).exists() and (text.isdigit() or text.startswith(LIVE)):
        return Live(text, None if text.isdigit() else Video(text))
    if Path(text).is_dir() or (is_source(text) and "://" not in text):
        return Pictures(Path(text), fps, how)
    return Video(text)


class Video:
    """The frames of a video file or address, in their order. Raises ValueError where it cannot be read."""

    def __init__(self, path: str | Path):
        self.address = str(path)
        self.path = _HIDDEN.sub(r"\1", self.address)  # no password in a message
        av.logging.set_level(av.logging.PANIC)  # its decoders describe damaged files on stderr; we say it in one line
        timeout = PATIENCE if "://" in str(path) else None
        try:
            self._container = av.open(self.address, timeout=timeout, metadata_errors="replace")
            stream = self._container.streams.video[0]
        except (av.error.FFmpegError, IndexError, OSError) as error:
            raise ValueError(f"{self.path} cannot be read as a video: {_reason(error, timeout)}") from None
        self.fps = float(stream.average_rate or stream.guessed_rate or FPS)
        self._counted = bool(stream.frames)
        self.stated = stream.frames or self._by_duration(stream)
        """Number of frames according to the file, an estimate in some containers; 0 where it does not say."""
        self.frames = 0
        """Number of frames read."""
        self._times: list[float] = []  # of the first and of the last frame so far
        self._pause, self._lost = 0.0, 0  # the longest between two frames, in seconds; damaged packets
        # Depth is kept of gray alone: thermal counts; a colour's 10 bits become 8.
        pixels = stream.format
        self.deep = pixels is not None and pixels.name.startswith("gray") and pixels.components[0].bits > 8
        self._decoded = self._decode(stream)

    def _by_duration(self, stream: av.VideoStream) -> int:
        """What a container states that counts time and not frames: from the first frame's time, which may not be 0."""
        start = float((stream.start_time or 0) * stream.time_base)
        if stream.duration:
            return round(float(stream.duration * stream.time_base) * self.fps)
        if not self._container.duration or len(self._container.streams) > 1:
            return 0
        return max(0, round((self._container.duration / av.time_base - start) * self.fps))

    def _decode(self, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                yield from packet.decode()
            except av.error.EOFError:
                return
            except av.error.InvalidDataError:
                self._lost += 1  # a damaged packet; `shortfall` counts
            except av.error.FFmpegError:
                return

    def read(self) -> np.ndarray | None:
        """The next frame, (H, W) where it has no colour; None at the end."""
        timed = self.read_timed()
        return timed and timed[1]

    def read_timed(self) -> tuple[float, np.ndarray] | None:
        """(seconds, frame): when the next frame is to be shown, by the stream's own clock; None at the end."""
        frame = next(self._decoded, None)
        if frame is None:
            return None
        seconds = self.frames / self.fps if frame.time is None else float(frame.time)
        self.frames += 1
        self._pause = max(self._pause, seconds - self._times[-1]) if self._times else 0.0
        self._times = [*self._times[:1], seconds]
        return seconds, self._array(frame)

    def _array(self, frame: av.VideoFrame) -> np.ndarray:
        if self.deep:
            x = frame.to_ndarray(format="gray16le")
        else:
            x = frame.to_ndarray(format="rgb24")
            x = x if images.is_coloured(x) else x[..., 0]
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(x, turns) if turns else x)

    def shortfall(self) -> str | None:
        """What is wrong, after the last frame, where far fewer came than the file states.

        Of a file that states no number but a time, of which a varying rate makes fewer frames: where it ends early.
        """
        lacks = self.stated - self.frames
        if not self._counted and self._times:
            shown = self._times[-1] - self._times[0] + max(self._pause, 1 / self.fps)
            lacks = max(self._lost, self.stated - round(shown * self.fps))
        if lacks <= max(2, self.stated // 50):
            return None
        return f"{self.path} states {self.stated} frames, {self.frames} could be read: it may be damaged"

    def close(self) -> None:
        self._container.close()


def _reason(error: Exception, timeout: float | None) -> str:
    if timeout is None:
        return "it may be cut, or of a kind that is not known here"
    if isinstance(error, (av.error.ExitError, av.error.TimeoutError)):
        return f"nothing answered within {timeout:g} seconds"
    return f"{getattr(error, 'strerror', None) or 'nothing to see there'} (is the address right, and the source on?)"


class Pictures:
    """Pictures as frames, in natural order: a folder's, or those that a pattern names (frame%04d.png)."""

    def __init__(self, path: Path, fps: float, how="auto"):
        self.path, self.fps, self.frames, self.deep = path, fps, 0, False
        if path.is_dir():
            files = [p for p in path.iterdir() if not p.name.startswith(".") and p.is_file() and is_picture(p)]
        else:
            before, after = (re.escape(part) for part in _PATTERN.split(path.name, maxsplit=1)[::2])
            name = re.compile(rf"{before}\d+{after}")
            files = [p for p in path.parent.iterdir() if name.fullmatch(p.name)] if path.parent.is_dir() else []
        if not files:
            raise ValueError(f"{path} names no pictures: expected a folder of them or numbered ones")
        self._files = sorted(files, key=lambda p: natural(p.name))
        self.stated = len(self._files)
        self._range = set_range(self._files, how, path)

    def read_timed(self) -> tuple[float, np.ndarray] | None:
        """(seconds, frame), as `Video.read_timed`. Raises ValueError for a picture that cannot be read."""
        if self.frames == len(self._files):
            return None
        frame = read(self._files[self.frames], self._range)
        self.frames += 1
        return (self.frames - 1) / self.fps, frame

    def shortfall(self) -> None:
        return None

    def close(self) -> None:
        pass
